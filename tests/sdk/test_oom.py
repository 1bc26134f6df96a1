"""A kill by the kernel for memory is told from any other, once for each."""

from pathlib import Path

from orchestrator.sdk.causes import Cause
from orchestrator.sdk.host_exits import Exit
from orchestrator.sdk.oom import WINDOW_SECONDS, OomWatch

KILLED = Exit(None, signal=9, peak=4 * 2**30)


def counter(folder: Path, count: int) -> Path:
    """A cgroup's `memory.events`."""
    path = folder / "memory.events"
    path.write_text(f"low 0\nhigh 0\nmax 12\noom 2\noom_kill {count}\noom_group_kill 0\n")
    return path


def test_each_kill_of_the_kernels_is_the_cause_of_one_death(tmp_path: Path) -> None:
    watch = OomWatch(counter(tmp_path, 3))
    assert KILLED.explain("", watch) == ("killed by signal 9 (SIGKILL)", Cause.SIGNAL)
    counter(tmp_path, 4)
    assert KILLED.explain("", watch) == ("out of memory: the kernel killed it at 4.0 GB", Cause.OUT_OF_MEMORY)
    assert KILLED.explain("", watch) == ("killed by signal 9 (SIGKILL)", Cause.SIGNAL)


def test_a_kill_of_long_ago_explains_nothing(tmp_path: Path) -> None:
    watch = OomWatch(counter(tmp_path, 0))
    watch.look(100.0)
    counter(tmp_path, 1)  # what a run had started was killed, and the run went on
    watch.look(100.0 + WINDOW_SECONDS)
    assert watch._before == 0  # for a moment it may be that of a death that is seen only now
    watch.look(100.0 + 2 * WINDOW_SECONDS)
    assert not watch.take()


def test_a_kill_by_the_host_is_no_lack_of_memory(tmp_path: Path) -> None:
    watch = OomWatch(counter(tmp_path, 0))
    counter(tmp_path, 1)
    assert KILLED.explain("server stopped", watch) == ("server stopped", Cause.STOPPED)
    assert watch.take()


def test_a_machine_that_does_not_count_has_no_evidence(tmp_path: Path) -> None:
    assert not OomWatch(tmp_path / "missing").take()
