"""What is quoted of a run in a message: its last log lines, its reason, its parameters. Cut, and plain."""

import re
from collections.abc import Mapping
from datetime import datetime, timedelta, tzinfo
from typing import Any, Final
from uuid import UUID

from django.db.models.functions import Left

from notifications.template_filters import MAX_ITEMS
from runs.models import Log
from runs.presentation import level_name

MAX_LINE: Final = 300
MAX_REASON: Final = 2_000
_MAX_DEPTH: Final = 6
_READ: Final = 4_000  # characters of a log message
_LOOKED_AT: Final = 1_000  # of the last lines: behind more lines of debugging than that nobody looks for others
_INFO, _WARNING = 20, 30
_TRACEBACK: Final = "Traceback (most recent call last):"
# Colours and other orders to terminals: CSI, OSC, and the short ones.
_ANSI: Final = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[ -/]*[0-~])")
# Characters that show nothing, turn the direction of what follows, or (lone surrogates) that no database takes.
_UNSEEN: Final = re.compile(r"[\ud800-\udfff\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
# A run's lines may have ids this much later than its end: another process of it wrote them.
_LATE: Final = timedelta(minutes=2)


def plain(text: str, limit: int = MAX_REASON) -> str:
    """Return a text without terminal codes and unseen characters, cut to a number of characters; lines stay."""
    text = _UNSEEN.sub("", _ANSI.sub("", text[: 4 * limit].replace("\r\n", "\n"))).strip()
    return text if len(text) <= limit else text[: limit - 1].rstrip() + "…"


def line(text: str, limit: int = MAX_LINE) -> str:
    """Return a text as one line, cut to a number of characters."""
    return plain(" ".join(plain(text, 4 * limit).split()), limit)


def reason(text: str) -> str:
    """Return a reason without the stack trace that may follow it."""
    return plain(without_traceback(text))


def without_traceback(text: str) -> str:
    """Return a text up to its stack trace; of one that is nothing else, its last line: what was raised."""
    before, found, after = text.partition(_TRACEBACK)
    if not found or before.strip():
        return before.rstrip()
    return next((part.strip() for part in reversed(after.splitlines()) if part.strip()), _TRACEBACK)


def last_log_lines(run_id: UUID, attempt: int, most: int, *, zone: tzinfo, until: datetime | None = None) -> list[str]:
    """Return the last log and printed lines of an attempt, oldest first: `16:21:37 ERROR no rows` (one query).

    Args:
        most: How many at most.
        zone: Times are told in it.
        until: When the attempt ended, for one that another followed: the search begins there, not at the log's end.
    """
    if not most:
        return []
    newest = Log.objects.filter(flow_run=run_id)
    if until is not None:
        newest = newest.filter(id__lt=_ceiling(until + _LATE))
    wanted = Log.objects.filter(
        id__in=newest.order_by("-id").values("id")[:_LOOKED_AT], attempt=attempt, level__gte=_INFO
    )
    found = wanted.order_by("-id").annotate(shown=Left("message", _READ)).values_list("time", "level", "shown")[:most]
    return [_log_line(time.astimezone(zone), level, text) for time, level, text in found][::-1]


def bounded(value: Any, depth: int = _MAX_DEPTH) -> Any:
    """Return a JSON value with texts, lists and objects cut to what a message can need."""
    if isinstance(value, str):
        return plain(value)
    if depth == 0:
        return "…"
    if isinstance(value, Mapping):
        return {str(name)[:MAX_LINE]: bounded(item, depth - 1) for name, item in list(value.items())[:MAX_ITEMS]}
    if isinstance(value, list | tuple):
        return [bounded(item, depth - 1) for item in value[:MAX_ITEMS]]
    return value


def _log_line(time: datetime, level: int, text: str) -> str:
    marked = f" {level_name(level)}" if level >= _WARNING else ""
    return line(f"{time:%H:%M:%S}{marked} {without_traceback(text)}")


def _ceiling(moment: datetime) -> UUID:
    """The lowest UUIDv7 of a time: ids of log lines are made of their times."""
    return UUID(int=int(moment.timestamp() * 1000) << 80)
