"""What commands print: aligned, times in this machine's zone, colours on a terminal only (NO_COLOR is heeded)."""

import json
import os
import sys
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import click

COLOURS = {
    "COMPLETED": "green",
    "FAILED": "red",
    "CRASHED": "red",
    "RUNNING": "blue",
    "PENDING": "cyan",
    "PAUSED": "yellow",
    "CANCELLING": "yellow",
    "SCHEDULED": "cyan",
}


class Cell(NamedTuple):
    """A text of a table and its colour."""

    text: str
    colour: str | None = None


def emit_json(value: Any) -> None:
    """Print one JSON value."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def note(text: str) -> None:
    """Say something beside the answer, on standard error."""
    click.echo(text, err=True)


def painted(text: str, colour: str | None = None, *, bold: bool = False, dim: bool = False) -> str:
    """Return the text in a colour where standard output is a terminal that wants one."""
    if not (sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"):
        return text
    return click.style(text, fg=colour, bold=bold or None, dim=dim or None)


def table(titles: Sequence[str], rows: Iterable[Sequence[Cell | str]]) -> None:
    """Print rows under titles, in columns as wide as their widest text."""
    cells = [[cell if isinstance(cell, Cell) else Cell(cell) for cell in row] for row in rows]
    widths = [max([len(title), *(len(row[column].text) for row in cells)]) for column, title in enumerate(titles)]
    click.echo(
        painted("  ".join(title.ljust(width) for title, width in zip(titles, widths, strict=True)).rstrip(), dim=True)
    )
    for row in cells:
        line = "  ".join(
            painted(cell.text, cell.colour) + " " * (width - len(cell.text))
            for cell, width in zip(row, widths, strict=True)
        )
        click.echo(line.rstrip())


def fields(pairs: Iterable[tuple[str, Cell | str]]) -> None:
    """Print names and values, the values in one column; those that are empty are left out."""
    said = [(name, value if isinstance(value, Cell) else Cell(value)) for name, value in pairs]
    said = [(name, value) for name, value in said if value.text]
    width = max((len(name) for name, _ in said), default=0)
    for name, value in said:
        first, *more = value.text.splitlines() or [""]
        click.echo(f"{painted(name.ljust(width), dim=True)}  {painted(first, value.colour)}")
        for line in more:
            click.echo(f"{' ' * width}  {painted(line, value.colour)}")


def state(row: dict[str, Any]) -> Cell:
    """Return the name of a run's state in its colour."""
    return Cell(row["state_name"], COLOURS.get(row["state_type"]))


def moment(text: str | None) -> str:
    """Return a time, short: `14:30:02` today, else `21 Nov 14:30`, with the year where it is another one."""
    if not text:
        return ""
    time, now = datetime.fromisoformat(text).astimezone(), datetime.now().astimezone()
    if time.date() == now.date():
        return f"{time:%H:%M:%S}"
    return f"{time.day} {time:%b %H:%M}" if time.year == now.year else f"{time.day} {time:%b %Y}"


def exact(text: str | None) -> str:
    """Return a time in full: `Sat 21 Nov 2026 14:30:02 CET`."""
    if not text:
        return ""
    time = datetime.fromisoformat(text).astimezone()
    return f"{time:%a} {time.day} {time:%b %Y %H:%M:%S %Z}"


def upcoming(text: str) -> str:
    """Return a time to come: `Mon 23 Nov 08:00 CET`, with seconds where it has some."""
    time = datetime.fromisoformat(text).astimezone()
    clock = f"{time:%H:%M:%S}" if time.second else f"{time:%H:%M}"
    year = "" if time.year == datetime.now().astimezone().year else f" {time.year}"
    return f"{time:%a} {time.day} {time:%b}{year} {clock} {time:%Z}"


def duration(seconds: float | None) -> str:
    """Return a duration: `40 ms`, `2.9 s`, `1 m 12 s`, `2 h 5 m`, `3 d 4 h`; empty for None."""
    if seconds is None:
        return ""
    if seconds < 0.0995:
        return "<1 ms" if 0 < seconds < 0.0005 else f"{seconds * 1000:.0f} ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    sizes = {"d": 86400, "h": 3600, "m": 60, "s": 1}
    long, short = next(pair for pair in ("dh", "hm", "ms") if whole >= sizes[pair[0]])
    many, rest = divmod(whole, sizes[long])
    few = rest // sizes[short]
    return f"{many} {long} {few} {short}" if few else f"{many} {long}"


def size(number: int) -> str:
    """Return a size in bytes: `3.8 GB`, `120 MB`."""
    return f"{number / 2**30:.1f} GB" if number >= 0.995 * 2**30 else f"{number / 2**20:.0f} MB"


def log_line(line: dict[str, Any]) -> str:
    """Return a recorded line: its time, its level and logger, or `print` for what was printed."""
    time = datetime.fromisoformat(line["time"]).astimezone()
    clock = painted(f"{time:%H:%M:%S}.{time.microsecond // 1000:03d}", dim=True)
    message = line["message"].rstrip("\n")
    if line["logger"] in {"stdout", "stderr"}:
        return f"{clock} | {'PRINT':<7} | {message}"
    level = line["level_name"]
    colour = "red" if line["level"] >= 40 else "yellow" if line["level"] >= 30 else None
    return f"{clock} | {painted(f'{level:<7}', colour)} | {_author(line)}{message}"


def _author(line: dict[str, Any]) -> str:
    """Return who wrote a line: the run, as on the terminal where it ran, or the logger."""
    if line["logger"] == "orchestrator.flow_runs":
        return "Flow run - "
    if name := line.get("task_run_name"):
        logger = "" if line["logger"] == "orchestrator.task_runs" else f"{line['logger']} - "
        return f"Task run '{name}' - {logger}"
    return f"{line['logger']} - " if line["logger"] else ""


def value(thing: Any) -> str:
    """Return a value as a person would type it: text as it is, all else as JSON."""
    return thing if isinstance(thing, str) else json.dumps(thing, ensure_ascii=False)


def command(*words: str) -> str:
    """Return a command to type, emphasised on a terminal."""
    return painted(" ".join(("orchestrator", *words)), bold=True)
