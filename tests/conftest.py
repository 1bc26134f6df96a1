"""Fixtures that every test may use. The servers start when the first test asks for them, once in each test process."""

import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import django.db
import pytest
import redis

from tests import migrated, servers

if TYPE_CHECKING:
    from pytest_django import DjangoDbBlocker


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what touches Django's database, so that `make test` can run it on PostgreSQL too."""
    for item in items:
        if item.get_closest_marker("looks"):
            continue
        fixtures = getattr(item, "fixturenames", ())
        if item.get_closest_marker("django_db") or {"db", "transactional_db", "client"} & set(fixtures):
            item.add_marker(pytest.mark.database)


@pytest.fixture(scope="session")
def django_db_modify_db_settings(django_db_modify_db_settings_parallel_suffix: None) -> None:
    """Test on SQLite as it is used, in a file: Django's in-memory one has no WAL and locks tables between threads."""
    connection = django.db.connection
    if connection.vendor == "sqlite":
        connection.settings_dict["TEST"]["NAME"] = str(Path(os.environ["ORCHESTRATOR_HOME"]) / "test.db")


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: "DjangoDbBlocker") -> None:
    """Let tests empty the audit log on SQLite, where that is a DELETE; on PostgreSQL it is a TRUNCATE."""
    if django.db.connection.vendor == "sqlite":
        with django_db_blocker.unblock(), django.db.connection.cursor() as cursor:
            for verb in ("update", "delete"):
                cursor.execute(f"DROP TRIGGER audit_no_{verb}")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A new empty home, in ORCHESTRATOR_HOME for this test and the processes that it starts."""
    path = tmp_path / "home"
    path.mkdir(mode=0o700)
    monkeypatch.setenv("ORCHESTRATOR_HOME", str(path))
    return path


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The URL of a PostgreSQL server, as a role that may create databases."""
    with servers.postgres() as url:
        yield url


@pytest.fixture
def postgres_url(postgres_server: str) -> Iterator[str]:
    """The URL of a new empty PostgreSQL database."""
    with servers.new_database(postgres_server, f"test_{uuid.uuid4().hex}") as url:
        yield url


@pytest.fixture(scope="session")
def migrated_postgres(postgres_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The name of a migrated PostgreSQL database, to make others from."""
    name = f"migrated_{uuid.uuid4().hex}"
    with servers.new_database(postgres_server, name) as url:
        migrated.migrate(tmp_path_factory.mktemp("migrated-postgres"), url)
        yield name


@pytest.fixture
def migrated_postgres_url(postgres_server: str, migrated_postgres: str) -> Iterator[str]:
    """The URL of a new migrated PostgreSQL database."""
    with servers.new_database(postgres_server, f"test_{uuid.uuid4().hex}", template=migrated_postgres) as url:
        yield url


@pytest.fixture(scope="session")
def redis_server() -> Iterator[str]:
    """The URL of a Redis-protocol server over TCP."""
    with servers.redis_server() as url:
        yield url


@pytest.fixture
def redis_url(redis_server: str) -> str:
    """The URL of an empty Redis database."""
    with redis.Redis.from_url(redis_server) as client:
        client.flushall()
    return redis_server
