"""What the drill's flows wrote down, read back: who ran from when to when,
and which tasks they knew to be finished."""

import contextlib
import json
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

_NOT_RECORDING: Final = re.compile(r"orchestrator: run (\S+): not recording")


@dataclass(frozen=True, slots=True)
class Span:
    """An attempt of a flow run or of a task run, as its own process saw it. Times are of the monotonic clock.

    Attributes:
        run: Id of the flow run.
        attempt: Of the flow run.
        pid: Its process.
        root: Id of the flow run at the top: its process's.
        begin: Its first line.
        end: Its last line; of a task whose process died, the last line of that process.
        time: Unix time of its first line.
        ended: It came to its own end, in whichever way.
        ok: That end was a return.
        exited: The process went on to exit by itself, so the engine had recorded the end.
        task_run: Id of the task run; empty for a flow run's.
        task_attempt: Of the task run.
        tags: Of the task run.
    """

    run: str
    attempt: int
    pid: int
    root: str
    begin: float
    end: float
    time: float
    ended: bool = False
    ok: bool = False
    exited: bool = False
    task_run: str = ""
    task_attempt: int = 0
    tags: tuple[str, ...] = ()


@dataclass(slots=True)
class Evidence:
    """Everything that flows wrote.

    Attributes:
        flows: Attempts of flow runs.
        tasks: Attempts of task runs.
        done: Task runs that their flow knew to be finished, with the run.
        confessed: Runs whose process said on standard error that it could not record.
    """

    flows: list[Span] = field(default_factory=list)
    tasks: list[Span] = field(default_factory=list)
    done: dict[str, str] = field(default_factory=dict)
    confessed: set[str] = field(default_factory=set)


def read(folder: Path, logs: Path) -> Evidence:
    """Read everything in a folder, and what runs said in the logs; a line that was torn by a kill is passed over."""
    evidence = Evidence()
    for path in sorted(folder.glob("*.jsonl")):
        _read_attempt(list(_lines(path)), evidence)
    for path in logs.glob("*.log"):
        evidence.confessed |= set(_NOT_RECORDING.findall(path.read_text(errors="replace")))
    return evidence


def size(folder: Path) -> int:
    """Return how many bytes have been written in all: it grows as long as any run is at work."""
    return sum(entry.stat().st_size for entry in os.scandir(folder))


def _lines(path: Path) -> Iterator[dict]:
    for line in path.read_text(errors="replace").splitlines():
        with contextlib.suppress(ValueError):
            yield json.loads(line)


def _read_attempt(lines: list[dict], evidence: Evidence) -> None:
    begin = next((line for line in lines if line["event"] == "begin"), None)
    if begin is None:  # killed before it could write a whole line
        return
    who = {name: begin[name] for name in ("run", "attempt", "pid", "root")}
    end = next((line for line in lines if line["event"] == "end"), None)
    last = max(line["at"] for line in lines if line["event"] != "exit" or end is None)
    evidence.flows.append(
        Span(
            **who,
            begin=begin["at"],
            end=end["at"] if end else last,
            time=begin["time"],
            ended=end is not None,
            ok=bool(end and end["ok"]),
            exited=any(line["event"] == "exit" for line in lines),
        )
    )
    ends = {(line["task_run"], line["task_attempt"]): line for line in lines if line["event"] == "task-end"}
    for line in lines:
        if line["event"] == "done":
            evidence.done[line["task_run"]] = line["run"]
        elif line["event"] == "task-begin":
            task_end = ends.get((line["task_run"], line["task_attempt"]))
            evidence.tasks.append(
                Span(
                    **who,
                    begin=line["at"],
                    end=task_end["at"] if task_end else last,
                    time=line["time"],
                    ended=task_end is not None,
                    ok=bool(task_end and task_end["ok"]),
                    task_run=line["task_run"],
                    task_attempt=line["task_attempt"],
                    tags=tuple(line["tags"]),
                )
            )


def most_at_once(spans: Iterable[Span]) -> tuple[int, list[Span]]:
    """Return how many of these were under way at once at the most, and which these were (a sweep line).

    A span that ends when another begins does not meet it; one without length, killed in its first line, meets none.
    """
    edges = sorted(
        (
            (time, kind, index, span)
            for index, span in enumerate(spans)
            if span.begin < span.end
            for time, kind in ((span.begin, 1), (span.end, 0))
        ),
        key=lambda edge: edge[:3],
    )
    now: dict[int, Span] = {}
    most: list[Span] = []
    for _, kind, index, span in edges:
        if kind:
            now[index] = span
            if len(now) > len(most):
                most = list(now.values())
        else:
            now.pop(index, None)
    return len(most), most


def overlapping(spans: Iterable[Span]) -> list[tuple[Span, Span]]:
    """Return pairs of spans, of one run each, that were under way at once in two processes or as two attempts."""
    by_run: dict[str, list[Span]] = {}
    for span in spans:
        by_run.setdefault(span.run, []).append(span)
    pairs = []
    for of_run in by_run.values():
        of_run.sort(key=lambda span: span.begin)
        pairs += [
            (first, second)
            for index, first in enumerate(of_run)
            for second in of_run[index + 1 :]
            if second.begin < first.end
        ]
    return pairs


def doubled(spans: Iterable[Span]) -> list[tuple[Span, Span]]:
    """Return pairs of spans of one attempt that two processes ran, one after the other or at once."""
    seen: dict[tuple[str, int], Span] = {}
    pairs = []
    for span in spans:
        other = seen.setdefault((span.run, span.attempt), span)
        if other.pid != span.pid:
            pairs.append((other, span))
    return pairs
