"""Homes with short paths (sockets lie in them), and one server for the tests of a module."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.server.running import RunningServer, running_server


@pytest.fixture
def short_home() -> Iterator[Path]:
    """A new empty home."""
    path = Path(tempfile.mkdtemp(prefix="orch-"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="module")
def server(request: pytest.FixtureRequest) -> Iterator[RunningServer]:
    """A server with the embedded defaults; in a module that sets `NEW_HOME`, its first start."""
    home = Path(tempfile.mkdtemp(prefix="orch-"))
    with running_server(home, is_new=getattr(request.module, "NEW_HOME", False)) as running:
        yield running
    shutil.rmtree(home, ignore_errors=True)
