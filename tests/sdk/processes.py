"""Real Python processes for the engine's tests, and what their journals hold."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

from orchestrator.sdk.events import AnyFact
from orchestrator.sdk.home import Home
from orchestrator.sdk.reader import JournalReader, Segment, segments

_started: list["subprocess.Popen[str]"] = []


def environment(home: Path, **more: str) -> dict[str, str]:
    """The environment of a user's process with that home."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ORCHESTRATOR_", "DJANGO_"))}
    checkout = str(Path(__file__).parents[2])
    return kept | {"ORCHESTRATOR_HOME": str(home), "PYTHONPATH": checkout} | more


def start_python(code: str, home: Path, *arguments: str, **more: str) -> "subprocess.Popen[str]":
    """Start `python -c code arguments`, with pipes; `end_started` ends what a failed test left."""
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), *arguments],
        env=environment(home, **more),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    _started.append(process)
    return process


def end_started() -> None:
    """Kill what was started and still runs, and close its pipes."""
    while _started:
        process = _started.pop()
        process.kill()
        process.communicate()


def run_python(code: str, home: Path, *arguments: str, **more: str) -> "subprocess.CompletedProcess[str]":
    """Run `python -c code arguments` to its end."""
    process = start_python(code, home, *arguments, **more)
    out, err = process.communicate(timeout=60)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def journals(home: Path) -> dict[str, list[Segment]]:
    """The segments in a home, by journal."""
    found: dict[str, list[Segment]] = {}
    for segment in segments(Home(home)):
        found.setdefault(segment.journal, []).append(segment)
    return found


def facts(home: Path) -> dict[str, list[AnyFact]]:
    """All facts in a home, by journal."""
    found: dict[str, list[AnyFact]] = {}
    for journal, parts in journals(home).items():
        found[journal] = [fact for batch in JournalReader(parts[0]).batches() for fact in batch.facts]
    return found
