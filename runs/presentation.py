"""How states, durations, counts and times are put into words. Pure functions; no queries."""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache

from django.utils import timezone

from orchestrator.sdk.states import StateType

_LOOKS = {
    StateType.SCHEDULED: "scheduled",
    StateType.PENDING: "scheduled",
    StateType.RUNNING: "running",
    StateType.PAUSED: "paused",
    StateType.COMPLETED: "completed",
    StateType.FAILED: "failed",
    StateType.CRASHED: "crashed",
    StateType.CANCELLING: "cancelled",
    StateType.CANCELLED: "cancelled",
}
_TURNING = {StateType.RUNNING, StateType.CANCELLING}
_LEVELS = ((50, "CRITICAL"), (40, "ERROR"), (30, "WARNING"), (20, "INFO"), (0, "DEBUG"))
# The worst first: the colour of a bar that stands for many task runs.
_WORST = (
    StateType.FAILED,
    StateType.CRASHED,
    StateType.RUNNING,
    StateType.CANCELLING,
    StateType.PAUSED,
    StateType.PENDING,
    StateType.SCHEDULED,
    StateType.CANCELLED,
    StateType.COMPLETED,
)


@dataclass(frozen=True, slots=True)
class Look:
    """How a state is shown: a shape, a word, a colour (`css`)."""

    css: str
    word: str
    icon: str  #: the id of the shape in `_icons.html`
    turning: bool = False


@lru_cache(512)  # a page asks 1,500 times
def look(type_: str, name: str = "") -> Look:
    """Return the look of a state; the name's words are parted (`AwaitingRetry` reads "Awaiting retry")."""
    kind = StateType(type_)
    css = _LOOKS[kind]
    word = sentence(name or kind.value)
    return Look("paused" if name == "Late" else css, word, f"state-{css}", kind in _TURNING)


def sentence(name: str) -> str:
    """Part the words of a CamelCase name and lower all but the first."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).capitalize()


def worst(types: "set[str]") -> StateType:
    """Return the state that a picture of all of these shows: the one that wants attention most."""
    return next(type_ for type_ in _WORST if type_ in types)


def duration(seconds: float | None) -> str:
    """Return a duration in words: `40 ms`, `2.9 s`, `1 m 12 s`, `2 h 5 m`, `3 d 4 h`; empty for None."""
    if seconds is None:
        return ""
    seconds = max(seconds, 0)
    if seconds < 0.0995:
        return "<1 ms" if 0 < seconds < 0.0005 else f"{seconds * 1000:.0f} ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} m {rest} s" if rest else f"{minutes} m"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours} h {minutes} m" if minutes else f"{hours} h"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h" if hours else f"{days} d"


def size(number: float) -> str:
    """Return a size in bytes as people read it: `3.8 GB`, `120 MB`."""
    return f"{number / 2**30:.1f} GB" if number >= 0.995 * 2**30 else f"{number / 2**20:.0f} MB"


def duration_range(low: float, high: float) -> str:
    """Return a range of durations, the unit said once where both share it: `44 to 52 s`."""
    first, last = _rounded(low), _rounded(high)
    if first == last:
        return f"about {first}"
    first_number, _, first_unit = first.partition(" ")
    return f"{first_number} to {last}" if first_unit == last.partition(" ")[2] else f"{first} to {last}"


def _rounded(seconds: float) -> str:
    return f"{seconds:.0f} s" if 9.95 <= seconds < 59.5 else duration(seconds)


def seconds_between(start: datetime | None, end: datetime | None) -> float | None:
    """Return the seconds from start to end, or None when either is missing."""
    return (end - start).total_seconds() if start and end else None


def count(number: int) -> str:
    """Return a count with its thousands parted: `336,776`."""
    return f"{number:,}"


def several(number: int, noun: str, plural: str = "") -> str:
    """Return a counted noun: `1 line`, `1,204 lines`."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def level_name(level: int) -> str:
    """Return the name of the log level at or below this number."""
    return next(name for floor, name in _LEVELS if level >= floor)


def clock(moment: datetime, now: datetime) -> str:
    """Return a time in the reader's zone, as short as the day allows: `14:30:02`, `21 Nov 14:30`, `21 Nov 2025`."""
    local, today = timezone.localtime(moment), timezone.localtime(now)
    if local.date() == today.date():
        return local.strftime("%H:%M:%S")
    if abs(today - local) < timedelta(days=180):
        return f"{local.day} {local:%b %H:%M}"
    return f"{local.day} {local:%b %Y}"


def upcoming_clock(moment: datetime, now: datetime) -> str:
    """Return when something will be: `15:00`, `tomorrow 02:00`, `Mon 08:00`, `3 Dec 08:00`."""
    local, today = timezone.localtime(moment), timezone.localtime(now)
    days = (local.date() - today.date()).days
    soon = moment - now < timedelta(hours=1)
    time = f"{local:%H:%M:%S}" if local.second and soon else f"{local:%H:%M}"
    if days == 0:
        return time
    if days == 1:
        return f"tomorrow {time}"
    if 1 < days < 7:
        return f"{local:%a} {time}"
    return f"{local.day} {local:%b} {time}" if days < 300 else f"{local.day} {local:%b %Y} {time}"


def exact(moment: datetime) -> str:
    """Return the exact time in the reader's zone, for the hover: weekday, date, milliseconds and zone."""
    local = timezone.localtime(moment)
    milliseconds = local.microsecond // 1000
    return f"{local:%A} {local.day} {local:%B %Y, %H:%M:%S}.{milliseconds:03d} {timezone.get_current_timezone_name()}"
