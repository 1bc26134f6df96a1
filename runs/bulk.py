"""Thousands of rows in one statement, for the two tables that scripts fill: task runs and log lines.

Model instances would cost more than all the rest of ingest (measured: `benchmarks/ingest.py`), so rows are tuples here.
Ids are 32 hexadecimal digits, times are microseconds since the Unix epoch, JSON is text; this module alone knows how
each database wants them. SQLite takes prepared statements row by row; PostgreSQL takes COPY for new rows, and for
changed ones a single statement that joins the table with the rows, sent as one JSON text.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from itertools import chain
from operator import attrgetter
from typing import Any, Final
from uuid import UUID

import msgspec
from django.db import connection, connections
from django.db.models import CharField, IntegerField, Model, TextField

from runs import bounds
from runs.models import Log, TaskRun, TaskRunAttempt
from runs.task_rows import EarlierAttempt, TaskRow

_EPOCH: Final = datetime(1970, 1, 1)  # noqa: DTZ001 - naive UTC, the form that both databases read fastest as text
_CHUNK: Final = 5_000  # ids in one SELECT


@dataclass(frozen=True, slots=True)
class Table:
    """A table and the columns that are written, each with its PostgreSQL type."""

    name: str
    columns: tuple[tuple[str, str], ...]

    @property
    def times(self) -> tuple[int, ...]:
        """Positions of the columns that hold times."""
        return tuple(i for i, (_, type_) in enumerate(self.columns) if type_ == "timestamptz")


_CHANGING: Final = (
    ("flow_attempt", "integer"),
    ("state_type", "varchar"),
    ("state_name", "varchar"),
    ("state_message", "text"),
    ("error", "jsonb"),
    ("attempt", "integer"),
    ("start_time", "timestamptz"),
    ("attempt_start_time", "timestamptz"),
    ("end_time", "timestamptz"),
    ("next_attempt_at", "timestamptz"),
    ("ended_by", "varchar"),
)
_FIXED: Final = (
    ("task", "varchar"),
    ("key", "varchar"),
    ("index", "integer"),
    ("name", "varchar"),
    ("tags", "jsonb"),
    ("inputs", "jsonb"),
    ("max_retries", "integer"),
    ("created_at", "timestamptz"),
    ("subflow_run", "uuid"),
)
_TASK_RUN_TABLE: Final = TaskRun._meta.db_table
NEW_TASK_RUNS: Final = Table(_TASK_RUN_TABLE, (("id", "uuid"), ("flow_run_id", "uuid"), *_CHANGING, *_FIXED))
CHANGED_TASK_RUNS: Final = Table(_TASK_RUN_TABLE, (("id", "uuid"), *_CHANGING))
EARLIER_ATTEMPTS: Final = Table(
    TaskRunAttempt._meta.db_table,
    (
        ("task_run_id", "uuid"),
        ("number", "integer"),
        ("state_type", "varchar"),
        ("state_name", "varchar"),
        ("state_message", "text"),
        ("error", "jsonb"),
        ("start_time", "timestamptz"),
        ("end_time", "timestamptz"),
    ),
)
LOGS: Final = Table(
    Log._meta.db_table,
    (
        ("id", "uuid"),
        ("flow_run_id", "uuid"),
        ("task_run_id", "uuid"),
        ("attempt", "integer"),
        ("task_attempt", "integer"),
        ("time", "timestamptz"),
        ("level", "smallint"),
        ("logger", "varchar"),
        ("message", "text"),
    ),
)


def load_task_runs(ids: Iterable[str]) -> dict[str, TaskRow]:
    """Return the task runs that exist among ids of 32 hexadecimal digits, by id (a query for each 5,000)."""
    columns = ("id", "flow_run_id", *(name for name, _ in _CHANGING))
    wanted = list(ids)
    rows: dict[str, TaskRow] = {}
    with connection.cursor() as cursor:
        for start in range(0, len(wanted), _CHUNK):
            chunk = wanted[start : start + _CHUNK]
            marks = ",".join(["%s"] * len(chunk))
            cursor.execute(f"SELECT {_list(columns)} FROM {_TASK_RUN_TABLE} WHERE id IN ({marks})", chunk)
            for values in cursor.fetchall():
                row = TaskRow(*values)
                _from_database(row)
                rows[row.id] = row
    return rows


def insert_task_runs(rows: Iterable[TaskRow]) -> None:
    """Insert task runs that are not there. Raises IntegrityError when one is."""
    insert(NEW_TASK_RUNS, map(_getter(NEW_TASK_RUNS), rows))


def update_task_runs(rows: Iterable[TaskRow]) -> None:
    """Write what may have changed of task runs that are there."""
    update(CHANGED_TASK_RUNS, map(_getter(CHANGED_TASK_RUNS), rows))


def insert_earlier_attempts(rows: Iterable[EarlierAttempt]) -> None:
    """Insert attempts that task runs left behind; the last word on one stands."""
    values = list(_written(EARLIER_ATTEMPTS, map(_getter(EARLIER_ATTEMPTS), rows)))
    if not values:
        return
    names = [_quote(name) for name, _ in EARLIER_ATTEMPTS.columns]
    newer = ", ".join(f"{name} = excluded.{name}" for name in names[2:])
    with connection.cursor() as cursor:
        cursor.executemany(
            f"{_insert_into(EARLIER_ATTEMPTS)} ON CONFLICT ({names[0]}, {names[1]}) DO UPDATE SET {newer}", values
        )


def insert_logs(rows: Iterable[Sequence[Any]]) -> None:
    """Insert log lines, tuples in the order of `LOGS`."""
    insert(LOGS, rows)


def save(rows: Sequence[Model], fields: Sequence[str]) -> None:
    """Write fields of rows that are there, as `Model.save` would.

    The statement's text is made once and the values prepared here: half of what an instance's `save` costs is that
    Django compiles the same UPDATE anew (measured: 1.2 ms against 0.2 ms).
    """
    if not rows:
        return
    sql, columns = _update_of(type(rows[0]), tuple(fields))
    database = connections[connection.alias]
    values = [[column.get_db_prep_save(getattr(row, column.attname), database) for column in columns] for row in rows]
    with connection.cursor() as cursor:
        cursor.executemany(sql, values)


def add(row: Model) -> bool:
    """Insert a row unless its key is there; return whether that was done, and the row is locked by this transaction."""
    sql, columns = _insert_of(type(row))
    values = [column.get_db_prep_save(column.pre_save(row, True), connection) for column in columns]
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        row._state.adding = cursor.rowcount != 1
    return not row._state.adding


def add_missing(rows: Sequence[Model]) -> int:
    """Insert rows of one model, passing over those that a constraint says are there; return how many were inserted.

    One prepared statement: `bulk_create` makes the text of thousands of values and parses it (measured: 0.4 ms a flow
    run more).
    """
    if not rows:
        return 0
    sql, columns = _insert_of(type(rows[0]))
    with connection.cursor() as cursor:
        cursor.executemany(sql, _values(rows, columns))
        inserted: int = cursor.rowcount
    for row in rows:
        row._state.adding, row._state.db = False, connection.alias
    return inserted


def _values(rows: Sequence[Model], columns: Sequence[Any]) -> list[list[Any]]:
    """The values of new rows as `Model.save` would send them, without asking Django about those that stay as they are.

    Most of thousands are None, texts or numbers, and asking costs more than writing them.
    """
    database = connections[connection.alias]  # itself: the proxy costs a look-up each time
    getters = [
        (attrgetter(column.attname), column.pre_save if getattr(column, "auto_now_add", False) else None)
        for column in columns
    ]
    as_they_are = [isinstance(column, CharField | TextField | IntegerField) for column in columns]
    plan = list(zip(columns, getters, as_they_are, strict=True))
    values = []
    for row in rows:
        line = []
        for column, (get, pre_save), as_it_is in plan:
            value = pre_save(row, True) if pre_save else get(row)
            # exactly these types: a member of an enum is another one to some drivers
            if not (value is None or (as_it_is and type(value) in (str, int))):
                value = column.get_db_prep_save(value, database)
            line.append(value)
        values.append(line)
    return values


@cache
def _insert_of(model: type[Model]) -> tuple[str, list[Any]]:
    """Return the INSERT of all columns that passes over what is there, and the columns of its values in their order."""
    columns: list[Any] = list(model._meta.concrete_fields)
    marks = ", ".join(["%s"] * len(columns))
    names = _list(column.column for column in columns)
    return f"INSERT INTO {model._meta.db_table} ({names}) VALUES ({marks}) ON CONFLICT DO NOTHING", columns


@cache
def _update_of(model: type[Model], fields: tuple[str, ...]) -> tuple[str, list[Any]]:
    """Return the UPDATE of these fields by primary key, and the columns of its values in their order."""
    columns: list[Any] = [model._meta.get_field(name) for name in fields]
    sets = ", ".join(f"{_quote(column.column)} = %s" for column in columns)
    key: Any = model._meta.pk
    return f"UPDATE {model._meta.db_table} SET {sets} WHERE {key.column} = %s", [*columns, key]


def insert(table: Table, rows: Iterable[Sequence[Any]]) -> None:
    """Insert rows, each a tuple in the order of the table's columns. Raises IntegrityError when one is there."""
    values = iter(_written(table, rows))
    first = next(values, None)
    if first is None:
        return  # as a rule; an empty COPY is a turn to the server all the same
    values = chain([first], values)
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.executemany(_insert_into(table), list(values))
            return
        # Django wraps what `execute` raises, and does not know COPY.
        with (
            connection.wrap_database_errors,
            cursor.copy(f"COPY {table.name} ({_list(name for name, _ in table.columns)}) FROM STDIN") as copy,
        ):
            for row in values:
                copy.write_row(row)


def insert_missing(table: Table, rows: Iterable[Sequence[Any]]) -> None:
    """Insert rows, each a tuple in the order of the table's columns; those that a constraint says are there stay."""
    with connection.cursor() as cursor:
        cursor.executemany(f"{_insert_into(table)} ON CONFLICT DO NOTHING", list(_written(table, rows)))


def update(table: Table, rows: Iterable[Sequence[Any]]) -> None:
    """Write all columns of rows that are there; the first column is the primary key."""
    names = [name for name, _ in table.columns]
    written = list(_written(table, rows))
    if not written:
        return
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            values = [(*row[1:], row[0]) for row in written]
            assignments = ", ".join(f"{_quote(name)} = %s" for name in names[1:])
            cursor.executemany(f"UPDATE {table.name} SET {assignments} WHERE {_quote(names[0])} = %s", values)
            return
        jsons = [name for name, type_ in table.columns if type_ == "jsonb"]
        data = [dict(zip(names, row, strict=True)) for row in written]
        for row in data:
            for name in jsons:
                if row[name] is not None:
                    row[name] = msgspec.Raw(row[name].encode())
        assignments = ", ".join(f"{_quote(name)} = new.{_quote(name)}" for name in names[1:])
        record = ", ".join(f"{_quote(name)} {type_}" for name, type_ in table.columns)
        cursor.execute(
            f"UPDATE {table.name} AS old SET {assignments} FROM json_to_recordset(%s::json) AS new({record})"
            f" WHERE old.{_quote(names[0])} = new.{_quote(names[0])}",
            [msgspec.json.encode(data).decode()],
        )


def _written(table: Table, rows: Iterable[Sequence[Any]]) -> Iterable[list[Any]]:
    """Rows with their times as the database reads them."""
    times = table.times
    zone = "" if connection.vendor == "sqlite" else "+00"
    for row in rows:
        values = list(row)
        for position in times:
            time = values[position]
            if time is not None:
                # Django's own form on SQLite: without a fraction when it is zero.
                values[position] = f"{_EPOCH + timedelta(microseconds=time)}{zone}"
        yield values


def _from_database(row: TaskRow) -> None:
    """Bring what a cursor gave (text on SQLite, values on PostgreSQL) into the form of a row in memory."""
    if isinstance(row.id, UUID):
        row.id = row.id.hex
        row.flow_run_id = UUID(str(row.flow_run_id)).hex
    row.start_time = _microseconds(row.start_time)
    row.attempt_start_time = _microseconds(row.attempt_start_time)
    row.end_time = _microseconds(row.end_time)
    row.next_attempt_at = _microseconds(row.next_attempt_at)


def _microseconds(value: Any) -> int | None:
    if value is None:
        return None
    if not isinstance(value, datetime):
        value = datetime.fromisoformat(value)
    if value.tzinfo is None:
        return (value - _EPOCH) // timedelta(microseconds=1)
    return bounds.unix_microseconds(value)


def _getter(table: Table) -> Any:
    return attrgetter(*(name for name, _ in table.columns))


def _insert_into(table: Table) -> str:
    marks = ", ".join(["%s"] * len(table.columns))
    return f"INSERT INTO {table.name} ({_list(name for name, _ in table.columns)}) VALUES ({marks})"


def _list(names: Iterable[str]) -> str:
    return ", ".join(map(_quote, names))


def _quote(name: str) -> str:
    return connection.ops.quote_name(name)
