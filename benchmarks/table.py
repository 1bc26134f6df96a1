"""The table that is printed."""

from collections.abc import Iterable

from benchmarks.load import CALM_CORES
from benchmarks.measures import Bound, Row

HEADINGS = ("what", "hold", "measured", "least – most", "holds", "notes")
_RIGHT = {1, 2, 3}


def lines(rows: Iterable[Row]) -> list[str]:
    """Return the table as lines of Markdown, its columns aligned."""
    return aligned([HEADINGS, *(_cells(row) for row in rows)], right=_RIGHT)


def aligned(cells: list[tuple[str, ...]], right: set[int]) -> list[str]:
    """Return rows of cells, the first of them headings, as an aligned Markdown table."""
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    rule = tuple("-" * (width - 1) + ":" if n in right else "-" * width for n, width in enumerate(widths))

    def line(row: tuple[str, ...]) -> str:
        padded = (
            cell.rjust(width) if n in right else cell.ljust(width)
            for n, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        return "| " + " | ".join(padded) + " |"

    return [line(cells[0]), line(rule), *map(line, cells[1:])]


def quantity(value: float, unit: str) -> str:
    """Return a number with its unit, with as many digits as mean something; short times in milliseconds."""
    if unit == "s" and abs(value) < 0.0995:
        value, unit = value * 1000, "ms"
    if unit == "MB":
        return f"{value:.1f} MB"
    digits = f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"
    return f"{digits}{'' if unit.startswith('/') else ' '}{unit}"


def disturbance(others_cores: float) -> str:
    """Return a note on what else used the processors; empty when that was too little to matter."""
    return f"others used {others_cores:.1f} cores" if others_cores > CALM_CORES else ""


def _cells(row: Row) -> tuple[str, ...]:
    least, most = (quantity(end(row.values), row.unit) for end in (min, max)) if row.values else ("", "")
    spread = f"{least} – {most}" if len(row.values) > 1 else ""
    measured = quantity(row.measured, row.unit) if row.values else "–"
    holds = {True: "yes", False: "NO", None: ""}[row.holds]
    note = "; ".join(filter(None, [row.problem, row.note, disturbance(row.others_cores or 0.0)]))
    return (row.what, _bound(row.bound, row.unit), measured, spread, holds, note)


def _bound(bound: Bound | None, unit: str) -> str:
    return f"{'≥' if bound.at_least else '≤'} {quantity(bound.value, unit)}" if bound else ""
