"""Databases that are there already: migrated once in each test process, and copied for each test that needs its own."""

import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

from django.conf import settings

from orchestrator.sdk.home import Home

ROOT = Path(__file__).parents[1]


def migrate(home: Path, database_url: str = "") -> None:
    """Migrate the database of a home, or the one of this URL, in a process of its own."""
    environment = {**os.environ, "ORCHESTRATOR_HOME": str(home), "ORCHESTRATOR_DATABASE_URL": database_url}
    subprocess.run([sys.executable, "manage.py", "migrate", "-v0"], cwd=ROOT, env=environment, check=True)


@cache
def _home() -> Home:
    home = Home(settings.HOME.root / "migrated")  # goes with this test process's own
    migrate(home.root)
    return home


def put_database_into(home: Path) -> None:
    """Give a home, which is there, a migrated SQLite database, unless it has one."""
    if not Home(home).database.exists():
        for file in _home().root.glob("orchestrator.db*"):
            shutil.copy(file, home)
