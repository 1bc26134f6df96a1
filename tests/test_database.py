"""The database under test: SQLite in a file, or PostgreSQL when `tests.with_postgres` runs the tests."""

import os

import pytest
from django.db import connection


@pytest.mark.django_db
def test_database_is_the_one_asked_for() -> None:
    with connection.cursor() as cursor:
        if os.environ.get("TEST_DATABASE_URL"):
            cursor.execute("SHOW server_version_num")
            assert int(cursor.fetchone()[0]) >= 140000
        else:
            cursor.execute("PRAGMA journal_mode")
            assert cursor.fetchone() == ("wal",)
