"""When a deployment's runs are late, overrun or miss their deadline, and what follows."""

from typing import Any, Final

from django.core.exceptions import ValidationError

from flows.models import Deployment, OnOverrun

MAX_SECONDS: Final = 366 * 24 * 3600
SECONDS: Final = ("late_after_seconds", "expected_seconds", "deadline_seconds")
# The fields of a deployment that are about this, with what they are where nobody said anything.
DEFAULTS: Final[dict[str, Any]] = {
    "late_after_seconds": None,
    "expected_seconds": None,
    "on_overrun": OnOverrun.NOTHING.value,
    "deadline_seconds": None,
    "on_deadline": OnOverrun.NOTHING.value,
}


def check_time_limits(source: Any) -> None:
    """Raise ValidationError, by field, for time limits that cannot be kept. `source` has the fields of `DEFAULTS`."""
    errors: dict[str, str] = {}
    for name in SECONDS:
        value = getattr(source, name)
        is_number = isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MAX_SECONDS
        if value is not None and not is_number:
            errors[name] = f"Write a number of seconds from 1 to {MAX_SECONDS:,}, or nothing."
    for name in ("on_overrun", "on_deadline"):
        if getattr(source, name) not in OnOverrun.values:
            errors[name] = f"Write {' or '.join(OnOverrun.values)}."
    if errors:
        raise ValidationError(errors)


def time_limits_of(deployment: Deployment) -> dict[str, Any]:
    """Return a deployment's time limits by field."""
    return {name: getattr(deployment, name) for name in DEFAULTS}
