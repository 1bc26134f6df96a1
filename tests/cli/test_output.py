"""How times and tables are printed."""

import pytest

from orchestrator.cli.output import duration, fields, table


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, ""), (0.0001, "<1 ms"), (0.04, "40 ms"), (2.94, "2.9 s"), (59.96, "1 m"), (72, "1 m 12 s"),
        (7500, "2 h 5 m"), (7200, "2 h"), (3600 * 76, "3 d 4 h"),
    ],
)  # fmt: skip
def test_durations_have_two_units_at_most(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text


def test_columns_are_aligned_and_nothing_trails(capsys: pytest.CaptureFixture[str]) -> None:
    table(("A", "LONG"), [("first", "x"), ("b", "")])

    assert capsys.readouterr().out == "A      LONG\nfirst  x\nb\n"


def test_empty_fields_are_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    fields([("name", "x"), ("tags", ""), ("lines", "a\nb")])

    assert capsys.readouterr().out == "name   x\nlines  a\n       b\n"
