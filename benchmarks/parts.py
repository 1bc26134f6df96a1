"""Parts alone, for comparison with the whole way: nothing has to be held here."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.engine import rate
from benchmarks.measures import BenchmarkError, Row
from benchmarks.processes import PYTHON, environment, run, temporary_home


def engine(quick: bool) -> Iterator[Row]:
    """Tasks that are submitted and mapped, on the thread runner."""
    count = 2_000 if quick else 20_000
    for how in ("submitted", "mapped"):
        per_second, megabytes = rate(how, count)
        note = f"peak memory {megabytes:.0f} MB, watched"
        yield Row(f"engine alone, {count:,} no-op tasks {how}", "/s", (per_second,), note=note)


def ingest(quick: bool) -> Iterator[Row]:
    """The way from journals into the database alone, as `benchmarks/ingest.py` measures it."""
    count = 2_000 if quick else 10_000
    with temporary_home() as home:
        command = [PYTHON, "-m", "benchmarks.ingest", str(count)]
        output = run(command, environment(home), directory=Path(__file__).parent.parent).output
    for kind in ("called", "mapped"):
        rates = re.findall(rf"{kind}\s.*\s([\d,]+)/s", output)
        if len(rates) != 1:
            raise BenchmarkError(f"benchmarks.ingest printed no rate of tasks that were {kind}")
        yield Row(f"ingest alone, {count:,} tasks {kind}", "/s", (float(rates[0].replace(",", "")),))


BENCHMARKS: dict[str, Callable[[bool], Iterator[Row]]] = {"engine": engine, "ingest": ingest}
