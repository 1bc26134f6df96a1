"""The kinds of task runners, each on its real engine, and how tests wait for tasks in other processes."""

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pytest

from orchestrator import (
    DaskTaskRunner,
    Future,
    InlineTaskRunner,
    ProcessPoolTaskRunner,
    RayTaskRunner,
    ThreadPoolTaskRunner,
)
from orchestrator.sdk import journal
from orchestrator.sdk.runners.base import TaskRunner
from tests.runners.celery_site import BorrowingRunner, CelerySite, celery_site
from tests.sdk.conftest import Recorded, recorded

__all__ = ["recorded"]

WAIT_SECONDS = 30.0


@dataclass(frozen=True)
class Kind:
    """A runner under test, and what its engine can do.

    Attributes:
        runner: The pattern.
        is_remote: Whether its tasks execute in other processes.
        ends_work: Whether a timeout or a cancellation ends any code, and does not leave it behind.
    """

    name: str
    runner: TaskRunner
    is_remote: bool
    ends_work: bool


def _installed(package: str) -> list[pytest.MarkDecorator]:
    missing = find_spec(package) is None
    reason = f"the package {package} is not installed: pip install 'orchestrator-flows[{package}]'"
    return [getattr(pytest.mark, package), pytest.mark.skipif(missing, reason=reason)]


THREADS, INLINE, PROCESSES = "threads", "inline", "processes"
DASK = pytest.param("dask", marks=_installed("dask"))
RAY = pytest.param("ray", marks=_installed("ray"))
CELERY = "celery"

# A runner is put to the tests by its name here.
IN_PROCESS = [THREADS, INLINE]
REMOTE = [PROCESSES, CELERY, DASK, RAY]
PARALLEL = [THREADS, *REMOTE]

only_remote = pytest.mark.parametrize("kind", REMOTE, indirect=True, scope="module")
only_parallel = pytest.mark.parametrize("kind", PARALLEL, indirect=True, scope="module")


@pytest.fixture(scope="session")
def site() -> Iterator[CelerySite]:
    """A server with its Celery worker, for every test of these folders that wants one."""
    with celery_site() as made:
        yield made


def make_kind(name: str, request: pytest.FixtureRequest) -> Iterator[Kind]:
    """Yield a kind; its cluster, where it has one, is there until the next step."""
    match name:
        case "threads":
            yield Kind(name, ThreadPoolTaskRunner(), is_remote=False, ends_work=False)
        case "inline":
            yield Kind(name, InlineTaskRunner(), is_remote=False, ends_work=True)
        case "processes":
            yield Kind(name, ProcessPoolTaskRunner(max_workers=2), is_remote=True, ends_work=True)
        case "celery":
            _, lent = request.getfixturevalue("site")
            yield Kind(name, BorrowingRunner(lent), is_remote=True, ends_work=True)
        case "dask":
            from distributed import LocalCluster

            with LocalCluster(
                n_workers=2, threads_per_worker=2, host="127.0.0.1", dashboard_address="127.0.0.1:0", memory_limit=0
            ) as cluster:
                yield Kind(name, DaskTaskRunner(cluster.scheduler_address), is_remote=True, ends_work=False)
        case "ray":
            import ray

            ray.init(num_cpus=4, include_dashboard=False, _node_ip_address="127.0.0.1", log_to_driver=False)
            yield Kind(name, RayTaskRunner(), is_remote=True, ends_work=True)
            ray.shutdown()


@pytest.fixture(scope="module", params=[*IN_PROCESS, *REMOTE])
def kind(request: pytest.FixtureRequest) -> Iterator[Kind]:
    """Each runner in turn; its cluster, where it has one, serves the whole module."""
    yield from make_kind(request.param, request)


@pytest.fixture
def runner(kind: Kind, recorded: Recorded) -> TaskRunner:
    """Each runner in turn, in a home of its own."""
    return kind.runner


class Gate:
    """A named pipe by which processes wait for each other: whoever comes first blocks until the other one is there."""

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.exists():
            os.mkfifo(path)

    def wait(self) -> str:
        """Block until somebody opens the gate; returns what they said."""
        return self.path.read_text()

    def open(self, word: str = "") -> None:
        """Let one who waits go on; blocks until there is one."""
        self.path.write_text(word)

    def open_later(self) -> None:
        """Let one go on if there is any; never blocks. For what is left behind at the end of a test."""
        try:
            os.close(os.open(self.path, os.O_WRONLY | os.O_NONBLOCK))
        except OSError:
            pass


@pytest.fixture
def gates(tmp_path: Path) -> Iterator[tuple[Gate, Gate]]:
    """Two gates: the task says at the first that it has begun, and waits at the second."""
    begun, go_on = Gate(tmp_path / "begun"), Gate(tmp_path / "go-on")
    yield begun, go_on
    go_on.open_later()


def until_recorded(recorded: Recorded, message: str, logger: str = "stdout") -> None:
    """Wait until a line stands in the journal on disk."""
    until = time.monotonic() + WAIT_SECONDS
    while message not in recorded.printed(logger):
        assert time.monotonic() < until, f"{message!r} is not recorded: {recorded.printed(logger)}"
        time.sleep(0.005)


def until_running(future: Future) -> None:
    """Wait until this process knows that a run has begun."""
    until = time.monotonic() + WAIT_SECONDS
    while future.peek().name != "Running":
        assert time.monotonic() < until, repr(future)
        time.sleep(0.005)


def until_gone(pid: int) -> None:
    """Wait until a process has ended."""
    until = time.monotonic() + WAIT_SECONDS
    while Path(f"/proc/{pid}").exists():
        assert time.monotonic() < until, f"process {pid} goes on"
        time.sleep(0.005)


@pytest.fixture(autouse=True)
def journal_of_its_own(home: Path) -> Iterator[None]:
    """Begin and end each test with no journal open."""
    journal.close()
    yield
    journal.close()
