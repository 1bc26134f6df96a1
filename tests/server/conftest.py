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
def server() -> Iterator[RunningServer]:
    """A server with the embedded defaults."""
    home = Path(tempfile.mkdtemp(prefix="orch-"))
    with running_server(home) as running:
        yield running
    shutil.rmtree(home, ignore_errors=True)
