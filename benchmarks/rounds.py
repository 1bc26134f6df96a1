"""Contenders that take turns (A B C A B C), so that a change of the machine's mood meets them all."""

import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from benchmarks.load import OtherLoad
from benchmarks.measures import BenchmarkError

CALM_CORES = 0.1
FEWEST_ROUNDS = 3


@dataclass(frozen=True, slots=True)
class Rounds:
    """What each contender measured in the rounds that count."""

    values: Mapping[str, tuple[float, ...]]
    problems: Mapping[str, str]  #: contenders that failed, and why; they have no values
    note: str  #: how many rounds, and what else used the processors

    def ratios(self, name: str, to: str) -> tuple[float, float, float]:
        """Return the median, least and greatest of the per-round ratios of one contender to another."""
        each = [a / b for a, b in zip(self.values[name], self.values[to], strict=True)]
        return statistics.median(each), min(each), max(each)


def interleave(contenders: Mapping[str, Callable[[], float]], rounds: int, *, warm_up: bool = False) -> Rounds:
    """Let each contender measure once a round. Rounds disturbed by others are dropped where enough calm ones are left.

    A contender that raises BenchmarkError is out. The warm-up round counts for nothing (compiled bytecode, caches).
    """
    problems: dict[str, str] = {}
    taken: list[tuple[float, dict[str, float]]] = []
    for number in range(rounds + warm_up):
        load = OtherLoad()
        measured: dict[str, float] = {}
        for name, measure in contenders.items():
            if name in problems:
                continue
            try:
                measured[name] = measure()
            except BenchmarkError as error:
                problems[name] = str(error)
        if number >= warm_up:
            taken.append((load.cores(), measured))
    calm = [entry for entry in taken if entry[0] <= CALM_CORES]
    kept = calm if len(calm) >= min(FEWEST_ROUNDS, rounds) else taken
    names = [name for name in contenders if name not in problems]
    values = {name: tuple(measured[name] for _, measured in kept) for name in names}
    return Rounds(values, problems, _note(len(kept), len(taken), max((cores for cores, _ in kept), default=0.0)))


def _note(kept: int, taken: int, cores: float) -> str:
    note = f"{kept} round{'s' if kept != 1 else ''}"
    if kept < taken:
        note += f" ({taken - kept} disturbed, dropped)"
    return note if cores <= CALM_CORES else f"{note}; others used {cores:.1f} cores"
