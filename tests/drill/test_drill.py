"""A short drill with the real parts, and that nothing of it is left whichever way it ends."""

import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.drill.parts import MARKER

DRILL = [sys.executable, "-m", "orchestrator", "drill"]


@pytest.fixture
def folder() -> Iterator[Path]:
    """Where the drill makes its own: a short path, for sockets, that PostgreSQL's user may pass through."""
    with tempfile.TemporaryDirectory(prefix="orch-") as path:
        Path(path).chmod(0o711)
        yield Path(path)


def left_of(folder: Path) -> list[str]:
    """The command lines of processes that a drill in this folder has left."""
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdigit() and int(process.name) != os.getpid():
            try:
                environment = (process / "environ").read_bytes()
            except OSError:
                continue
            if MARKER.encode() in environment and str(folder).encode() in environment:
                found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode())
    return found


@pytest.mark.timeout(400)
@pytest.mark.skipif(sys.platform != "linux", reason="the drill is for Linux")
def test_a_short_drill_finds_nothing_and_leaves_nothing(folder: Path) -> None:
    words = ["--short", "--seed", "11", "--seconds", "15", "--runs", "60"]
    environment = {**os.environ, "TMPDIR": str(folder)}
    done = subprocess.run([*DRILL, *words], env=environment, capture_output=True, text=True, check=False, timeout=380)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "lost 0  duplicated 0  stuck 0  overshot 0" in done.stdout
    assert int(re.findall(r"(\d+) known to have finished", done.stdout)[0]) > 60
    assert len(re.findall(r"kill -9", done.stdout)) > 4
    assert left_of(folder) == []
    assert list(folder.iterdir()) == []


@pytest.mark.timeout(400)
@pytest.mark.skipif(sys.platform != "linux", reason="the drill is for Linux")
def test_an_interrupted_drill_takes_everything_down(folder: Path) -> None:
    environment = {**os.environ, "TMPDIR": str(folder)}
    words = [*DRILL, "--database", "sqlite", "--seed", "1"]
    with subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            said = [process.stdout.readline()]
            while "Left out: connections" not in said[-1] and said[-1]:  # its parts are up, faults are about to begin
                said.append(process.stdout.readline())
            assert "postgres restart" in said[-1]
            assert left_of(folder)
            process.send_signal(signal.SIGINT)
            _, complaint = process.communicate(timeout=120)
        finally:
            process.terminate()
    assert process.returncode == 130, complaint
    assert "taken down" in complaint
    assert left_of(folder) == []
    assert list(folder.iterdir()) == []
