"""What version of an object somebody saw, so that a change made from an older one is refused and none is lost.

A version is made of the stored fields that people change, each as a short mark: two reads of an unchanged object give
the same one, whoever reads. Fields that the server itself keeps writing are left out (`unversioned` of the model).
"""

import json
from hashlib import sha256
from typing import Any, Final

from django.db.models import Model
from rest_framework import exceptions, status

_NEVER: Final = frozenset({"created_at", "updated_at"})
_MARK_LENGTH: Final = 12


class ChangedMeanwhile(exceptions.APIException):
    """The object is not the one that `If-Match` names any more."""

    status_code = status.HTTP_412_PRECONDITION_FAILED
    default_code = "changed_meanwhile"
    default_detail = "Somebody has changed it meanwhile. Read it again, and send the change with its new ETag."


def marks(row: Model) -> dict[str, str]:
    """Return a mark of each stored field that people change, by the field's name."""
    left_out = _NEVER | getattr(type(row), "unversioned", frozenset())
    fields = [field for field in row._meta.concrete_fields if field.name not in left_out]
    return {field.name: _mark(field.get_prep_value(getattr(row, field.attname))) for field in fields}


def etag(row: Model, *, owned: bool = True) -> str:
    """Return the version of an object with all that is answered and changed with it (`parts` of the model).

    Queries: one for each of its parts that is not prefetched.

    Args:
        row: The object.
        owned: Whether the rows that are its own count, which are changed by themselves too.
    """
    whole: dict[str, Any] = {"": marks(row)}
    for name in getattr(type(row), "parts", ()):
        is_owned = row._meta.get_field(name).one_to_many
        if is_owned and not owned:
            continue
        found = sorted(getattr(row, name).all(), key=lambda part: str(part.pk))
        whole[name] = [marks(part) if is_owned else str(part.pk) for part in found]
    return f'"{_digest(json.dumps(whole, sort_keys=True))[:32]}"'


def check(row: Model, wanted: str) -> None:
    """Raise ChangedMeanwhile unless an `If-Match` header names this version (`*` names every one).

    To be called in the transaction that changes the row, with the row locked.
    """
    names = [name.strip().removeprefix("W/") for name in wanted.split(",")]
    if "*" not in names and etag(row) not in names:
        raise ChangedMeanwhile


def _mark(value: Any) -> str:
    return _digest(json.dumps(value, sort_keys=True, default=str))[:_MARK_LENGTH]


def _digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()
