"""A form is not saved over what somebody else changed since it was loaded, until its sender has seen that and says so.

    {% version row %}                              in the form: the version of the row that it shows
    with saving(request, row): change(row, …)      where the form is saved

The version is the API's `ETag` (`orchestrator.versions`), but for rows within it that have forms of their own.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Self

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Model
from django.http import HttpRequest
from django.utils import timezone

from orchestrator import versions
from teams import audit
from teams.models import AuditEntry

#: The field of a form that has the version.
FIELD: Final = "version"
_MOST_SAID: Final = 5


@dataclass(frozen=True, slots=True)
class Version:
    """The version of a row that somebody has before them, and since when."""

    mark: str
    at: datetime

    @classmethod
    def of(cls, row: Model) -> Self:
        """Return the version of a row as it was read (queries: as `orchestrator.versions.etag`)."""
        return cls(versions.etag(row, owned=False).strip('"'), timezone.now())

    @classmethod
    def read(cls, text: str) -> Self | None:
        """Return what `str` of a version gave; None for anything else."""
        mark, _, milliseconds = text.partition(".")
        if not mark or not milliseconds.isdecimal() or len(milliseconds) > 13:
            return None
        return cls(mark, datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=int(milliseconds)))

    def __str__(self) -> str:
        """Return what a form carries."""
        return f"{self.mark}.{int(self.at.timestamp() * 1000)}"


@dataclass(frozen=True, slots=True)
class Overtaken:
    """What happened to a row while somebody had its form open.

    Attributes:
        version: That of now: the form that says so carries it, so that saving it again is meant.
        entries: Of the audit log since then, newest first, at most five; the newest one where none is younger.
    """

    version: Version
    entries: list[AuditEntry] = field(default_factory=list)


@contextmanager
def saving(request: HttpRequest, row: Model, *, about: Model | None = None) -> Iterator[None]:
    """Save a form's row within. It is locked, and the transaction is this one.

    A form without a version is saved over whatever there is.

    Args:
        request: With the form.
        row: What the form changes.
        about: What the audit log says the change of, where it is not the row.

    Raises:
        ValidationError: With no message, where it changed since; `overtaken(request)` then says how.
    """
    with transaction.atomic():
        if seen := Version.read(request.POST.get(FIELD, "")):
            locked = type(row)._default_manager.select_for_update(of=("self",), no_key=True).get(pk=row.pk)
            now = Version.of(locked)
            if now.mark != seen.mark:
                _say(request, Overtaken(now, _since(about or locked, seen.at)))
                raise ValidationError([])
        yield


def overtaken(request: HttpRequest) -> Overtaken | None:
    """Return what kept the form of this request from being saved, if that is what did."""
    return getattr(request, "overtaken", None)


def carried(request: HttpRequest, row: Model) -> str:
    """Return the version that the form of this answer carries: what it began with, until its sender saw a newer one."""
    if told := overtaken(request):
        return str(told.version)
    return request.POST.get(FIELD) or str(Version.of(row))


def _say(request: Any, told: Overtaken) -> None:
    request.overtaken = told


def _since(row: Model, time: datetime) -> list[AuditEntry]:
    found = audit.history(row, _MOST_SAID)
    return [entry for entry in found if entry.at > time] or found[:1]
