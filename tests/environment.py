"""The environment that tests run in: a home of their own, and nothing of the developer's settings.

Loaded with `-p` before pytest-django reads `orchestrator.settings`, once in each process of pytest-xdist.
`TEST_DATABASE_URL` (set by `tests.with_postgres`) is the database under test; without it, it is SQLite.
"""

import os
import shutil
import sys
import tempfile

# Tests start hundreds of processes: one that has to compile what it imports needs three times the processor's time.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

for _name in [name for name in os.environ if name.startswith("ORCHESTRATOR_")]:
    del os.environ[_name]

# A short path: the sockets in a home must stay under 108 bytes.
_home = tempfile.mkdtemp(prefix="orch-")
os.environ["ORCHESTRATOR_HOME"] = _home
if os.environ.get("TEST_DATABASE_URL"):
    os.environ["ORCHESTRATOR_DATABASE_URL"] = os.environ["TEST_DATABASE_URL"]


def pytest_unconfigure() -> None:
    """Remove this process's home."""
    shutil.rmtree(_home, ignore_errors=True)
