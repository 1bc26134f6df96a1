"""A worker's bell to itself."""

from orchestrator.celery import app
from runs.canary import DEAF_SECONDS, EVERY_SECONDS, Canary


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_it_rings_now_and_then_and_knows_a_bell_that_did_not_come_back() -> None:
    clock, rung = Clock(), []
    canary = Canary(rung.append, clock)
    assert not canary.look(True)
    assert rung == [1]
    canary.came_back(1)
    heard_at = canary.heard_at
    assert heard_at is not None
    clock.now += EVERY_SECONDS - 1
    assert not canary.look(True)
    assert rung == [1]
    clock.now += 1
    canary.look(True)
    assert rung == [1, 2]
    canary.came_back(1)  # late, from before
    assert canary.heard_at == heard_at
    clock.now += DEAF_SECONDS
    assert canary.look(True), "deaf"
    assert not canary.look(True), "said once"
    clock.now += EVERY_SECONDS
    assert not canary.look(True)
    assert rung == [1, 2, 3], "it is tried again over the new connection"


def test_nothing_is_expected_while_the_broker_is_away() -> None:
    clock, rung = Clock(), []
    canary = Canary(rung.append, clock)
    canary.look(True)
    assert not canary.look(False)
    clock.now += DEAF_SECONDS
    assert not canary.look(False)
    assert not canary.look(True)
    assert rung == [1, 2], "asked at once when it is connected again"


def test_a_job_that_finds_no_memory_is_over_and_not_stuck() -> None:
    def greedy() -> None:
        raise MemoryError

    job = app.task(greedy, name="tests.greedy")
    try:
        assert job() is None
        assert job.apply().state == "SUCCESS"
    finally:
        app.tasks.pop("tests.greedy")
