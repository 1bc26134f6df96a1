"""Reading pages of long lists that somebody sees by several ways: runs of three teams, and of twenty shared objects.

Asked for all at once, neither database reads such rows in the order of an index: it sorts them all, or walks through
everybody's until it has met enough. So the first rows are read along each way, each by an index seek, and the page is
made of those. That is one query, as without permissions, and the condition for all ways stands around it still.
"""

from collections.abc import Sequence
from datetime import datetime
from functools import reduce
from operator import or_
from typing import Any, ClassVar, Final, Self

from django.db import connections
from django.db.models import Q, QuerySet

#: More ways than these are read several at a time: each costs about 0.5 ms of planning.
MOST_WAYS: Final = 100
#: How many rows a search that no index serves looks at for a page.
LOOKED_AT: Final = 20_000


class ReachQuerySet(QuerySet[Any]):
    """Rows that are reached by ways, each of which an index knows in the order of lists."""

    #: Whether it is so, and rows are too many to be sorted.
    along_ways: ClassVar[bool] = False
    is_search: bool = False
    _ways: tuple[Q, ...] = ()
    _seen: tuple[int, ...] = ()  # where in the query the condition stands of who may see the rows
    _implied: tuple[int, ...] = ()  # where the conditions stand of which each way implies its part

    def seen_by(self, condition: Q, ways: Sequence[Q]) -> Self:
        """Keep the rows that somebody sees: those of a condition, which is that one of these ways leads to them."""
        rows = self.reached_by(condition, ways)
        rows._seen = rows._implied
        return rows

    def reached_by(self, condition: Q, ways: Sequence[Q]) -> Self:
        """Keep the rows of a condition, and read pages along these ways to them, in place of those known before.

        Args:
            condition: About columns of this model alone: that one of these ways leads to the row.
            ways: None leads to a row that is not seen (`seen_by`).
        """
        rows = self.filter(condition)
        if self.along_ways:
            added = range(len(self.query.where.children), len(rows.query.where.children))
            rows._ways, rows._implied = tuple(ways), (*self._seen, *added)
        return rows

    def first_rows(self, *ordering: str, most: int) -> Self:
        """Return the first rows in this order, not read yet; narrow them before. One query, whatever the ways.

        Args:
            ordering: Fields of this model, together unique.
            most: How many at most.
        """
        rows = self
        if len(self._ways) > 1 or len(self._implied) > 1:
            plain = self._without_implied().select_related(None).order_by(*ordering)
            rows = self.filter(any_of([plain.filter(way)[:most] for way in bundled(self._ways)]))
        return rows.order_by(*ordering)[:most]

    def searching(self, condition: Q) -> Self:
        """Keep the rows of a condition that no index serves: a page looks at `LOOKED_AT` rows and says how far."""
        rows = self.filter(condition)
        rows.is_search = True
        return rows

    def looked_back_to(self, field: str, before: datetime) -> datetime | None:
        """Return the time, of a field by which lists are ordered, down to which a search looks for a page.

        None: to the last row. One query of index entries (on SQLite, one for each way).

        Args:
            before: Where the page begins. What is returned lies before it, so that the next page gets on.
        """
        ways = bundled(self._ways) or [Q()]
        each = LOOKED_AT // len(ways)
        rows = self.model._default_manager.filter(**{f"{field}__lt": before}).order_by(f"-{field}").values_list(field)
        parts = [rows.filter(way)[each : each + 1] for way in ways]
        if len(parts) > 1 and _takes_slices(parts[0]):
            found = list(parts[0].union(*parts[1:]))
        else:
            found = [row for part in parts for row in part]
        return max(value for (value,) in found) if found else None

    def _without_implied(self) -> Self:
        """The query without what each way implies, which would mislead the planner about how many rows there are."""
        rows = self._chain()
        where = rows.query.where
        where.children = [child for place, child in enumerate(where.children) if place not in self._implied]
        rows._ways = ()
        return rows

    def _clone(self) -> Self:
        copy: Self = super()._clone()
        copy._ways, copy._seen, copy._implied = self._ways, self._seen, self._implied
        copy.is_search = self.is_search
        return copy


def any_of(parts: Sequence[QuerySet[Any]]) -> Q:
    """Return the condition for the rows of these slices of a model, each of which is read along its own index."""
    if not parts:
        return Q(pk__in=[])
    keys = [part.values("pk") for part in parts]
    if _takes_slices(parts[0]):
        return Q(pk__in=keys[0].union(*keys[1:], all=True) if len(keys) > 1 else keys[0])
    return reduce(or_, (Q(pk__in=key) for key in keys))  # SQLite, which reads an OR over its primary key along that


def bundled(ways: Sequence[Q]) -> list[Q]:
    """Return these conditions, several joined into one where there are too many."""
    step = max(1, -(-len(ways) // MOST_WAYS))
    return [reduce(or_, ways[begin : begin + step]) for begin in range(0, len(ways), step)]


def _takes_slices(rows: QuerySet[Any]) -> bool:
    return bool(connections[rows.db].features.supports_slicing_ordering_in_compound)
