"""The same jobs done by Prefect, DBOS and Dagster, each in an environment of its own, in turns with ours.

The environments lie in `.bench/` of the checkout and are made once (Prefect wants a newer certifi than some package
indexes have, so uv is told so). Telemetry is off, and every peer has a new home in which what it recorded is counted.
"""

import http.client
import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks import scripts, table
from benchmarks.measures import BenchmarkError
from benchmarks.processes import PROGRAMS, PYTHON, environment, run, temporary_home
from benchmarks.records import wait_until
from benchmarks.rounds import Rounds, interleave
from benchmarks.served import tasks_into_database
from benchmarks.serving import free_port, serving

BENCH = Path(__file__).parent.parent / ".bench"
OURS = "Orchestrator"
MEMORY_TASKS = 3_000
SERVER_TASKS = 300
INSTALL_SECONDS = 900.0
EXPLAINED = "× is how many times better Orchestrator is: the median of the per-round ratios (least–greatest)."
TELEMETRY_OFF = {"DO_NOT_TRACK": "1", "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}


@dataclass(frozen=True, slots=True)
class Peer:
    """One other engine."""

    name: str
    requirement: str
    statement: str  #: its import
    tasks: int  #: in one flow, a round; as many as take it a few seconds
    durability: str
    recorded: Callable[[Path], int]  #: completed tasks in the database of a home

    @property
    def folder(self) -> Path:
        """Its environment."""
        return BENCH / self.requirement.partition("=")[0]

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.folder / "bin" / "python"

    @property
    def title(self) -> str:
        """Its name and version."""
        return f"{self.name} {self.requirement.rpartition('=')[2]}"

    def program(self, kind: str) -> Path:
        """Its version of a program."""
        return PROGRAMS / "peers" / f"{self.name.lower()}_{kind}.py"


def compare(quick: bool) -> list[str]:
    """Install the peers where they are missing, measure, and return the table's lines."""
    peers = [peer for peer in PEERS if _install(peer)]
    cells: list[tuple[str, ...]] = [("what", OURS, *(peer.title for peer in peers), "notes")]
    names = [OURS, *(peer.name for peer in peers)]
    for what, unit, faster_is_less, measure in COMPARISONS:
        print(f"peers: {what} … ", file=sys.stderr, flush=True)
        try:
            rounds = measure(peers, quick)
        except BenchmarkError as error:
            rounds = Rounds({}, {OURS: str(error)})
        note = "; ".join(filter(None, [rounds.note, table.disturbance(rounds.others_cores)]))
        cells.append((what, *(_cell(rounds, name, unit, faster_is_less) for name in names), note))
    cells.append(("a finished task is", "in the journal, not synced", *(peer.durability for peer in peers), ""))
    return [*table.aligned(cells, right=set()), "", EXPLAINED]


def import_time(peers: list["Peer"], quick: bool) -> Rounds:
    """The import that a script needs."""
    contenders: dict[str, Callable[[], float]] = {OURS: scripts.import_seconds}
    return interleave(
        contenders | {peer.name: partial(_import_seconds, peer) for peer in peers}, 1 if quick else 5, warm_up=True
    )


def cold_script(peers: list["Peer"], quick: bool) -> Rounds:
    """One print, a new home each time."""
    contenders = {OURS: scripts.hello_in_new_home} | {peer.name: partial(_cold_hello, peer) for peer in peers}
    return interleave(contenders, 1 if quick else 5)


def warm_script(peers: list["Peer"], quick: bool) -> Rounds:
    """One print, in a home that has been used."""
    with temporary_home() as home:
        contenders = {OURS: partial(_hello, PYTHON, PROGRAMS / "hello.py", environment(home))}
        for peer in peers:
            variables = _environment(peer, home)
            contenders[peer.name] = partial(_hello, peer.python, peer.program("hello"), variables)
        return interleave(contenders, 1 if quick else 5, warm_up=True)


def tasks(peers: list["Peer"], quick: bool) -> Rounds:
    """Tasks in one flow, a second, while no server runs; who lost one is out."""
    with temporary_home() as home:
        contenders: dict[str, Callable[[], float]] = {OURS: partial(scripts.tasks_per_second, home, 20_000)}
        for peer in peers:
            contenders[peer.name] = partial(_tasks_per_second, peer, peer.tasks // 10 if quick else peer.tasks)
        return interleave(contenders, 1 if quick else 5)


def tasks_with_server(peers: list["Peer"], quick: bool) -> Rounds:
    """Tasks in one flow, a second, until the last is in the database of a server. Of the peers, Prefect has one."""
    prefect = next((peer for peer in peers if peer.name == "Prefect"), None)
    with serving() as server, _prefect_server(prefect) if prefect else nullcontext() as prefect_home:
        contenders: dict[str, Callable[[], float]] = {OURS: lambda: tasks_into_database(server, 20_000)[0]}
        if prefect and prefect_home:
            contenders[prefect.name] = partial(_tasks_into_prefect, prefect, *prefect_home)
        return interleave(contenders, 1 if quick else 3)


def memory(peers: list["Peer"], quick: bool) -> Rounds:
    """The peak of the process tree in a run of many tasks."""
    count = MEMORY_TASKS // 10 if quick else MEMORY_TASKS
    contenders: dict[str, Callable[[], float]] = {OURS: partial(scripts.peak_megabytes, count)}
    return interleave(contenders | {peer.name: partial(_peak_megabytes, peer, count) for peer in peers}, 1)


COMPARISONS: tuple[tuple[str, str, bool, Callable[[list[Peer], bool], Rounds]], ...] = (
    ("import", "s", True, import_time),
    ("one-print script, empty home", "s", True, cold_script),
    ("one-print script, warm", "s", True, warm_script),
    ("no-op tasks in one flow, all recorded", "/s", False, tasks),
    ("the same with a server, all in its database", "/s", False, tasks_with_server),
    (f"peak memory, {MEMORY_TASKS:,} tasks", "MB", True, memory),
)


def _cell(rounds: Rounds, name: str, unit: str, faster_is_less: bool) -> str:
    if name in rounds.problems:
        return rounds.problems[name]
    if name not in rounds.values:
        return "–"
    values = sorted(rounds.values[name])
    measured = table.quantity(values[len(values) // 2], unit)
    if name == OURS or OURS not in rounds.values:
        return measured
    middle, least, greatest = rounds.ratios(name, OURS) if faster_is_less else rounds.ratios(OURS, name)
    spread = f" ({least:.3g}–{greatest:.3g})" if len(values) > 1 else ""
    return f"{measured}, {middle:.3g}×{spread}"


def _install(peer: Peer) -> bool:
    """Make a peer's environment unless it is there; False, with a line that says why, when that fails."""
    stamp = peer.folder / f"installed-{peer.requirement}"
    if stamp.exists():
        return True
    print(f"installing {peer.requirement} into {peer.folder} …", file=sys.stderr, flush=True)
    uv = shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}") or "uv"
    shutil.rmtree(peer.folder, ignore_errors=True)
    BENCH.mkdir(exist_ok=True)
    overrides = BENCH / "overrides.txt"
    overrides.write_text("certifi>=2026.1\n")
    packages = ["--compile-bytecode", "--override", overrides, peer.requirement]
    try:
        run([uv, "venv", "--quiet", "--system-certs", "--python", PYTHON, peer.folder], os.environ)
        run(
            [uv, "pip", "install", "--quiet", "--system-certs", "--python", peer.python, *packages],
            os.environ,
            timeout=INSTALL_SECONDS,
        )
    except (BenchmarkError, OSError) as error:
        print(f"{peer.title} is left out: {error}", file=sys.stderr)
        return False
    stamp.touch()
    return True


def _environment(peer: Peer, home: Path, **more: str) -> dict[str, str]:
    """A peer's environment: everything that it writes goes into a folder of its own in the home."""
    folder = home / peer.name.lower()
    folder.mkdir(exist_ok=True)
    (folder / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
    homes = dict.fromkeys(("HOME", "BENCH_HOME", "PREFECT_HOME", "DAGSTER_HOME"), str(folder))
    return environment(home) | TELEMETRY_OFF | homes | more


def _import_seconds(peer: Peer) -> float:
    with temporary_home() as home:
        program = f"import time; begun = time.perf_counter(); {peer.statement}; print(time.perf_counter() - begun)"
        return float(run([peer.python, "-c", program], _environment(peer, home)).output)


def _hello(python: str | Path, program: Path, variables: Mapping[str, str]) -> float:
    return run([python, program], variables).seconds


def _cold_hello(peer: Peer) -> float:
    with temporary_home() as home:
        return _hello(peer.python, peer.program("hello"), _environment(peer, home))


def _tasks_per_second(peer: Peer, count: int) -> float:
    with temporary_home() as home:
        variables = _environment(peer, home)
        begun, ended = _run_tasks(peer, count, variables)
        _expect(peer, Path(variables["BENCH_HOME"]), count)
        return count / (ended - begun)


def _run_tasks(peer: Peer, count: int, variables: Mapping[str, str]) -> tuple[float, float]:
    times = json.loads(run([peer.python, peer.program("tasks"), str(count)], variables).output.splitlines()[-1])
    return times["begun"], times["ended"]


def _expect(peer: Peer, folder: Path, count: int) -> None:
    if (found := peer.recorded(folder)) != count:
        raise BenchmarkError(f"lost: {found:,} of {count:,} recorded")


def _peak_megabytes(peer: Peer, count: int) -> float:
    with temporary_home() as home:
        command = [peer.python, peer.program("tasks"), str(count)]
        return run(command, _environment(peer, home), timeout=600, watch_memory=True).peak_bytes / 1e6


@contextmanager
def _prefect_server(peer: Peer) -> Iterator[tuple[Path, dict[str, str]]]:
    """Yield the folder of a running Prefect server, and the environment of scripts that use it."""
    with temporary_home() as home:
        port = free_port()
        variables = _environment(peer, home, PREFECT_API_URL=f"http://127.0.0.1:{port}/api")
        command = [str(peer.python.with_name("prefect")), "server", "start", "--host", "127.0.0.1", "--port", str(port)]
        quiet = subprocess.DEVNULL
        process = subprocess.Popen(command, env=variables, stdin=quiet, stdout=quiet, stderr=quiet)
        try:
            wait_until(lambda: _is_healthy(port), "Prefect's server", 120)
            yield Path(variables["BENCH_HOME"]), variables
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _is_healthy(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/api/health")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def _tasks_into_prefect(peer: Peer, folder: Path, variables: Mapping[str, str]) -> float:
    before = peer.recorded(folder)
    begun, _ = _run_tasks(peer, SERVER_TASKS, variables)
    done = wait_until(lambda: peer.recorded(folder) >= before + SERVER_TASKS, "the last of Prefect's tasks", 120)
    return SERVER_TASKS / (done - begun)


def _count(database: Path, query: str) -> int:
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=20)) as connection:
        return int(connection.execute(query).fetchone()[0])


def _prefect_tasks(folder: Path) -> int:
    return _count(folder / "prefect.db", "SELECT count(*) FROM task_run WHERE state_type = 'COMPLETED'")


def _dbos_steps(folder: Path) -> int:
    return _count(folder / "dbos.sqlite", "SELECT count(*) FROM operation_outputs WHERE error IS NULL")


def _dagster_steps(folder: Path) -> int:
    query = "SELECT count(*) FROM event_logs WHERE dagster_event_type = 'STEP_SUCCESS'"
    databases = [path for path in (folder / "history" / "runs").glob("*.db") if path.name != "index.db"]
    return sum(_count(path, query) for path in databases)


PEERS = (
    Peer("Prefect", "prefect==3.9.1", "from prefect import flow, task", 1_000, "recorded later", _prefect_tasks),
    Peer("DBOS", "dbos==3.4.0", "from dbos import DBOS", 2_000, "committed", _dbos_steps),
    Peer("Dagster", "dagster==1.13.27", "from dagster import job, op", 300, "committed", _dagster_steps),
)
