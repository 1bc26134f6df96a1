"""When the drill gives up waiting."""

from orchestrator.drill.patience import BUSY_SECONDS, STILL_SECONDS, Patience


def test_what_neither_ends_nor_writes_is_waited_for_a_short_time() -> None:
    patience = Patience(ended=0.0)
    patience.look(1.0, 5, 100)
    patience.look(50.0, 5, 100)
    assert not patience.is_out(STILL_SECONDS)
    assert patience.is_out(1.0 + STILL_SECONDS)
    assert not patience.is_busy


def test_an_end_begins_the_wait_anew() -> None:
    patience = Patience(ended=0.0)
    patience.look(1.0, 5, 100)
    patience.look(80.0, 4, 100)
    assert not patience.is_out(1.0 + STILL_SECONDS)
    assert patience.is_out(80.0 + STILL_SECONDS)


def test_runs_that_write_are_waited_for_longer_and_not_for_ever() -> None:
    patience = Patience(ended=0.0)
    for second in range(1, int(BUSY_SECONDS)):
        patience.look(float(second), 5, second)
        assert not patience.is_out(float(second))
    assert patience.is_out(1.0 + BUSY_SECONDS)
    assert patience.is_busy


def test_a_number_that_cannot_be_read_changes_nothing() -> None:
    patience = Patience(ended=0.0)
    patience.look(1.0, None, 100)
    assert patience.ended == 0.0
