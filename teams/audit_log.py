"""Reading the audit log: narrowed by a query, page by page, or whole as CSV or JSON Lines."""

import csv
import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db.models import Q, QuerySet
from django.http import StreamingHttpResponse

from orchestrator.paging import read_time
from teams import reads
from teams.models import AuditEntry, Team, User, Via

#: What the log can be narrowed by.
FILTERS: Final = ("user", "verb", "object", "object_type", "object_id", "via", "team", "since", "until")
FIELDS: Final = (
    "id", "at", "user", "user_id", "token", "via", "address", "verb", "object_type", "object_id", "object_name",
    "team", "changes",
)  # fmt: skip
FORMATS: Final = {"csv": "text/csv; charset=utf-8", "jsonl": "application/x-ndjson"}
_CHUNK = 2_000
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def narrowed(user: User, query: Mapping[str, Any]) -> "QuerySet[AuditEntry]":
    """Return the entries that a user may read, of those that a query names (`FILTERS`), in no order.

    Raises:
        ValidationError: A filter cannot be read.
    """
    said = {name: str(query.get(name) or "").strip()[:300] for name in FILTERS}
    entries = reads.entries_for(user).select_related("team")
    if said["user"]:
        entries = entries.filter(actor_name=said["user"])
    if verb := said["verb"]:
        entries = entries.filter(Q(verb=verb) if "." in verb else Q(verb__startswith=f"{verb}."))
    if said["object"]:
        entries = entries.filter(subject_name__icontains=said["object"])
    if said["object_type"]:
        entries = entries.filter(subject_type=said["object_type"])
    if said["object_id"]:
        entries = entries.filter(subject_id=said["object_id"])
    if via := said["via"]:
        if via not in Via.values:
            raise ValidationError({"via": f"There is no way {via!r}; there are: {', '.join(Via.values)}."})
        entries = entries.filter(via=via)
    if said["team"]:
        entries = entries.filter(team__in=Team.objects.visible_to(user).filter(_named(said["team"])))
    if said["since"]:
        entries = entries.filter(id__gte=_first_id(_time(said["since"], "since")))
    if said["until"]:
        entries = entries.filter(id__lt=_first_id(_time(said["until"], "until")))
    return entries


def plain(entry: AuditEntry) -> dict[str, Any]:
    """Return an entry as it is exported, by `FIELDS`; times in UTC."""
    return {
        "id": str(entry.pk),
        "at": entry.at.astimezone(UTC).isoformat(),
        "user": entry.actor_name,
        "user_id": entry.actor_id,
        "token": entry.token,
        "via": entry.via,
        "address": entry.address,
        "verb": entry.verb,
        "object_type": entry.subject_type,
        "object_id": entry.subject_id,
        "object_name": entry.subject_name,
        "team": entry.team.name if entry.team else None,
        "changes": entry.changes,
    }


def exported(entries: "QuerySet[AuditEntry]", kind: str) -> StreamingHttpResponse:
    """Return all of these entries as a file, newest first, read in parts and never held whole.

    Args:
        kind: `csv`, with a line of titles and the changes as JSON; or `jsonl`, an object on each line.
    """
    rows = entries.order_by("-id").iterator(chunk_size=_CHUNK)
    answer = StreamingHttpResponse(_csv(rows) if kind == "csv" else _lines(rows), content_type=FORMATS[kind])
    answer["Content-Disposition"] = f'attachment; filename="audit-log.{kind}"'
    answer["Cache-Control"] = "no-store"
    return answer


class _Echo:
    """A file that gives back what is written to it."""

    def write(self, text: str) -> str:
        """Return the text."""
        return text


def _csv(rows: Iterator[AuditEntry]) -> Iterator[str]:
    writer = csv.writer(_Echo())
    yield writer.writerow(FIELDS)
    for entry in rows:
        values = plain(entry) | {"changes": json.dumps(entry.changes, ensure_ascii=False)}
        yield writer.writerow([_cell(values[name]) for name in FIELDS])


def _cell(value: Any) -> str:
    """A value as a spreadsheet shows it and does not compute it."""
    text = "" if value is None else str(value)
    return f"'{text}" if text.startswith(_FORMULA) else text


def _lines(rows: Iterator[AuditEntry]) -> Iterator[str]:
    for entry in rows:
        yield json.dumps(plain(entry), ensure_ascii=False) + "\n"


def _named(team: str) -> Q:
    try:
        return Q(pk=UUID(team))
    except ValueError:
        return Q(name=team)


def _time(text: str, field: str) -> datetime:
    try:
        return read_time(text)
    except ValueError:
        raise ValidationError({field: f"{text!r} is no ISO 8601 time with its offset from UTC."}) from None


def _first_id(time: datetime) -> UUID:
    """The least id that is made at this time: ids are in the order of time, and an index has them."""
    return UUID(int=max(int(time.timestamp() * 1000), 0) << 80)
