"""Lists are read page by page behind a cursor, which costs the same on the thousandth page as on the first."""

import base64
import binascii
import json
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from django.db.models import DateTimeField, Model, Q, QuerySet, UUIDField
from django.utils import timezone
from rest_framework.exceptions import ValidationError
from rest_framework.pagination import BasePagination
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from teams.reach import ReachQuerySet

DEFAULT_LIMIT = 50
MAX_LIMIT = 200
MAX_DIGITS = 9  # of a number in an address: enough for any list, and every column holds it


class KeysetPagination(BasePagination):
    """Pages in the order of `ordering` (fields that together are unique, all of one direction).

    The cursor carries the values of the last row; it is opaque to clients. Answers `{"results", "next"}`, where `next`
    is null on the last page. A search may answer fewer rows than a page, or none, and yet have a next one. No query
    counts anything; one row more than asked for says whether there is a next page.
    """

    ordering: tuple[str, ...] = ("-id",)
    default_limit = DEFAULT_LIMIT
    max_limit = MAX_LIMIT

    def paginate_queryset(self, queryset: QuerySet[Any], request: Request, view: APIView | None = None) -> list[Any]:
        """Return the rows of the page that the query asks for (one query)."""
        limit = read_limit(request, self.default_limit, self.max_limit)
        cursor = request.query_params.get("cursor")
        values: list[Any] = []
        if cursor:
            values = decode_cursor(cursor, [_kind(queryset.model, field) for field in self.ordering])
        back_to = self._looked_back_to(queryset, values)
        if values:
            queryset = queryset.filter(self._after(values))
        if back_to:
            queryset = queryset.filter(**{f"{_path(self.ordering[0])}__gte": back_to[0]})
        most = limit + 1
        if isinstance(queryset, ReachQuerySet) and self.ordering[0].startswith("-"):
            rows = list(queryset.first_rows(*self.ordering, most=most))
        else:
            rows = list(queryset.order_by(*self.ordering)[:most])
        last = rows[limit - 1] if len(rows) > limit else None
        following = [_value(last, field) for field in self.ordering] if last else back_to
        self.next = encode_cursor(following) if following else None
        return rows[:limit]

    def get_paginated_response(self, data: Any) -> Response:
        """Wrap a page."""
        return Response({"results": data, "next": self.next})

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        """Describe a page for OpenAPI."""
        following = {"type": ["string", "null"], "description": "The cursor of the next page; null on the last one."}
        return {
            "type": "object",
            "required": ["results", "next"],
            "properties": {"results": schema, "next": following},
        }

    def get_schema_operation_parameters(self, view: APIView) -> list[dict[str, Any]]:
        """Describe the query for OpenAPI."""
        limit = {"type": "integer", "minimum": 1, "maximum": self.max_limit, "default": self.default_limit}
        return [
            {"name": "limit", "in": "query", "schema": limit, "description": "How many at most."},
            {
                "name": "cursor",
                "in": "query",
                "schema": {"type": "string"},
                "description": "The last page's `next`.",
            },
        ]

    def _looked_back_to(self, queryset: QuerySet[Any], values: list[Any]) -> list[Any]:
        """The place in the order down to which a search looks for this page; empty: to the end, as all else does."""
        if not (isinstance(queryset, ReachQuerySet) and queryset.is_search and self.ordering[0].startswith("-")):
            return []
        time = queryset.looked_back_to(_path(self.ordering[0]), values[0] if values else timezone.now())
        return [time, UUID(int=0)] if time else []

    def _after(self, values: list[Any]) -> Q:
        """The rows behind these values: first ≤ a, and (first < a, or first = a and (second < b, or …)).

        The redundant first condition is the one that an index can be entered with.
        """
        comparison = "lt" if self.ordering[0].startswith("-") else "gt"
        condition = Q()
        for field, value in reversed(list(zip(self.ordering, values, strict=True))):
            name = _path(field)
            beyond = Q(**{f"{name}__{comparison}": value})
            condition = beyond | Q(**{name: value}) & condition if condition else beyond
        return Q(**{f"{_path(self.ordering[0])}__{comparison}e": values[0]}) & condition


def read_limit(request: Request, default: int, most: int) -> int:
    """Return `?limit=`, at most `most`. Raises ValidationError when it is no number from 1."""
    text = request.query_params.get("limit", "")
    if not text:
        return default
    if not text.isdecimal() or len(text) > MAX_DIGITS or int(text) < 1:
        raise ValidationError({"limit": [f"{text[:20]!r} is no number from 1 to {most}."]})
    return min(int(text), most)


def encode_cursor(values: list[Any]) -> str:
    """Return an opaque text for these values."""
    return base64.urlsafe_b64encode(json.dumps(values, default=_tagged).encode()).decode().rstrip("=")


def decode_cursor(cursor: str, kinds: list[type]) -> list[Any]:
    """Return the values of a cursor, of these types. Raises ValidationError when it is none of this list's."""
    try:
        values = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)), object_hook=_untagged)
        if isinstance(values, list) and list(map(type, values)) == kinds:
            return values
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError, binascii.Error):
        pass
    raise ValidationError({"cursor": ["This is no cursor of this list. Leave it out to begin again."]})


def read_time(text: str) -> datetime:
    """Return an ISO 8601 time with its offset, in UTC. Raises ValueError without one and beyond the calendar."""
    time = datetime.fromisoformat(text)
    if time.tzinfo is None:
        raise ValueError(f"{text!r} has no offset from UTC")
    try:
        return time.astimezone(UTC)
    except OverflowError:
        raise ValueError(f"{text!r} is beyond the calendar") from None


def _tagged(value: Any) -> dict[str, str]:
    if isinstance(value, datetime):
        return {"t": value.isoformat()}
    return {"u": str(value)}


def _untagged(tagged: dict[str, str]) -> Any:
    return read_time(tagged["t"]) if "t" in tagged else UUID(tagged["u"])


def _kind(model: type[Model], field: str) -> type:
    """The type of a value of `field` in a cursor."""
    *relations, name = _path(field).split("__")
    for relation in relations:
        model = model._meta.get_field(relation).related_model
    column = model._meta.get_field(name)
    if isinstance(column, DateTimeField):
        return datetime
    return UUID if isinstance(column, UUIDField) else str


def _path(field: str) -> str:
    return field.lstrip("-")


def _value(row: Model, field: str) -> Any:
    value: Any = row
    for name in _path(field).split("__"):
        value = getattr(value, name)
    return value
