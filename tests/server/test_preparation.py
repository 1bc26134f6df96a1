"""Preparing a database that others use meanwhile."""

import os
import subprocess
import sys
from pathlib import Path

import psycopg

MIGRATE = """
from orchestrator import site; site.setup()
from django.core.management import call_command
from orchestrator.server import preparation
from orchestrator.server.checks import StartError
if {first}:
    call_command("migrate", "contenttypes", verbosity=0)
else:
    preparation.LOCK_TIMEOUT = "200ms"
    try:
        print(preparation.migrate(lambda line: None))
    except StartError as error:
        print("StartError", error)
"""


def migrate(home: Path, url: str, *, first: bool = False) -> str:
    environment = {**os.environ, "ORCHESTRATOR_HOME": str(home), "ORCHESTRATOR_DATABASE_URL": url}
    program = [sys.executable, "-c", MIGRATE.format(first=first)]
    return subprocess.run(program, env=environment, capture_output=True, text=True, check=True, timeout=60).stdout


def test_a_migration_does_not_wait_long_for_a_table_that_is_in_use(home: Path, postgres_url: str) -> None:
    migrate(home, postgres_url, first=True)
    with psycopg.connect(postgres_url) as other:
        other.execute("LOCK TABLE django_content_type IN ROW EXCLUSIVE MODE")
        assert migrate(home, postgres_url).startswith("StartError The database could not be migrated: somebody else")
    assert int(migrate(home, postgres_url)) > 10
    assert migrate(home, postgres_url) == "0\n"
