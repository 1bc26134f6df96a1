"""Databases of both kinds for processes that a test starts."""

import os
from pathlib import Path

import pytest

from tests import migrated


@pytest.fixture(params=["sqlite", "postgresql"])
def environment(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, str]:
    """The environment of processes that have a home and a migrated database of their own."""
    home, url = tmp_path / "home", ""
    home.mkdir(mode=0o700)
    if request.param == "postgresql":
        url = request.getfixturevalue("migrated_postgres_url")
    else:
        migrated.put_database_into(home)
    return {**os.environ, "ORCHESTRATOR_HOME": str(home), "ORCHESTRATOR_DATABASE_URL": url}
