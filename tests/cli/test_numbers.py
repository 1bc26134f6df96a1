"""Numbers that are none are refused in words."""

import click
import pytest
from click.testing import CliRunner

from orchestrator.cli import cli
from orchestrator.cli.numbers import Number


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("concurrency-limit create x many", "LIMIT is a whole number from 0 to 10,000, not 'many'."),
        ("concurrency-limit create x 1.5", "LIMIT is a whole number from 0 to 10,000, not '1.5'."),
        ("concurrency-limit create x -1", "LIMIT is a whole number from 0 to 10,000, not '-1'."),
        ("concurrency-limit set x -12", "LIMIT is a whole number from 0 to 10,000, not '-12'."),
        ("concurrency-limit set x -- -12", "LIMIT is a whole number from 0 to 10,000, not '-12'."),
        ("concurrency-limit set x 10001", "LIMIT is a whole number from 0 to 10,000, not '10001'."),
        ("work-queue create q --limit many", "--limit is a whole number from 1 to 10,000 or none, not 'many'."),
        ("work-queue create q --limit 0", "--limit is a whole number from 1 to 10,000 or none, not '0'."),
        ("work-queue set q --limit -3", "--limit is a whole number from 1 to 10,000 or none, not '-3'."),
        ("work-queue set q --priority high", "--priority is a whole number from -1,000 to 1,000, not 'high'."),
        ("deployment set a/b --crash-retries ''", "--crash-retries is a whole number from 0 to 100, not \"''\"."),
        ("worker start --limit 0", "--limit is a whole number from 1 to 1,000, not '0'."),
        ("flow-run ls --limit 0", "--limit is a whole number from 1, not '0'."),
        ("server start --port 70000", "--port is a whole number from 1 to 65,535, not '70000'."),
        ("drill --seconds nan", "--seconds is a number from 5, not 'nan'."),
        ("drill --seconds inf", "--seconds is a number from 5, not 'inf'."),
    ],
)
def test_what_is_no_such_number_is_named_with_what_is_taken(words: str, said: str) -> None:
    done = CliRunner().invoke(cli, words.split())
    assert done.exit_code == 2
    assert f"Error: {said}\n" in done.output


def test_an_option_that_there_is_not_is_no_number() -> None:
    done = CliRunner().invoke(cli, ["concurrency-limit", "create", "x", "1", "--jsno"])
    assert "No such option '--jsno'" in done.output


def test_bounds_are_included_and_none_is_a_word() -> None:
    number = Number(1, 10, or_none=True)
    assert [number.convert(text, None, None) for text in ("1", " 10 ", "None", 3)] == [1, 10, "none", 3]
    assert Number(5, kind=float).convert("5", None, None) == 5.0
    with pytest.raises(click.UsageError):
        number.convert("11", None, None)


def _plain_ranges(command: click.Command, context: click.Context) -> list[str]:
    """Parameters of a command and those below it that take a number of another kind."""
    if isinstance(command, click.Group):
        names = command.list_commands(context)
        return [found for name in names for found in _plain_ranges(command.get_command(context, name), context)]
    types = (click.types.IntParamType, click.types.FloatParamType)
    return [f"{command.name} {param.name}" for param in command.params if isinstance(param.type, types)]


def test_every_number_of_the_command_line_is_refused_so() -> None:
    assert _plain_ranges(cli, click.Context(cli)) == []
