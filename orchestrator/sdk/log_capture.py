"""What Python's `logging` emits inside a run is recorded with it, and the user's logging configuration stays as it is.

A handler on the root logger would not do: with one there, `logging.basicConfig` does nothing, and Python's handler of
last resort falls silent. So the two methods of `logging.Logger` through which every line goes are wrapped, as Sentry's
SDK does. INFO and above is recorded although the root logger is at WARNING by default; a level that was set on a logger
itself (or one between it and the root) is kept to.
"""

from __future__ import annotations

import logging
import sys
from typing import Any

from orchestrator.sdk import capture, terminal
from orchestrator.sdk.context import current
from orchestrator.sdk.exceptions import MissingContextError
from orchestrator.sdk.runs import FlowRun, TaskRun

_is_enabled_for = logging.Logger.isEnabledFor
_call_handlers = logging.Logger.callHandlers
_formatter = logging.Formatter()


def start() -> None:
    """Record log lines from now on; until then `logging` is untouched."""
    logging.Logger.isEnabledFor = _is_recorded_or_enabled  # type: ignore[method-assign,assignment]
    logging.Logger.callHandlers = _record_and_call_handlers  # type: ignore[method-assign,assignment]


def stop() -> None:
    """End what `start` began."""
    logging.Logger.isEnabledFor = _is_enabled_for  # type: ignore[method-assign]
    logging.Logger.callHandlers = _call_handlers  # type: ignore[method-assign]


def _is_recorded_or_enabled(logger: logging.Logger, level: int) -> bool:
    return _is_enabled_for(logger, level) or _is_recorded(logger, level)


def _is_recorded(logger: logging.Logger, level: int) -> bool:
    if level < logging.INFO or logger.disabled or logger.manager.disable >= level:
        return False
    if capture.attributed_run() is None:
        return False
    at: logging.Logger | None = logger
    while at is not None and at.parent is not None:
        if at.level:
            return level >= at.level
        at = at.parent
    return True


def _record_and_call_handlers(logger: logging.Logger, record: logging.LogRecord) -> None:
    run: FlowRun | TaskRun | None = getattr(record, "orchestrator_run", None) or capture.attributed_run()
    recorded = run is not None and record.levelno >= logging.INFO
    if run is not None and recorded:
        capture.record_log(run, record.levelno, record.name, _text(record))
    # Only lines that came the usual way were let through for us alone; handle() is also called with others.
    if not _is_enabled_for(logger, record.levelno) and _came_by_log():
        return
    if recorded:
        with capture.muted():
            _call_handlers(logger, record)
    else:
        _call_handlers(logger, record)


def _came_by_log() -> bool:
    try:
        return sys._getframe(3).f_code is logging.Logger._log.__code__
    except ValueError:  # called by hand, from the top level
        return False


def _text(record: logging.LogRecord) -> str:
    try:
        text = record.getMessage()
    except Exception:  # arguments that do not fit the format: logging itself reports it on standard error
        text = f"{record.msg} {record.args!r}"
    if record.exc_info and record.exc_info[0] is not None:
        text = f"{text}\n{_formatter.formatException(record.exc_info)}"
    return text


class _TerminalHandler(logging.Handler):
    """Prints what a run's logger emits as the engine prints its own lines."""

    def emit(self, record: logging.LogRecord) -> None:
        run = getattr(record, "orchestrator_run", None)
        terminal.write(record.levelno, record.name if run is None else run.label, _text(record))


class RunLogger(logging.LoggerAdapter[logging.Logger]):
    """The logger of a run: what `get_run_logger` returns."""

    def process(self, msg: Any, kwargs: Any) -> tuple[Any, Any]:
        """Mark the line as this run's, also in threads that do not carry the context."""
        kwargs["extra"] = {**(kwargs.get("extra") or {}), **(self.extra or {})}
        return msg, kwargs


def get_run_logger() -> RunLogger:
    """Return the logger of the current run: its lines go to the terminal and are recorded with the run.

    Raises:
        MissingContextError: Called outside a run.
    """
    run = current.get() or capture.attributed_run()
    if run is None:
        raise MissingContextError("get_run_logger() was called outside a run. Use logging.getLogger(__name__) there.")
    return RunLogger(_logger_of(run), {"orchestrator_run": run})


def _logger_of(run: FlowRun | TaskRun) -> logging.Logger:
    logger = logging.getLogger("orchestrator.flow_runs" if run.task_run is None else "orchestrator.task_runs")
    if not any(isinstance(handler, _TerminalHandler) for handler in logger.handlers):
        logger.addHandler(_TerminalHandler())
        logger.propagate = False  # the user's handlers would print the line a second time
        if not logger.level:
            logger.setLevel(terminal.lowest_level())
    return logger
