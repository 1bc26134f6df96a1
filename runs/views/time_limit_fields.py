"""The time limits of a deployment in its form: written as 5m or 2h, kept as seconds."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from django.conf import settings
from django.core.exceptions import ValidationError

from flows.models import Deployment, OnOverrun

_UNITS: Final = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
_ABOUT: Final = {
    "late_after_seconds": ("Late after", "", "How long after its time a run may begin; then it is shown as Late."),
    "expected_seconds": ("Expected duration", "on_overrun", "How long a run should take at most, from its start."),
    "deadline_seconds": ("Deadline", "on_deadline", "When a run should have ended, counted from its time."),
}


@dataclass(frozen=True, slots=True)
class TimeLimitField:
    """One of them, as the form shows it."""

    name: str
    label: str
    hint: str
    value: str
    placeholder: str
    errors: list[str]
    follows: str  #: the field of what follows; empty where nothing can
    chosen: str
    choices: list[tuple[str, str]]


def time_limit_fields(
    deployment: Deployment, data: Mapping[str, str] | None = None, errors: Mapping[str, list[str]] | None = None
) -> list[TimeLimitField]:
    """Return the fields, filled from the deployment, or from what was sent."""
    fields = []
    for name, (label, follows, hint) in _ABOUT.items():
        shown = in_units(getattr(deployment, name)) if data is None else data.get(name, "")
        chosen = getattr(deployment, follows) if follows else ""
        chosen = chosen if data is None or not follows else data.get(follows, chosen)
        placeholder = in_units(settings.LATE_AFTER_SECONDS) if name == "late_after_seconds" else ""
        wrong = [*(errors or {}).get(name, []), *(errors or {}).get(follows, [])]
        fields.append(TimeLimitField(name, label, hint, shown, placeholder, wrong, follows, chosen, OnOverrun.choices))
    return fields


def read_time_limits(data: Mapping[str, str]) -> dict[str, Any]:
    """Return what was sent, by field; what was not sent is left out. Raises ValidationError by field."""
    values: dict[str, Any] = {}
    errors = {}
    for name, (_, follows, _hint) in _ABOUT.items():
        text = data.get(name)
        if text is not None:
            match = re.fullmatch(r"(\d{1,9})\s*([smhd]?)", text.strip().lower())
            if match is None and text.strip():
                errors[name] = "Write a time such as 30s, 5m, 2h or 1d, or nothing."
            else:
                values[name] = int(match[1]) * _UNITS[match[2]] if match else None
        if follows and follows in data:
            values[follows] = data[follows]
    if errors:
        raise ValidationError(errors)
    return values


def in_units(seconds: int | None) -> str:
    """Return `5m` for 300, in the largest unit that it is a whole number of; empty for None."""
    if seconds is None:
        return ""
    unit = next((unit for unit in "dhm" if seconds % _UNITS[unit] == 0), "s")
    return f"{seconds // _UNITS[unit]}{unit}"
