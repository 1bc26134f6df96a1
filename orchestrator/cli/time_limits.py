"""The options of `deploy` and `deployment set` about runs that are late or take too long."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

from orchestrator.cli.options import seconds_of
from orchestrator.cli.output import duration

Verb = TypeVar("Verb", bound=Callable[..., Any])

NONE = "none"
_WHAT_FOLLOWS = click.Choice(["nothing", "cancel"])
_FIELDS = {"late_after": "late_after_seconds", "expected": "expected_seconds", "deadline": "deadline_seconds"}


def time_limit_options(verb: Verb) -> Verb:
    """Add --late-after, --expected, --on-overrun, --deadline and --on-deadline, gathered by `time_limits_of`."""
    options = [
        click.option("--late-after", metavar="TIME", help="Late, when it has not begun so long after its time.  [60s]"),
        click.option("--expected", metavar="TIME", help="How long a run should take at most: 10m, or none."),
        click.option("--on-overrun", type=_WHAT_FOLLOWS, help="What becomes of a run that takes longer.  [nothing]"),
        click.option("--deadline", metavar="TIME", help="When a run should have ended, after its time: 2h, or none."),
        click.option("--on-deadline", type=_WHAT_FOLLOWS, help="What becomes of a run that has not.  [nothing]"),
    ]
    for option in reversed(options):
        verb = option(verb)
    return verb


def time_limits_of(**given: str | None) -> dict[str, Any]:
    """Return the fields that these options set. Raises click.UsageError that names the option."""
    body: dict[str, Any] = {name: given[name] for name in ("on_overrun", "on_deadline") if given[name] is not None}
    for name, field in _FIELDS.items():
        text = given[name]
        if text is not None:
            body[field] = None if text == NONE else seconds_of(text, f"--{name.replace('_', '-')}")
    return body


def time_limit_words(found: dict[str, Any]) -> str:
    """Return a deployment's time limits in words; empty for none."""
    said = []
    if found["late_after_seconds"]:
        said.append(f"late after {duration(found['late_after_seconds'])}")
    for name, what, follows in (
        ("expected", "expected to take", "on_overrun"),
        ("deadline", "deadline", "on_deadline"),
    ):
        if seconds := found[f"{name}_seconds"]:
            end = ", else cancelled" if found[follows] == "cancel" else ""
            said.append(f"{what} {duration(seconds)}{end}")
    return "; ".join(said)
