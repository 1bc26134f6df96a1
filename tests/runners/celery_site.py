"""A server with its Celery worker, and a flow run on it whose token tests may borrow."""

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

from orchestrator import CeleryTaskRunner
from orchestrator.sdk.control_address import Address
from tests.server.running import RunningServer, running_server, until

CelerySite: TypeAlias = tuple[RunningServer, Address]
LENDS = """
import os, signal
from pathlib import Path
from orchestrator import flow

@flow
def lends(path: str) -> None:
    Path(path + ".new").write_text(os.environ["ORCHESTRATOR_API_TOKEN"])
    os.rename(path + ".new", path)
    while True:
        signal.pause()
"""


class BorrowingRunner(CeleryTaskRunner):
    """The runner with another flow run's address and token, for flows of this process."""

    def __init__(self, lent: Address, queue: str | None = None) -> None:
        super().__init__(queue)
        self.lent = lent

    def duplicate(self) -> "BorrowingRunner":
        """Return a fresh one."""
        return BorrowingRunner(self.lent, self.queue)

    def address(self) -> Address:
        """Where the server is, and the token that was lent."""
        return self.lent


@contextmanager
def celery_site() -> Iterator[CelerySite]:
    """Yield a running server and its address with the token of a run on it that goes on until the end.

    Its worker serves the queue `default` alone.
    """
    with tempfile.TemporaryDirectory(prefix="orch-") as folder:
        home = Path(folder) / "home"
        home.mkdir(mode=0o700)
        (Path(folder) / "lends.py").write_text(LENDS)
        with running_server(home, ORCHESTRATOR_WORKER_QUEUES="default") as server:
            run, lent = lent_by(server, Path(folder))
            server.call("POST", "/api/work-queues/", {"name": "far"})
            yield server, lent
            server.call("POST", f"/api/flow-runs/{run}/cancel/", {})
            server.wait(run, "CANCELLED")


def lent_by(server: RunningServer, folder: Path) -> tuple[str, Address]:
    """Start the run that lends its token. Returns its id, and its token with the server's address."""
    path = folder / "token"
    made = server.cli("deploy", f"{folder / 'lends.py'}:lends", "--name", "lends")
    assert made.returncode == 0, made
    begun = server.cli("deployment", "run", "lends/lends", "--param", f"path={path}", "--json")
    assert begun.returncode == 0, begun
    until(lambda: path.exists() or None, 60)
    return json.loads(begun.stdout)["id"], Address(server.about["url"], path.read_text())
