"""What a run prints: it still goes where it went, and each line is recorded with the run that printed it."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TextIO

from orchestrator.sdk import terminal
from orchestrator.sdk.context import current
from orchestrator.sdk.events import MAX_LOG_BYTES, Log
from orchestrator.sdk.journal import record
from orchestrator.sdk.runs import FlowRun, Run, TaskRun

INFO = 20  # logging.INFO, without importing logging
_MAX_CHARACTERS = MAX_LOG_BYTES // 4  # a line of so many characters surely fits

_roots: list[FlowRun | TaskRun] = []  # runs of this process that no other run of it called
_lock = threading.Lock()
# Where what is printed goes instead of this process's own streams, by the stream's name: to a terminal further away.
echoes: bool = True  #: False: what is recorded does not go on to this process's own streams, which somebody records too
passed_on: ContextVar[Callable[[str, str], None] | None] = ContextVar("orchestrator_passed_on", default=None)


class _Muted(threading.local):
    on = False


_muted = _Muted()


def attributed_run() -> FlowRun | TaskRun | None:
    """Return the run that what happens in this thread belongs to.

    Threads that user code starts itself do not carry the context. While a single script runs, they are still its own.
    """
    run = current.get()
    if run is None and len(_roots) == 1:
        try:
            return _roots[0]
        except IndexError:  # it ended just now
            return None
    return run


@contextmanager
def muted() -> Iterator[None]:
    """Let what this thread prints inside the block pass by unrecorded: it was recorded in another way."""
    before, _muted.on = _muted.on, True
    try:
        yield
    finally:
        _muted.on = before


def start(root: FlowRun | TaskRun) -> None:
    """Record what is printed from now on."""
    with _lock:
        _roots.append(root)
        sys.stdout = _watched(sys.stdout, "stdout")
        sys.stderr = _watched(sys.stderr, "stderr")


def stop(root: FlowRun | TaskRun) -> None:
    """End what `start` began. The last one to end puts the streams back, unless user code put others there."""
    with _lock:
        _roots.remove(root)
        if _roots:
            return
        if isinstance(sys.stdout, Tee):
            sys.stdout = sys.stdout.original
        if isinstance(sys.stderr, Tee):
            sys.stderr = sys.stderr.original


def _watched(stream: Any, name: str) -> Any:
    return stream if stream is None or isinstance(stream, Tee) else Tee(stream, name)


class Tee:
    """A text stream that passes everything on to the stream it stands before, and records it by lines.

    It stands for that stream in all else, so that whoever kept it goes on undisturbed after the run.
    """

    def __init__(self, original: TextIO, name: str) -> None:
        self.original = original
        self._name = name

    def write(self, text: str) -> int:
        """Write and record."""
        run = attributed_run()
        if run is None or not isinstance(text, str):
            return self._pass_on(text)
        if _muted.on:
            return self._pass_on(text) if echoes else len(text)
        _take(run, self._name, text)  # before anyone can see it and, say, kill the process
        if echoes and not (run.log_prints and self._name == "stdout"):
            self._pass_on(text)
        return len(text)

    def _pass_on(self, text: str) -> int:
        send = passed_on.get()
        if send is None:
            return self.original.write(text)
        send(self._name, text)
        return len(text)

    def writelines(self, lines: Any) -> None:
        """Write and record each of some texts."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        if name == "original":  # a copy that is being made has none yet
            raise AttributeError(name)
        return getattr(self.original, name)

    def __iter__(self) -> Iterator[str]:
        return iter(self.original)

    def __enter__(self) -> Tee:
        return self

    def __exit__(self, *error: object) -> None:
        self.original.close()


class Partial:
    """A line that has not ended yet."""

    __slots__ = ("characters", "pieces")

    def __init__(self) -> None:
        self.pieces: list[str] = []
        self.characters = 0

    def add(self, text: str) -> None:
        """Append to the line. What follows a carriage return takes the place of what was there, as on a terminal."""
        if text and self.pieces and self.pieces[-1].endswith("\r"):
            self.pieces.clear()
        if "\r" in text:
            body = text.rstrip("\r")  # the last one may belong to the end of the line
            if "\r" in body:
                self.pieces.clear()
                text = text[body.rindex("\r") + 1 :]
        self.characters += len(text)
        if self.characters - len(text) <= MAX_LOG_BYTES:  # beyond that only the count matters
            self.pieces.append(text)

    def text(self) -> str:
        """Return the line so far, not much longer than what is recorded of it."""
        return "".join(self.pieces)


def _take(run: FlowRun | TaskRun, stream: str, text: str) -> None:
    partials = run.partial_lines
    if partials is None:
        partials = run.partial_lines = {}
    key = (stream, threading.get_ident())
    first, newline, rest = text.partition("\n")
    partial = partials.get(key)
    if not newline:
        if first:
            if partial is None:
                partial = partials[key] = Partial()
            partial.add(first)
        return
    if partial is not None:
        del partials[key]
        partial.add(first)
        first = partial.text()
    _emit(run, stream, first)
    while rest:
        line, newline, rest = rest.partition("\n")
        if newline:
            _emit(run, stream, line)
        else:
            partial = partials[key] = Partial()
            partial.add(line)


def flush(run: Run) -> None:
    """Record what a run that is ending printed without a newline."""
    partials, run.partial_lines = run.partial_lines, None
    for (stream, _), partial in list((partials or {}).items()):
        text = partial.text()
        if text and isinstance(run, FlowRun | TaskRun):
            _emit(run, stream, text)


def _emit(run: FlowRun | TaskRun, stream: str, line: str) -> None:
    line = line.rstrip("\r")
    if "\r" in line:
        line = line[line.rindex("\r") + 1 :]
    if run.log_prints and stream == "stdout":
        with muted():
            terminal.write(INFO, run.label, line)
    record_log(run, INFO, stream, line)


def record_log(run: FlowRun | TaskRun, level: int, logger: str, message: str) -> None:
    """Record a log line with a run; one that is too long is cut, and says so."""
    flow_run = run.flow_run
    if flow_run is None:  # a task that was called outside a flow
        return
    if len(message) > _MAX_CHARACTERS:
        message = _cut(message)
    log = Log(run=flow_run.id, attempt=flow_run.attempt, level=level, logger=logger, message=message)
    if isinstance(run, TaskRun):
        log.task_run = run.id
        log.task_attempt = run.attempt
        log.attempt = run.flow_attempt
    record(log)


def _cut(message: str) -> str:
    data = message.encode("utf-8", "backslashreplace")
    if len(data) <= MAX_LOG_BYTES:
        return message
    return f"{data[:MAX_LOG_BYTES].decode('utf-8', 'ignore')} … [cut here: the line was longer than 1 MB]"
