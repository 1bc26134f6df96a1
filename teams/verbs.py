"""What every verb that writes for somebody has in common: it asks whether they may, and writes down what it did.

    @verb("deployment.pause", Level.EDIT)
    def pause_deployment(deployment, *, user=None): ...

The first argument is the row that the verb is about, or the team that will own what it makes. A verb that is called by
another one leaves both to that one; with `user=None`, which stands for the site itself, nothing is asked or written.
"""

from collections.abc import Callable
from contextlib import nullcontext
from contextvars import ContextVar
from functools import wraps
from typing import Any, Final, ParamSpec, TypeVar

from django.db import transaction
from django.db.models import Model

from teams import audit
from teams.models import Team
from teams.rights import Level, require

#: What changes without anybody's doing, or says again what another field says.
VOLATILE: Final = frozenset(
    {"created_at", "updated_at", "revision", "state_time", "tick_at", "materialized_until", "declared", "slug",
     "last_used_at", "heartbeat_at", "anchor"}
)  # fmt: skip
SECRETS: Final = frozenset({"config", "digest", "password", "secrets"})

P = ParamSpec("P")
R = TypeVar("R")

_inside: ContextVar[bool] = ContextVar("inside", default=False)


def verb(
    name: str, level: Level, *, always: bool = False, atomic: bool = True
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Make a function a verb: it takes `level` on its first argument, and what it changed is recorded as `name`.

    Args:
        name: As the audit log has it: `deployment.pause`.
        level: What it takes, of a `user` that is not None. The verb raises `teams.rights.Refused` below that.
        always: Record it where no field of the row differs afterwards too: it did something else.
        atomic: Whether the verb and its record are one transaction; not where the verb talks to others.

    The record is about the row that the verb returns (or has first in what it returns), else about its argument.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        @wraps(function)
        def done(*args: P.args, **kwargs: P.kwargs) -> R:
            user: Any = kwargs.get("user")
            if user is None or _inside.get():
                return function(*args, **kwargs)
            row: Any = args[0] if args else next(iter(kwargs.values()))
            require(user, level, row)
            before, key, called = snapshot(row), row.pk, str(row)
            token = _inside.set(True)
            try:
                with transaction.atomic() if atomic else nullcontext():
                    result = function(*args, **kwargs)
                    row.pk = key  # which a delete takes away
                    _record(user, name, row, called, before, result, always)
            finally:
                _inside.reset(token)
            return result

        return done

    return decorate


def snapshot(row: Model) -> dict[str, Any]:
    """Return the values of a row by field, as far as they are loaded and somebody changes them."""
    absent = row.get_deferred_fields() | VOLATILE
    return {
        field.attname: field.value_from_object(row)
        for field in row._meta.concrete_fields
        if field.attname not in absent and field.name not in absent
    }


def _record(user: Any, name: str, row: Model, called: str, before: dict[str, Any], result: Any, always: bool) -> None:
    made = result[0] if isinstance(result, tuple) and result else result
    if not isinstance(made, Model) or not _is_about(name, row, made):
        audit.record(user, name, row, name=called)
    elif type(made) is not type(row) or made.pk != row.pk:
        audit.record(user, name, made)
    elif (changes := audit.differences(before, snapshot(made))) or always:
        audit.record(user, name, made, dict(_shown(made, field, pair) for field, pair in changes.items()))


def _is_about(name: str, row: Model, made: Model) -> bool:
    """Whether the record is about what the verb returned, as its name says, or its argument is but the owner."""
    about = name.partition(".")[0].replace("_", "")
    return isinstance(row, Team) or type(made) is type(row) or about == made._meta.model_name


def _shown(row: Model, attribute: str, pair: tuple[Any, Any]) -> tuple[str, tuple[Any, Any]]:
    """Return a field and what it was and is, as people know it: other rows by their names (a query for each such)."""
    if attribute in SECRETS:
        return attribute, (audit.SECRET, audit.SECRET)
    field = next(one for one in row._meta.concrete_fields if one.attname == attribute)
    if field.related_model is None:
        return attribute, pair
    named = field.related_model._default_manager.in_bulk([key for key in pair if key is not None])
    before, after = (str(named.get(key, key)) if key is not None else None for key in pair)
    return field.name, (before, after)
