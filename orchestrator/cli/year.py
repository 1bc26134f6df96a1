"""A schedule's year ahead, as a calendar of text: three months side by side, the days marked."""

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from typing import Any

import click

from orchestrator.cli.output import painted

_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_ABREAST = 3
_WIDTH = 7 * 4 - 1
_LEGEND = "* runs   + runs, moved there from a day off   - left out, or moved away: a day off"


def show_year(preview: dict[str, Any]) -> None:
    """Print the year of a previewed schedule, then the days off that are no weekend with their names."""
    days = {date.fromisoformat(day["date"]): day for day in preview["year"]}
    first = datetime.now().astimezone().date().replace(day=1)
    blocks = [list(_month(start, days)) for start in _months(first)]
    for number in range(0, len(blocks), _ABREAST):
        for line in zip(*_even(blocks[number : number + _ABREAST]), strict=True):
            click.echo("   ".join(line).rstrip())
        click.echo()
    click.echo(painted(_LEGEND, dim=True))
    click.echo(_summary(days))
    for day, one in days.items():
        if one["left_out"] and one["day_off"] not in _WEEKDAYS:
            click.echo(f"  {day:%a} {day.day:2} {day:%b %Y}  {one['day_off']}")


def _summary(days: dict[date, dict[str, Any]]) -> str:
    runs = sum(day["runs"] for day in days.values())
    on = sum(1 for day in days.values() if day["runs"])
    moved = sum(day["moved_here"] for day in days.values())
    off = sum(1 for day in days.values() if day["left_out"])
    words = f"{runs:,} runs on {on} days"
    if moved:
        words += f", {moved:,} of them moved"
    return f"{words}; {off} days off." if off else f"{words}."


def _months(first: date) -> Iterator[date]:
    for _ in range(12):
        yield first
        first = (first + timedelta(days=32)).replace(day=1)


def _month(start: date, days: dict[date, dict[str, Any]]) -> Iterator[str]:
    yield painted(f"{start:%B %Y}".center(_WIDTH), bold=True)
    yield painted("Mo  Tu  We  Th  Fr  Sa  Su ", dim=True)
    cells = ["   "] * start.weekday()
    day = start
    while day.month == start.month:
        cells.append(_cell(day, days.get(day)))
        day += timedelta(days=1)
    cells += ["   "] * (-len(cells) % 7)
    for number in range(0, len(cells), 7):
        yield " ".join(cells[number : number + 7])


def _cell(day: date, one: dict[str, Any] | None) -> str:
    if one is None:
        return painted(f"{day.day:2} ", dim=True)
    if not one["runs"]:
        return painted(f"{day.day:2}-", "yellow")
    return painted(
        f"{day.day:2}{'+' if one['moved_here'] else '*'}", "cyan" if one["moved_here"] else "green", bold=True
    )


def _even(blocks: list[list[str]]) -> list[list[str]]:
    height = max(map(len, blocks))
    return [[*block, *[" " * _WIDTH] * (height - len(block))] for block in blocks]
