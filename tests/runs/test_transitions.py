"""The rules of states, as values."""

import pytest

from runs.folding import exit_cause
from runs.transitions import Report, Source, accepts, as_cancelled, child_ending, crash, is_cancelling


def report(type_: str, source: Source = Source.RUN) -> Report:
    return Report(type_, type_.capitalize(), 1, source)


@pytest.mark.parametrize("state", ["PENDING", "RUNNING", "PAUSED", "CANCELLING", "SCHEDULED"])
@pytest.mark.parametrize("source", list(Source))
def test_anything_may_follow_what_has_not_ended(state: str, source: Source) -> None:
    assert accepts(state, "", report("CRASHED", source))


@pytest.mark.parametrize(
    ("ended_by", "source", "expected"),
    [
        ("run", Source.RUN, False),
        ("run", Source.EXIT, False),
        ("run", Source.LAPSE, False),
        ("exit", Source.RUN, True),
        ("exit", Source.EXIT, False),
        ("exit", Source.LAPSE, False),
        ("lapse", Source.RUN, True),
        ("lapse", Source.EXIT, True),
        ("lapse", Source.LAPSE, False),
        ("", Source.RUN, False),  # the server decided it
    ],
)
@pytest.mark.parametrize("state", ["COMPLETED", "FAILED", "CRASHED", "CANCELLED"])
def test_an_ending_is_left_only_on_a_word_that_weighs_more(
    state: str, ended_by: str, source: Source, expected: bool
) -> None:
    assert accepts(state, ended_by, report("COMPLETED", source)) is expected


def test_a_crash_while_cancelling_is_the_cancellation() -> None:
    cancelled = as_cancelled(crash(1, "killed by signal 15 (SIGTERM)", Source.EXIT))
    assert (cancelled.type, cancelled.name, cancelled.source) == ("CANCELLED", "Cancelled", Source.EXIT)
    assert "SIGTERM" in cancelled.message


@pytest.mark.parametrize("type_", ["COMPLETED", "FAILED", "CANCELLED"])
def test_other_endings_stand_while_cancelling(type_: str) -> None:
    assert as_cancelled(report(type_)).type == type_


def test_a_run_given_up_while_cancelling_is_still_being_cancelled() -> None:
    assert is_cancelling("CANCELLING", "")
    assert is_cancelling("CANCELLED", "lapse")
    assert not is_cancelling("CANCELLED", "run")
    assert not is_cancelling("CRASHED", "lapse")


def test_children_of_a_crash_crash_and_others_are_cancelled() -> None:
    assert child_ending("CRASHED") == ("CRASHED", "Crashed")
    assert {child_ending(type_) for type_ in ("COMPLETED", "FAILED", "CANCELLED")} == {("CANCELLED", "Cancelled")}


@pytest.mark.parametrize(
    ("exit_code", "signal", "words"),
    [
        (None, 9, "killed by signal 9 (SIGKILL)"),
        (3, 0, "exit code 3"),
        (None, 0, "the process ended without an ending of the run"),
        (None, 250, "killed by signal 250"),
    ],
)
def test_how_a_process_ended_is_said_in_words(exit_code: int | None, signal: int, words: str) -> None:
    assert exit_cause(exit_code, signal) == words
