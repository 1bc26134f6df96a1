"""What a run used, as a page draws it: two small charts, memory and processors, of one attempt."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from runs.models import Attempt, FlowRun, ResourceSample
from runs.presentation import duration, size

MAX_SAMPLES: Final = 2_000  # an attempt that goes on for weeks has fewer
WIDTH, HEIGHT = 1000.0, 100.0  # of the drawing; it is stretched to where it stands
_GIGABYTE, _MEGABYTE = 2**30, 2**20


@dataclass(frozen=True, slots=True)
class Chart:
    """One curve over the time of an attempt.

    Attributes:
        title: What it shows.
        line: Points of the curve, for an SVG path.
        area: The same, closed at the bottom.
        top: What the upper edge stands for.
        words: The picture in words.
    """

    title: str
    line: str
    area: str
    top: str
    words: str


@dataclass(frozen=True, slots=True)
class Resources:
    """The charts of an attempt, and the length of their axis in words."""

    attempt: int
    charts: tuple[Chart, ...]
    length: str


def samples_of(run: FlowRun, attempt: int | None = None) -> list[ResourceSample]:
    """Return the samples of a run, or of one attempt, oldest first (one query, index `resource_sample_of_run`)."""
    samples = ResourceSample.objects.filter(flow_run=run)
    if attempt is not None:
        samples = samples.filter(attempt=attempt)
    return list(samples.order_by("id")[:MAX_SAMPLES])


def resources(run: FlowRun, attempt: Attempt | None) -> Resources | None:
    """Return the charts of an attempt; None where it has fewer than two samples to draw a line between."""
    if attempt is None:
        return None
    samples = samples_of(run, attempt.number)
    if len(samples) < 2:
        return None
    start = min(attempt.start_time or samples[0].time, samples[0].time)
    seconds = [(sample.time - start).total_seconds() for sample in samples]
    memory = [float(sample.memory_bytes) for sample in samples]
    processors = [sample.cpu for sample in samples]
    average = _average(seconds, processors)
    charts = (
        _chart("Memory", seconds, memory, _memory_words(samples, start)),
        _chart("Processors", seconds, processors, f"{max(processors):.1f} at most, {average:.1f} on average"),
    )
    return Resources(attempt.number, charts, duration(seconds[-1]))


def _memory_words(samples: Sequence[ResourceSample], start: datetime) -> str:
    highest = max(samples, key=lambda sample: sample.memory_bytes)
    at = duration((highest.time - start).total_seconds())
    return f"{size(highest.memory_bytes)} at most, after {at}; {size(samples[-1].memory_bytes)} at the last look"


def _average(seconds: Sequence[float], processors: Sequence[float]) -> float:
    """Weighed by how long each sample stands for, as they grow sparser."""
    lengths = [at - before for before, at in zip([0.0, *seconds], seconds, strict=False)]
    whole = sum(lengths)
    if whole <= 0:
        return sum(processors) / len(processors)
    return sum(length * used for length, used in zip(lengths, processors, strict=True)) / whole


def _chart(title: str, seconds: Sequence[float], values: Sequence[float], words: str) -> Chart:
    top = _round_up(max(values), title == "Memory")
    whole = max(seconds[-1], 0.001)
    points = [
        f"{WIDTH * at / whole:.1f},{HEIGHT * (1 - value / top):.1f}" for at, value in zip(seconds, values, strict=True)
    ]
    line = "M" + " L".join(points)
    first, last = points[0].partition(",")[0], points[-1].partition(",")[0]
    area = f"{line} L{last},{HEIGHT:.0f} L{first},{HEIGHT:.0f} Z"
    return Chart(title, line, area, size(top) if title == "Memory" else f"{top:g}", words)


def _round_up(value: float, is_memory: bool) -> float:
    """Return the next of 1, 2, 5, 10, 20, 50 … of its unit: the edge of a chart."""
    unit = (_GIGABYTE if value >= _GIGABYTE else _MEGABYTE) if is_memory else 1.0
    step = 1.0
    while step * unit < value:
        step = step * 2.5 if str(step)[0] == "2" else step * 2
    return step * unit
