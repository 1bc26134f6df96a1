"""Through a server with the embedded defaults: its own home and port for each benchmark."""

import statistics
import threading
import time
from collections.abc import Callable, Iterator

from benchmarks.measures import BenchmarkError, Bound, Row, percentile
from benchmarks.processes import ORCHESTRATOR, PROGRAMS, PYTHON, run
from benchmarks.records import moment
from benchmarks.rounds import interleave
from benchmarks.scripts import row, run_tasks
from benchmarks.serving import Server, serving


def scripts_beside_server(quick: bool) -> Iterator[Row]:
    """Scripts in a home whose server runs: one print; many tasks until the last is in its database."""
    count = 5_000 if quick else 20_000
    late: list[float] = []
    with serving() as server:
        hello = interleave(
            {"hello": lambda: run([PYTHON, PROGRAMS / "hello.py"], server.environment).seconds},
            3 if quick else 9,
            warm_up=True,
        )
        yield row("one-print script, whole process, server up", "s", hello, "hello", Bound(0.15))

        def recorded_per_second() -> float:
            rate, lateness = tasks_into_database(server, count)
            late.append(lateness)
            return rate

        rates = interleave({"tasks": recorded_per_second}, 1 if quick else 3)
    what = f"no-op tasks in one flow, {count:,} in the server's database"
    yield row(what, "/s", rates, "tasks", Bound(5_000, at_least=True), "until the last is there")
    if not rates.problems:
        yield Row("how late the last of them is", "s", tuple(late), Bound(2.0), "after the flow's last line")


def tasks_into_database(server: Server, count: int) -> tuple[float, float]:
    """Run so many tasks; return tasks a second until all are in the database, and how late the last one was."""
    ended: list[float] = []
    before = server.records.completed_tasks()
    stop = threading.Event()

    def watch() -> None:
        while not stop.is_set():
            if server.records.completed_tasks() - before >= count:
                ended.append(time.time())
                return
            time.sleep(0.02)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        first, last = run_tasks(count, server.environment)
        watcher.join(60)
    finally:
        stop.set()
        watcher.join()
    server.records.expect_tasks(before + count)
    return count / (ended[0] - first), max(0.0, ended[0] - last)


def call_to_code(quick: bool) -> Iterator[Row]:
    """From a REST call to the first line of user code, while nothing else happens."""
    calls, queues = (10, 3) if quick else (40, 10)
    with serving(api=True) as server:
        deployment = server.deploy("mark", "idle")
        first_call_to_code(server, deployment, "warm-up")
        milliseconds = [first_call_to_code(server, deployment, f"call-{n}") * 1000 for n in range(calls)]
        on_new_queues = [new_queue_to_code(server, deployment, f"queue-{n}") for n in range(queues)]
    note = f"{calls} calls, each over a new connection"
    yield Row("REST call to user code running, idle, p50", "ms", (percentile(milliseconds, 50),), Bound(60), note)
    yield Row("REST call to user code running, idle, p95", "ms", (percentile(milliseconds, 95),), Bound(150), note)
    note = f"the slowest of {queues}, each made by the call before the run's"
    yield Row("a new work queue made to user code running on it", "s", (max(on_new_queues),), Bound(1.0), note)


def new_queue_to_code(server: Server, deployment: str, name: str) -> float:
    """Have a work queue made, by moving a deployment to it, and a run asked for; return the seconds until it ran."""
    begun = time.time()
    server.call("PATCH", f"/api/deployments/{deployment}/", {"queue": name})
    asked = time.time()
    return asked - begun + first_call_to_code(server, deployment, name)


def first_call_to_code(server: Server, deployment: str, name: str) -> float:
    """Ask for a run; return the seconds until its user code ran, and only when it has ended."""
    mark = server.home / name
    completed = server.records.completed_runs()
    asked = time.time()
    server.start_run(deployment, path=str(mark))
    server.wait_for_completed(completed + 1, 30)
    time.sleep(0.15)  # idle again
    return float(mark.read_text()) - asked


def drain(quick: bool) -> Iterator[Row]:
    """Runs of a deployment that prints one line, each in a process of its own, and in processes that are kept."""
    runs = 40 if quick else 200
    with serving(api=True) as server:
        deployment = server.deploy("hello", "drain")
        server.start_run(deployment)
        server.wait_for_completed(1, 30)
        seconds, _ = drain_seconds(server, deployment, runs, backlog=True)
        from_call_seconds, asking_seconds = drain_seconds(server, deployment, runs)
        records = server.records
        processes = records.count("SELECT count(DISTINCT pid) FROM runs_attempt")
        lines = "SELECT count(*) FROM runs_log WHERE logger = 'stdout' AND message LIKE 'hello%'"
        printed = records.count(lines)
        kept = server.deploy("hello", "kept", "--isolation", "worker")
        drain_seconds(server, kept, 10, backlog=True)  # its processes are there
        kept_seconds, _ = drain_seconds(server, kept, 2 * runs, backlog=True)
        printed_kept = records.count(lines) - printed
    if (expected := 2 * runs + 1) != processes or expected != printed:
        raise BenchmarkError(f"{expected} runs had {processes} processes and {printed} printed lines on record")
    if printed_kept != 2 * runs + 10:
        raise BenchmarkError(f"{2 * runs + 10} runs in kept processes printed {printed_kept} lines on record")
    what = f"{runs} one-print deployment runs"
    bound = Bound(30, at_least=True)
    yield Row(
        f"{what}, waiting in a queue, drained", "/s", (runs / seconds,), bound, "until all are recorded as completed"
    )
    yield Row(
        f"{2 * runs} of them with isolation=worker, drained",
        "/s",
        (2 * runs / kept_seconds,),
        Bound(100, at_least=True),
        "until the same",
    )
    note = f"from the first of {runs} REST calls, which took {asking_seconds:.1f} s, until the same"
    yield Row(f"{what}, asked for meanwhile", "/s", (runs / from_call_seconds,), bound, note)


def drain_seconds(server: Server, deployment: str, runs: int, *, backlog: bool = False) -> tuple[float, float]:
    """Have so many runs executed; return how long it took, and how long asking for them did.

    With backlog, all are asked for while the queue is paused, and the time begins when it goes on.
    """
    completed = server.records.completed_runs()
    if backlog:
        server.records.pause_queues(True)
    asked = time.time()
    for _ in range(runs):
        server.start_run(deployment)
    begun = time.time()
    if backlog:
        server.records.pause_queues(False)
    done = server.wait_for_completed(completed + runs, 120)
    return done - (begun if backlog else asked), begun - asked


def schedule(quick: bool) -> Iterator[Row]:
    """How late scheduled runs start: several deployments that are due every second or two."""
    deployments, seconds = 5, 8 if quick else 24
    with serving() as server:
        for number in range(deployments):
            server.deploy("hello", f"every-{number}", "--interval", "1" if number % 2 else "2")
        begun = time.time() + 4  # two ticks: then all of them are under way
        time.sleep(4 + seconds)
        until = time.time() - 2
        query = "SELECT scheduled_for, start_time, state_name FROM runs_flowrun WHERE scheduled_for IS NOT NULL"
        runs = [(moment(due), started, name) for due, started, name in server.records.rows(query)]
    due = [entry for entry in runs if begun <= entry[0] <= until]
    late = [moment(started) - time_due for time_due, started, _ in due if started]
    missing = len(due) - len(late)
    expected = sum(int(seconds - 2) // (1 if number % 2 else 2) for number in range(deployments))
    if missing or len(late) < expected - deployments:
        raise BenchmarkError(f"{len(late)} scheduled runs started where {max(len(due), expected)} were due")
    note = f"{len(late)} runs of {deployments} deployments; median {statistics.median(late):.2f} s"
    yield Row("scheduled run's start after its time, p99", "s", (percentile(late, 99),), Bound(1.0), note)


def command_line(quick: bool) -> Iterator[Row]:
    """Verbs of the command line, each a process, while a server runs."""
    rounds = 3 if quick else 7
    with serving(api=True) as server:
        deployment = server.deploy("hello", "verbs")
        run_id = server.start_run(deployment)
        server.wait_for_completed(1, 30)
        verbs = {
            "flow-run ls": ["flow-run", "ls"],
            "flow-run inspect": ["flow-run", "inspect", run_id],
            "flow-run logs": ["flow-run", "logs", run_id],
            "deployment ls": ["deployment", "ls"],
            "deployment inspect": ["deployment", "inspect", "hello/verbs"],
            "deployment run": ["deployment", "run", "hello/verbs"],
            "deployment pause": ["deployment", "pause", "hello/verbs"],
            "deploy": ["deploy", f"{PROGRAMS / 'hello'}.py:hello", "--name", "verbs", "--source", "path"],
            "server status": ["server", "status"],
        }
        taken = interleave({name: _verb(server, words) for name, words in verbs.items()}, rounds, warm_up=True)
    if taken.problems:
        name, problem = next(iter(taken.problems.items()))
        raise BenchmarkError(f"{name}: {problem}")
    everything = [seconds for values in taken.values.values() for seconds in values]
    slowest = max(taken.values, key=lambda name: statistics.median(taken.values[name]))
    note = f"{slowest}; {len(verbs)} verbs, median of all {statistics.median(everything):.2f} s; {taken.note}"
    yield Row("command-line verb with a server, the slowest", "s", taken.values[slowest], Bound(0.4), note)


def _verb(server: Server, words: list[str]) -> Callable[[], float]:
    return lambda: run([ORCHESTRATOR, *words], server.environment).seconds


BENCHMARKS: dict[str, Callable[[bool], Iterator[Row]]] = {
    "beside-server": scripts_beside_server,
    "call": call_to_code,
    "drain": drain,
    "schedule": schedule,
    "cli": command_line,
}
