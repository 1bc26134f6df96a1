"""Looking for a tag in a JSON list, on SQLite and on PostgreSQL (Django's `contains` does not know SQLite)."""

from typing import Any

from django.db.models import BooleanField, CharField, F, Func, Value


class _Element(Func):
    output_field = BooleanField()

    def as_sqlite(self, compiler: Any, connection: Any, **context: Any) -> Any:
        return self.as_sql(
            compiler,
            connection,
            template="EXISTS (SELECT 1 FROM json_each(%(expressions)s))",
            arg_joiner=") WHERE json_each.value = (",
            **context,
        )

    def as_postgresql(self, compiler: Any, connection: Any, **context: Any) -> Any:
        return self.as_sql(compiler, connection, template="(%(expressions)s)", arg_joiner=" ? ", **context)


def tagged(tag: str, field: str = "tags") -> Func:
    """Return the condition that this JSON list has this text among its elements, for `filter()`."""
    return _Element(F(field), Value(tag, output_field=CharField()))
