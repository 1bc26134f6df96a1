"""A supervisor tells the end of an attempt that it knows of, and of no other."""

from pathlib import Path

import pytest

from orchestrator.sdk.events import Log
from orchestrator.sdk.host_note import HostNote
from orchestrator.sdk.host_protocol import Start
from orchestrator.sdk.host_supervisor import _Supervisor
from orchestrator.sdk.ids import uuid7
from orchestrator.sdk.infrastructure.base import Ended, Infrastructure, Launch, Unreachable
from orchestrator.sdk.infrastructure.in_worker import InWorkerSettings
from tests.infrastructure.attempt_server import attempt_server
from tests.sdk.processes import facts


class Away(Infrastructure[InWorkerSettings]):
    """One whose engine is away."""

    Settings = InWorkerSettings

    def run(self, launch: Launch) -> Ended:
        """Be away."""
        raise Unreachable("the engine does not answer")


def test_of_an_attempt_that_nobody_can_ask_about_no_end_is_told(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORCHESTRATOR_RUN_ID", "")
    note = HostNote()
    with attempt_server() as server:
        start = Start(
            run=str(uuid7()), attempt=1, journal=str(uuid7()), entrypoint="x:y", token="orun_token", api_url=server.url
        )
        assert _Supervisor(start, note, Away(InWorkerSettings())).supervise() == 0
        assert server.facts(start) == []
    assert (note.left, note.ended) == (True, False)
    (told,) = [fact for found in facts(home).values() for fact in found if isinstance(fact, Log)]
    assert told.message.startswith("the engine does not answer. The run is left to itself")
    note.close()
