"""Questions that are asked every second or two, and whose answer is nearly always no.

Django makes the SQL of a query anew each time it is asked, which costs ten times what an empty answer costs (1 to 3 ms
against 0.1 ms): most of what an idle server would use.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from django.db import connection
from django.db.models import QuerySet

_TRIED: Final = (datetime(2001, 2, 3, 4, 5, 6, 789, UTC), datetime(2003, 2, 1, 4, 5, 6, 789, UTC))


class Column:
    """One column of the rows of a query that nothing changes but the rows; its SQL is made once, at the first call.

    Args:
        build: Makes the query, which selects that column.
    """

    def __init__(self, build: Callable[[], QuerySet[Any]]) -> None:
        self._build = build
        self._by_vendor: dict[str, tuple[str, tuple[Any, ...]]] = {}

    def __call__(self) -> list[Any]:
        """Ask. The values are as the driver gives them: an id is a UUID on PostgreSQL, 32 digits on SQLite."""
        if connection.vendor not in self._by_vendor:
            self._by_vendor[connection.vendor] = self._build().query.sql_with_params()
        with connection.cursor() as cursor:
            cursor.execute(*self._by_vendor[connection.vendor])
            return [value for (value,) in cursor.fetchall()]


class IsAny:
    """Whether a query finds anything; its SQL is made once, at the first call.

    Args:
        build: Makes the query for a time. Only the time may make a difference to it, and only as such or shifted by a
            constant: it is made for two times, and what differs between them is what is filled in later.
    """

    def __init__(self, build: Callable[[datetime], QuerySet[Any]]) -> None:
        self._build = build
        self._by_vendor: dict[str, tuple[str, list[Any]]] = {}

    def __call__(self, now: datetime) -> bool:
        """Ask, for this time. One query, which reads one row at most."""
        sql, values = self._by_vendor.get(connection.vendor) or self._compile()
        adapt = connection.ops.adapt_datetimefield_value
        with connection.cursor() as cursor:
            cursor.execute(sql, [adapt(now + value) if isinstance(value, timedelta) else value for value in values])
            return cursor.fetchone() is not None

    def _compile(self) -> tuple[str, list[Any]]:
        made = [self._build(time).order_by().values("pk")[:1].query.sql_with_params() for time in _TRIED]
        (sql, first), (other_sql, second) = made
        if sql != other_sql:
            raise ValueError(f"the time makes another query of it: {sql}")
        values = [one if one == two else _shift(one, two) for one, two in zip(first, second, strict=True)]
        self._by_vendor[connection.vendor] = sql, values
        return sql, values


def _shift(first: Any, second: Any) -> timedelta:
    """Return by how much two values are after the times that were tried."""
    one, two = (_moment(value) - time for value, time in zip((first, second), _TRIED, strict=True))
    if one != two:
        raise ValueError(f"{first!r} and {second!r} are no times by the same constant after the ones that were tried")
    return one


def _moment(value: Any) -> datetime:
    """Return a time as the database's adapter gives it: text on SQLite, in UTC."""
    time = value if isinstance(value, datetime) else datetime.fromisoformat(value)
    return time if time.tzinfo is not None else time.replace(tzinfo=UTC)
