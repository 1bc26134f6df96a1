"""Contenders that take turns (A B C A B C), so that a change of the machine's mood meets them all."""

import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from benchmarks.load import CALM_CORES, OtherLoad
from benchmarks.measures import BenchmarkError

FEWEST_ROUNDS = 3


@dataclass(frozen=True, slots=True)
class Rounds:
    """What each contender measured in the rounds that count."""

    values: Mapping[str, tuple[float, ...]]
    problems: Mapping[str, str]  #: contenders that failed, and why; they have no values
    note: str = ""  #: how many rounds
    others_cores: float = 0.0  #: how many cores others used in the most disturbed of them

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
    note = f"{len(kept)} round{'s' if len(kept) != 1 else ''}"
    if len(kept) < len(taken):
        note += f" ({len(taken) - len(kept)} disturbed, dropped)"
    return Rounds(values, problems, note, max(cores for cores, _ in kept))
