"""Programs run as processes of their own: timed from start to end, or watched for their peak of memory."""

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.load import descendants
from benchmarks.measures import BenchmarkError

PROGRAMS = Path(__file__).parent / "programs"
PYTHON = sys.executable
ORCHESTRATOR = str(Path(sys.executable).with_name("orchestrator"))
TIMEOUT_SECONDS = 180.0
_SAMPLE_SECONDS = 0.02
_LONGEST_MESSAGE = 120


@dataclass(frozen=True, slots=True)
class Finished:
    """A program that ended with exit code 0."""

    seconds: float  #: from before its start until it was waited for
    output: str
    peak_bytes: int = 0  #: of the whole process tree, when it was watched


@contextmanager
def temporary_home() -> Iterator[Path]:
    """Yield a new home; remove it at the end, with whatever still runs in it.

    Its path is short: sockets in it must stay under 108 bytes.
    """
    with tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True) as path:
        try:
            yield Path(path)
        finally:
            kill_left_behind(Path(path))


def kill_left_behind(home: Path) -> list[str]:
    """Kill every process that has this home in its environment; return their names and ids."""
    mark = f"={home}".encode()
    left = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if any(variable.endswith(mark) for variable in (entry / "environ").read_bytes().split(b"\0")):
                left.append(f"{(entry / 'comm').read_text().strip()} ({entry.name})")
                os.kill(int(entry.name), signal.SIGKILL)
        except OSError:  # it ended meanwhile, or is somebody else's
            continue
    return left


def processor_seconds(home: Path) -> dict[int, tuple[str, float]]:
    """Return the name and the processor time of every process that has this home in its environment (Linux)."""
    mark = f"={home}".encode()
    found = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if any(variable.endswith(mark) for variable in (entry / "environ").read_bytes().split(b"\0")):
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                name = (entry / "comm").read_text().strip()
                found[int(entry.name)] = (name, sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK"))
        except OSError:  # it ended meanwhile, or is somebody else's
            continue
    return found


def environment(home: Path, **more: str) -> dict[str, str]:
    """Return the environment of a measured program: this one's, without settings of ours and of Python's."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("ORCHESTRATOR_", "PYTHON", "PREFECT_", "DAGSTER_", "DBOS_"))
    }
    return kept | {"ORCHESTRATOR_HOME": str(home)} | more


def run(
    command: Sequence[str | Path],
    environment: Mapping[str, str],
    *,
    directory: Path | None = None,
    timeout: float = TIMEOUT_SECONDS,
    watch_memory: bool = False,
) -> Finished:
    """Run a program to its end. BenchmarkError if it fails or takes too long; it is killed then."""
    words = [str(word) for word in command]
    begun = time.perf_counter()
    process = subprocess.Popen(
        words,
        env=dict(environment),
        cwd=directory,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    watch = _MemoryWatch(process.pid) if watch_memory else None
    try:
        output, errors = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        raise BenchmarkError(f"{short(words)} was not done in {timeout:.0f} s") from None
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()
        peak = watch.stop() if watch else 0
    seconds = time.perf_counter() - begun
    if process.returncode:
        last = _reason(errors.strip() or output.strip())
        raise BenchmarkError(f"{short(words)} exited with {process.returncode}: {last[:_LONGEST_MESSAGE]}")
    return Finished(seconds, output, peak)


def _reason(text: str) -> str:
    """Return the last line about an error, else the last line."""
    lines = text.splitlines() or ["no output"]
    return next((line.strip() for line in reversed(lines) if "Error" in line), lines[-1])


def short(words: Sequence[str]) -> str:
    """Return a command as people write it, without what is long."""
    names = [word if len(word) < 40 else "…" for word in (word.rpartition("/")[2] for word in words[:4])]
    return " ".join(names)


class _MemoryWatch:
    """Samples the memory of a process tree. ru_maxrss will not do: it begins with the parent's."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._peak = 0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()

    def stop(self) -> int:
        """Return the peak so far and end."""
        self._done.set()
        self._thread.join()
        return self._peak

    def _sample(self) -> None:
        while not self._done.wait(_SAMPLE_SECONDS):
            sizes = [_memory(pid) for pid in descendants(self._pid)]
            # One process alone is known exactly between samples too (VmHWM).
            self._peak = max(self._peak, sum(now for now, _ in sizes), max(highest for _, highest in sizes))


def _memory(pid: int) -> tuple[int, int]:
    """Return a process's resident memory and its highest so far, in bytes; zeros when it has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0, 0
    sizes = {
        name: int(rest.split()[0]) * 1024
        for name, _, rest in (line.partition(":") for line in lines)
        if name.startswith("Vm")
    }
    return sizes.get("VmRSS", 0), sizes.get("VmHWM", 0)
