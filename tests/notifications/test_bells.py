"""Bells of destinations: the first at once, those of a burst together."""

from queue import Queue
from typing import Any

import pytest

from notifications import bells
from orchestrator.sdk.ids import uuid7


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> "Queue[list[str]]":
    """The destinations of each message that goes to the broker."""
    sent: Queue[list[str]] = Queue()

    def send_job(name: str, **arguments: Any) -> None:
        assert name == bells.DELIVER_JOB
        sent.put(arguments["destinations"])

    monkeypatch.setattr(bells.bells, "send_job", send_job)
    return sent


def test_a_burst_is_rung_once_for_all_its_destinations(heard: "Queue[list[str]]") -> None:
    ringing, first = bells._Ringing(), uuid7()
    ringing.ring([first])
    assert heard.get(timeout=10) == [str(first)]
    later = [uuid7() for _ in range(3)]
    for _ in range(100):
        for destination_id in later:
            ringing.ring([destination_id])
    told: list[str] = []
    messages = 0
    while set(told) < set(map(str, later)):
        told += heard.get(timeout=10)
        messages += 1
    assert messages <= 3, "300 bells of one burst"
