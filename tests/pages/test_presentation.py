"""Words for durations, counts, states and times."""

from datetime import UTC, datetime, timedelta

import pytest

from orchestrator.sdk.states import NAMES, StateType
from runs import presentation


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (None, ""),
        (-1, "0 ms"),
        (0.0002, "<1 ms"),
        (0.04, "40 ms"),
        (0.8, "0.8 s"),
        (48.2, "48.2 s"),
        (59.96, "1 m"),
        (72, "1 m 12 s"),
        (3599.7, "1 h"),
        (7500, "2 h 5 m"),
        (266400, "3 d 2 h"),
    ],
)
def test_duration_in_words(seconds: float | None, words: str) -> None:
    assert presentation.duration(seconds) == words


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [(44.2, 51.9, "44 to 52 s"), (0.8, 1.2, "0.8 to 1.2 s"), (50, 72, "50 s to 1 m 12 s"), (3, 3.01, "about 3.0 s")],
)
def test_range_says_a_shared_unit_once(low: float, high: float, words: str) -> None:
    assert presentation.duration_range(low, high) == words


def test_every_state_has_a_look() -> None:
    for type_ in StateType:
        for name in NAMES[type_]:
            look = presentation.look(type_, name)
            assert look.css
            assert look.icon.startswith("state-")
            assert look.word[0].isupper()
    assert presentation.look("SCHEDULED", "AwaitingRetry").word == "Awaiting retry"
    assert presentation.look("SCHEDULED", "Late").css == "paused"


def test_worst_state_is_shown_for_many() -> None:
    assert presentation.worst({"COMPLETED", "FAILED", "RUNNING"}) == "FAILED"
    assert presentation.worst({"COMPLETED", "RUNNING"}) == "RUNNING"
    assert presentation.worst({"COMPLETED"}) == "COMPLETED"


def test_clock_is_as_short_as_the_day_allows() -> None:
    now = datetime(2026, 11, 22, 14, 30, 2, 118000, tzinfo=UTC)
    assert presentation.clock(now, now) == "14:30:02"
    assert presentation.clock(now - timedelta(days=1), now) == "21 Nov 14:30"
    assert presentation.clock(now - timedelta(days=400), now) == "18 Oct 2025"
    assert presentation.exact(now) == "Sunday 22 November 2026, 14:30:02.118 UTC"


def test_times_to_come() -> None:
    now = datetime(2026, 11, 22, 14, 30, tzinfo=UTC)
    assert presentation.upcoming_clock(now + timedelta(minutes=30), now) == "15:00"
    assert presentation.upcoming_clock(now + timedelta(seconds=5), now) == "14:30:05"
    assert presentation.upcoming_clock(now + timedelta(hours=12), now) == "tomorrow 02:30"
    assert presentation.upcoming_clock(now + timedelta(days=3), now) == "Wed 14:30"
    assert presentation.upcoming_clock(now + timedelta(days=30), now) == "22 Dec 14:30"


def test_log_levels_between_the_named_ones() -> None:
    assert [presentation.level_name(level) for level in (5, 20, 25, 40, 60)] == [
        "DEBUG",
        "INFO",
        "INFO",
        "ERROR",
        "CRITICAL",
    ]
