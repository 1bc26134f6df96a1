"""What an engine test records, read back from the journal on disk."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from orchestrator.sdk import journal


class Recorded:
    """The facts in the journals of a home."""

    def __init__(self, home: Path) -> None:
        self._home = home

    def facts(self, kind: str = "") -> list[dict[str, Any]]:
        """All facts, or those of a kind, in the order in which they were recorded."""
        lines = [
            line for path in sorted(self._home.glob("journals/*.jsonl")) for line in path.read_bytes().splitlines()
        ]
        decoded: list[dict[str, Any]] = [msgspec.json.decode(line) for line in lines]
        return [fact for fact in decoded if fact["k"] == kind or (not kind and fact["k"] not in ("header", "end"))]

    def flow_states(self, flow: str = "") -> list[tuple[int, str, str]]:
        """(attempt, type, name) of each state of the runs of a flow."""
        runs = {fact["run"] for fact in self.facts("flow_run") if not flow or fact["flow"] == flow}
        return [
            (fact.get("attempt", 1), fact["type"], fact["name"])
            for fact in self.facts("flow_state")
            if fact["run"] in runs
        ]

    def task_states(self, name: str) -> list[tuple[int, str]]:
        """(attempt of the task run, state's name) of the task run of this name, from its creation."""
        created = next(fact for fact in self.facts("task_run") if fact["name"] == name)
        states = [(1, created.get("state", "Pending"))]
        states += [
            (fact.get("task_attempt", 1), fact["name"])
            for fact in self.facts("task_state")
            if fact["id"] == created["id"]
        ]
        return states

    def errors(self) -> list[dict[str, Any]]:
        """The errors of all states."""
        return [fact["error"] for fact in self.facts() if "error" in fact]

    def printed(self, logger: str = "stdout") -> list[str]:
        """The recorded lines of a stream or logger."""
        return [fact.get("message", "") for fact in self.facts("log") if fact["logger"] == logger]


@pytest.fixture
def recorded(home: Path) -> Iterator[Recorded]:
    """What flows record in this test, in a home and a journal of its own."""
    journal.close()
    yield Recorded(home)
    journal.close()
