"""Who may read what the command line leaves in a home."""

import os
from pathlib import Path

from tests.cli.conftest import Cli


def test_what_is_secret_is_its_owners_even_in_a_home_that_others_may_read(local: Cli) -> None:
    home = Path(local.environment["ORCHESTRATOR_HOME"])
    home.mkdir(exist_ok=True)
    home.chmod(0o755)
    before = os.umask(0o022)
    try:
        local("flow-run", "ls")
    finally:
        os.umask(before)

    files = [path for path in home.iterdir() if path.is_file()]
    assert {"orchestrator.db", "secret.key"} <= {path.name for path in files}
    assert [path.name for path in files if path.stat().st_mode & 0o077] == []
