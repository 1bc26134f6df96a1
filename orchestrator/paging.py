"""Lists are read page by page behind a cursor, which costs the same on the thousandth page as on the first."""

import base64
import binascii
import json
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import Model, Q, QuerySet
from rest_framework.exceptions import ValidationError
from rest_framework.pagination import BasePagination
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

DEFAULT_LIMIT = 50
MAX_LIMIT = 200


class KeysetPagination(BasePagination):
    """Pages in the order of `ordering` (fields that together are unique, all of one direction).

    The cursor carries the values of the last row; it is opaque to clients. Answers `{"results", "next"}`, where `next`
    is null on the last page. No query counts anything; one row more than asked for says whether there is a next page.
    """

    ordering: tuple[str, ...] = ("-id",)
    default_limit = DEFAULT_LIMIT
    max_limit = MAX_LIMIT

    def paginate_queryset(self, queryset: QuerySet[Any], request: Request, view: APIView | None = None) -> list[Any]:
        """Return the rows of the page that the query asks for (one query)."""
        limit = read_limit(request, self.default_limit, self.max_limit)
        cursor = request.query_params.get("cursor")
        if cursor:
            queryset = queryset.filter(self._after(decode_cursor(cursor, len(self.ordering))))
        rows = list(queryset.order_by(*self.ordering)[: limit + 1])
        last = rows[limit - 1] if len(rows) > limit else None
        self.next = last and encode_cursor([_value(last, field) for field in self.ordering])
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
    if not text.isdecimal() or int(text) < 1:
        raise ValidationError({"limit": [f"{text!r} is no number from 1 to {most}."]})
    return min(int(text), most)


def encode_cursor(values: list[Any]) -> str:
    """Return an opaque text for these values."""
    return base64.urlsafe_b64encode(json.dumps(values, default=_tagged).encode()).decode().rstrip("=")


def decode_cursor(cursor: str, length: int) -> list[Any]:
    """Return the values of a cursor. Raises ValidationError when it is none of ours."""
    try:
        values = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)), object_hook=_untagged)
        if isinstance(values, list) and len(values) == length:
            return values
    except (ValueError, LookupError, TypeError, binascii.Error):
        pass
    raise ValidationError({"cursor": ["This is no cursor of this list. Leave it out to begin again."]})


def _tagged(value: Any) -> dict[str, str]:
    if isinstance(value, datetime):
        return {"t": value.isoformat()}
    return {"u": str(value)}


def _untagged(tagged: dict[str, str]) -> Any:
    return datetime.fromisoformat(tagged["t"]) if "t" in tagged else UUID(tagged["u"])


def _path(field: str) -> str:
    return field.lstrip("-")


def _value(row: Model, field: str) -> Any:
    value: Any = row
    for name in _path(field).split("__"):
        value = getattr(value, name)
    return value
