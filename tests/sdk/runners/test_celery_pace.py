"""How many calls of a task go in a message to Celery."""

from orchestrator.sdk.runners.call_wire import MAX_CALLS
from orchestrator.sdk.runners.celery_pace import AHEAD, BEGUN_SECONDS, SENT_SECONDS, Pace


class Clock:
    """Stands still until it is set forward."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def sent_ahead(pace: Pace) -> int:
    """How many calls of an unknown task go out one by one until the next has to wait."""
    count = 0
    while pace.room("a"):
        count += 1
    return count


def test_some_calls_of_an_unknown_task_are_sent_ahead_and_the_rest_wait_a_moment():
    clock = Clock()
    pace = Pace(clock)
    assert sent_ahead(pace) == AHEAD
    clock.now += SENT_SECONDS * 0.9
    assert pace.room("a") == 0
    clock.now += SENT_SECONDS * 0.2  # nobody is there, or all are busy
    assert pace.room("a") == 1


def test_calls_that_execute_for_a_while_are_sent_alone():
    clock = Clock()
    pace = Pace(clock)
    sent_ahead(pace)
    pace.begun("a")
    assert pace.room("a") == 0
    clock.now += BEGUN_SECONDS * 1.1
    assert pace.room("a") == 1


def test_quick_calls_share_a_message_and_one_that_takes_long_counts_at_once():
    pace = Pace()
    for _ in range(20):
        pace.took("a", 0.0001)
    assert pace.room("a") == MAX_CALLS
    pace.took("a", 0.01)
    assert pace.room("a") == 4
    pace.took("a", 60)
    assert pace.room("a") == 1
    assert pace.room("b") == 1
