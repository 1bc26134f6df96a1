"""How runs reach their processes, under conditions: an old snapshot in the database, many schedules, nothing at all."""

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.measures import BenchmarkError, Bound, NotHereError, Row, percentile
from benchmarks.processes import PYTHON, environment, processor_seconds, run, temporary_home
from benchmarks.records import moment, wait_until
from benchmarks.serving import Server, serving

IDLE_SECONDS = 30.0
SETTLE_SECONDS = 10.0  # a server that has just started still imports and looks around


def snapshot(quick: bool) -> Iterator[Row]:
    """Runs drained on PostgreSQL, while another connection holds a snapshot open or not, in turns."""
    runs, rounds = (40, 1) if quick else (200, 3)
    ratios = []
    workers = "SELECT count(*) FROM runs_worker WHERE stopped_at IS NULL"
    with (
        postgres() as url,
        serving(api=True, has_worker=lambda: number(url, workers) > 0, ORCHESTRATOR_DATABASE_URL=url) as server,
    ):
        deployment = server.deploy("hello", "snapshot", "--isolation", "worker")
        _drained_per_second(server, url, deployment, 20)  # its processes are there, its tables' pages are warm
        for _ in range(rounds):
            free = _drained_per_second(server, url, deployment, runs)
            with _snapshot(url):
                held = _drained_per_second(server, url, deployment, runs)
            ratios.append(held / free)
        printed = number(url, "SELECT count(*) FROM runs_log WHERE logger = 'stdout' AND message = 'hello'")
    if (expected := 20 + 2 * rounds * runs) != printed:
        raise BenchmarkError(f"{expected} runs printed {printed} lines on record")
    note = f"{runs} runs each, on PostgreSQL; {rounds} rounds"
    yield Row("drained while a snapshot is held open, to without", "×", tuple(ratios), Bound(0.9, at_least=True), note)


@contextmanager
def postgres() -> Iterator[str]:
    """Yield the address of an empty database; NotHereError where this machine has no PostgreSQL."""
    try:
        from tests.servers import new_database, postgres  # they need packages of the development environment
    except ImportError as error:
        raise NotHereError(f"no PostgreSQL to start ({error})") from None
    with postgres() as server, new_database(server, f"bench_{time.time_ns()}") as url:
        yield url


@contextmanager
def _snapshot(url: str) -> Iterator[None]:
    """Hold a snapshot open: no row version that dies meanwhile can be removed."""
    import psycopg  # only where there is a PostgreSQL

    with closing(psycopg.connect(url)) as connection:
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        connection.execute("SELECT count(*) FROM runs_flowrun")
        yield


def number(url: str, query: str) -> int:
    import psycopg  # only where there is a PostgreSQL

    with closing(psycopg.connect(url)) as connection:
        row = connection.execute(query.encode()).fetchone()
    assert row is not None
    return int(row[0])


def _drained_per_second(server: Server, url: str, deployment: str, runs: int) -> float:
    """Let runs wait on a paused queue, then have them executed; return how many a second were completed."""
    completed = "SELECT count(*) FROM runs_flowrun WHERE state_type = 'COMPLETED'"
    before = number(url, completed)
    queue = server.call("GET", "/api/work-queues/?name=default")["results"][0]["id"]
    server.call("POST", f"/api/work-queues/{queue}/pause/")
    for _ in range(runs):
        server.start_run(deployment)
    begun = time.time()
    server.call("POST", f"/api/work-queues/{queue}/resume/")
    done = wait_until(lambda: number(url, completed) >= before + runs, f"{runs} completed runs", 180)
    return runs / (done - begun)


def schedules(quick: bool) -> Iterator[Row]:
    """10,000 deployments with schedules, of which 1,000 are due within the same minute."""
    deployments, due = (300, 30) if quick else (10_000, 1_000)
    with temporary_home() as home:
        measured = _many_schedules(home, deployments, due, "tick")[1]
    try:
        tick = float(measured)
    except ValueError:
        raise BenchmarkError(f"of {due} runs that the tick had to make, {measured}") from None
    note = f"{deployments:,} deployments with a schedule"
    yield Row(f"a tick that makes the next runs of {due:,} of them", "s", (tick,), Bound(1.0), note)
    with serving() as server:
        minute = float(_many_schedules(server.home, deployments, due)[0])
        first, last = (datetime.fromtimestamp(minute + seconds, UTC).replace(tzinfo=None) for seconds in (0, 60))
        ran = "scheduled_for >= ? AND scheduled_for < ? AND state_type = 'COMPLETED'"
        query = f"SELECT count(*) FROM runs_flowrun WHERE {ran}"
        wait_until(
            lambda: server.records.count(query, str(first), str(last)) >= due,
            f"{due} scheduled runs",
            max(0.0, minute - time.time()) + 180,
        )
        claimed = server.records.rows(
            "SELECT a.created_at, f.scheduled_for FROM runs_attempt a JOIN runs_flowrun f ON f.id = a.flow_run_id"
            " WHERE f.scheduled_for >= ? AND f.scheduled_for < ?",
            str(first),
            str(last),
        )
    if len(claimed) != due:
        raise BenchmarkError(f"{due} runs that were due had {len(claimed)} attempts")
    late = [moment(at) - moment(scheduled) for at, scheduled in claimed]
    note = f"{due:,} due in one minute; median {statistics.median(late):.2f} s"
    yield Row("scheduled run dispatched after its time, p99", "s", (percentile(late, 99),), Bound(2.0), note)


def _many_schedules(home: Path, deployments: int, due: int, *more: str) -> list[str]:
    """Have deployments with schedules made in a home; return what was printed, by lines."""
    command = [PYTHON, "-m", "benchmarks.many_schedules", str(deployments), str(due), *more]
    return run(command, environment(home), directory=Path(__file__).parent.parent, timeout=900).output.splitlines()


def idle(quick: bool) -> Iterator[Row]:
    """What a server costs that has nothing to do: the processor time of all its processes."""
    seconds = 5.0 if quick else IDLE_SECONDS
    with serving() as server:
        server.deploy("hello", "idle", "--cron", "0 5 * * *")
        time.sleep(2.0 if quick else SETTLE_SECONDS)
        before, begun = processor_seconds(server.home), time.monotonic()
        time.sleep(seconds)
        after, elapsed = processor_seconds(server.home), time.monotonic() - begun
    if not after:
        raise NotHereError("the processor time of processes cannot be read here")
    used = {pid: seconds - before.get(pid, ("", 0.0))[1] for pid, (_, seconds) in after.items()}
    most = max(used, key=lambda pid: used[pid])
    note = f"{len(after)} processes over {elapsed:.0f} s; {after[most][0]} the most, {used[most] / elapsed:.2%}"
    yield Row("an idle server, of one core", "%", (100 * sum(used.values()) / elapsed,), Bound(2.0), note)


BENCHMARKS: dict[str, Callable[[bool], Iterator[Row]]] = {"snapshot": snapshot, "schedules": schedules, "idle": idle}
