"""Single objects shared beyond their team, with a person or with another team, through django-guardian.

Each model that can be shared has two permission tables with direct foreign keys, registered here by the app that owns
it. The permissions are Django's `view_…` and `change_…`, and `run_…`; a level grants those below it too.
"""

from collections.abc import Iterable
from functools import cache
from typing import Any, Final
from uuid import UUID

from django.apps import apps
from django.db import connection
from django.db.models import F, Model, QuerySet, Value
from guardian.shortcuts import assign_perm, remove_perm

from teams.rights import Level

_LEVELS: Final = {"view": Level.READ, "run": Level.RUN, "change": Level.EDIT}
_NOBODY: Final = -1  # stands for a user's id
_tables: dict[str, tuple[type[Model], type[Model]]] = {}


def register(name: str, of_users: type[Model], of_groups: type[Model]) -> None:
    """Make a model shareable: its name, as `shared_as()` calls it, and its two tables."""
    _tables[name] = (of_users, of_groups)
    _statement.cache_clear()


def held_by(user: Any) -> dict[str, dict[UUID, list[str]]]:
    """Return what a user has, by model and id (one query).

    Roles of teams under `team`, and permissions on what is shared with them or their teams under its model's name.
    """
    statement, values = _statement(connection.vendor)
    with connection.cursor() as cursor:
        cursor.execute(statement, [user.pk if value == _NOBODY else value for value in values])
        rows = cursor.fetchall()
    found: dict[str, dict[UUID, list[str]]] = {}
    for model, key, word in rows:
        id = key if isinstance(key, UUID) else UUID(key)  # SQLite has no such type
        found.setdefault(model, {}).setdefault(id, []).append(word)
    return found


def levels_of(held: dict[str, dict[UUID, list[str]]]) -> dict[str, dict[UUID, Level]]:
    """Return the levels at which objects are shared, by model and id, of what `held_by` returned."""

    def level(words: list[str]) -> Level:
        return max(_LEVELS.get(word.partition("_")[0], Level.NONE) for word in words)

    return {
        model: {key: level(words) for key, words in rows.items()} for model, rows in held.items() if model in _tables
    }


@cache
def _statement(vendor: str) -> tuple[str, tuple[Any, ...]]:
    """The query for what `_NOBODY` has, written once: nearly every request asks it, and writing it costs 2 ms."""
    roles = apps.get_model("teams.Membership")._default_manager.filter(user=_NOBODY).annotate(model=Value("team"))
    parts = []
    for name, (of_users, of_groups) in _tables.items():
        parts += [
            _rows(name, of_users, {"user": _NOBODY}),
            _rows(name, of_groups, {"group__team__memberships__user": _NOBODY}),
        ]
    query = roles.order_by().values_list("model", "team_id", "role").union(*parts, all=True).query
    statement, values = query.sql_with_params()
    return statement, tuple(values)


def share(row: Model, level: Level, holder: Any) -> None:
    """Share a row with a user or a team's group at a level, in place of the one before; `Level.NONE` takes it back."""
    name = type(row)._meta.model_name
    for word, needed in _LEVELS.items():
        (assign_perm if level >= needed else remove_perm)(f"{word}_{name}", holder, row)


def shared_with(row: Model) -> "list[tuple[Any, Level]]":
    """Return with whom a row is shared (users, and groups of teams), and at which level (two queries)."""
    of_users, of_groups = _tables[str(type(row)._meta.model_name)]
    levels: dict[Any, Level] = {}
    for table, holder in ((of_users, "user"), (of_groups, "group")):
        related = ("permission", holder) if holder == "user" else ("permission", "group__team")
        for one in table._default_manager.filter(content_object=row).select_related(*related):
            level = _LEVELS.get(one.permission.codename.partition("_")[0], Level.NONE)
            key = getattr(one, holder)
            levels[key] = max(level, levels.get(key, Level.NONE))
    return sorted(levels.items(), key=lambda pair: str(pair[0]))


def _rows(name: str, table: type[Model], condition: dict[str, Any]) -> "QuerySet[Any, Any]":
    rows = table._default_manager.filter(**condition).annotate(model=Value(name), word=F("permission__codename"))
    return rows.order_by().values_list("model", "content_object_id", "word")


def names() -> Iterable[str]:
    """The models that can be shared."""
    return _tables.keys()


def model_of(name: str) -> Any:
    """Return the model that is called so (`deployment`). Raises KeyError."""
    return _tables[name][0]._meta.get_field("content_object").related_model


def forget(user: Any, team: Any) -> None:
    """Take back whatever of a team's is shared with a person by themselves (a query for each model)."""
    for of_users, _ in _tables.values():
        of_users._default_manager.filter(user=user, content_object__team=team).delete()
