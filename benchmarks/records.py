"""What a home's database has, read beside its server: counts that a benchmark is believed by."""

import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.measures import BenchmarkError
from benchmarks.processes import ORCHESTRATOR, environment, run

_POLL_SECONDS = 0.01


@dataclass(frozen=True, slots=True)
class Records:
    """The embedded database of a home."""

    home: Path

    def rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        """Return a query's rows; none while there is no such database or table yet."""
        with closing(
            sqlite3.connect(f"file:{self.home / 'orchestrator.db'}?mode=ro", uri=True, timeout=20)
        ) as connection:
            return connection.execute(query, values).fetchall()

    def count(self, query: str, *values: Any) -> int:
        """Return the number that a query gives, 0 while there is no such database or table yet."""
        try:
            return int(self.rows(query, *values)[0][0])
        except sqlite3.OperationalError:
            return 0

    def completed_tasks(self) -> int:
        """How many task runs are COMPLETED."""
        return self.count("SELECT count(*) FROM runs_taskrun WHERE state_type = 'COMPLETED'")

    def completed_runs(self) -> int:
        """How many flow runs are COMPLETED."""
        return self.count("SELECT count(*) FROM runs_flowrun WHERE state_type = 'COMPLETED'")

    def pause_queues(self, paused: bool) -> None:
        """Pause every work queue or let it go on: what the admin does, without a browser."""
        with closing(sqlite3.connect(self.home / "orchestrator.db", timeout=20)) as connection, connection:
            connection.execute("UPDATE flows_workqueue SET paused = ?", (paused,))

    def pause_policies(self, paused: bool) -> None:
        """Pause every notification policy or let it go on, in one write."""
        with closing(sqlite3.connect(self.home / "orchestrator.db", timeout=20)) as connection, connection:
            connection.execute("UPDATE notifications_policy SET paused = ?", (paused,))

    def bring_in(self) -> None:
        """Have the journals of the home brought in, as a read without a server does."""
        run([ORCHESTRATOR, "flow-run", "ls", "--json"], environment(self.home))

    def expect_tasks(self, expected: int) -> None:
        """BenchmarkError unless every task of a flow run is on record, as completed."""
        if (found := self.completed_tasks()) != expected:
            raise BenchmarkError(f"{found:,} of {expected:,} task runs are on record")


def wait_until(done: Callable[[], bool], what: str, seconds: float) -> float:
    """Return the time at which it was done (looked at every 10 ms); BenchmarkError after so many seconds."""
    deadline = time.monotonic() + seconds
    while not done():
        if time.monotonic() > deadline:
            raise BenchmarkError(f"{what}: not after {seconds:.0f} s")
        time.sleep(_POLL_SECONDS)
    return time.time()


def moment(text: str) -> float:
    """Return a time of the database as seconds since the epoch."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()
