"""Home: what runs, what needs attention, what is next, and how it went."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.utils import timezone

from orchestrator.sdk.states import StateType
from runs import reads
from runs.models import FlowRun
from runs.presentation import several
from runs.views.live_page import LivePage

ROWS = 8
UPCOMING = 40  # are read to find the next of each deployment
_ENDINGS = (
    (StateType.COMPLETED, "completed"),
    (StateType.FAILED, "failed"),
    (StateType.CRASHED, "crashed"),
    (StateType.CANCELLED, "cancelled"),
)
_GOING_ON = (StateType.RUNNING, StateType.PENDING, StateType.PAUSED, StateType.CANCELLING, StateType.SCHEDULED)


@dataclass(frozen=True, slots=True)
class Bar:
    """A part of a column; all in percent of the chart."""

    x: float
    y: float
    width: float
    height: float
    css: str
    title: str


class HomePage(LivePage):
    """The first page."""

    template = "runs/home.html"
    regions = {
        name: f"runs/_home_{name}.html" for name in ("figures", "chart", "attention", "flows", "running", "next")
    }

    def context(self) -> dict[str, Any]:
        """What the regions show: twelve queries, each bounded."""
        now, user = self.reader.now, self.reader.user
        runs = FlowRun.objects.listed_for(user)
        half_hours = reads.by_half_hour(runs, now)
        flows = list(reads.flows_by_activity(user, now).only("id", "name")[:ROWS])
        running = reads.running_now(runs, ROWS)
        return {
            "attention": reads.needs_attention(runs, now, ROWS),
            "running": running,
            "running_count": reads.running_count(runs),
            "progress": reads.progress(running, now),
            "places": reads.places(now),
            "upcoming": _one_a_deployment(reads.up_next(runs, now, UPCOMING))[: ROWS - 2],
            "flows": flows,
            "strips": reads.strips("flow", [flow.id for flow in flows], now, user),
            "bars": _bars(half_hours),
            "ticks": _ticks(now),
            **_rates(runs, half_hours, now),
        }


def _one_a_deployment(upcoming: list[FlowRun]) -> list[FlowRun]:
    """The next run of each deployment; what comes after it is on the list of upcoming runs."""
    first: dict[Any, FlowRun] = {}
    for run in upcoming:
        first.setdefault(run.deployment_id or run.id, run)
    return list(first.values())


def _ticks(now: datetime) -> list[str]:
    """The times below the chart, in the reader's zone."""
    times = [timezone.localtime(now - timedelta(hours=hours)) for hours in (24, 18, 12, 6)]
    return [f"yesterday {times[0]:%H:%M}", *(f"{time:%H:%M}" for time in times[1:])]


def _rates(runs: Any, half_hours: dict[int, dict[str, int]], now: Any) -> dict[str, Any]:
    """Completed and broken runs of the last 24 hours, beside those of the 24 hours before."""
    today: dict[str, int] = {}
    for states in half_hours.values():
        for state, number in states.items():
            today[state] = today.get(state, 0) + number
    before = reads.ended_between(runs, now - timedelta(hours=48), now - timedelta(hours=24))
    completed, broken = today.get(StateType.COMPLETED, 0), _broken(today)
    rate, rate_before = _rate(today), _rate(before)
    return {
        "completed": completed,
        "broken": broken,
        "broken_before": _broken(before),
        "rate": rate,
        "rate_change": None if rate is None or rate_before is None else round(rate - rate_before, 1),
        "chart_words": f"{several(completed, 'run')} completed, {broken:,} failed or crashed",
    }


def _broken(counts: dict[str, int]) -> int:
    return sum(counts.get(state, 0) for state in reads.BROKEN)


def _rate(counts: dict[str, int]) -> float | None:
    ended = counts.get(StateType.COMPLETED, 0) + _broken(counts)
    return counts.get(StateType.COMPLETED, 0) * 100 / ended if ended else None


def _bars(half_hours: dict[int, dict[str, int]]) -> list[Bar]:
    """A column for each half hour: completed runs below, what broke above, with a gap between."""
    most = max([sum(states.values()) for states in half_hours.values()], default=0)
    step = 100 / len(half_hours)
    bars = []
    for index, states in half_hours.items():
        top = 99.0
        parts = [(state, word, states.get(state, 0)) for state, word in _ENDINGS]
        parts.append((StateType.RUNNING, "going on", sum(states.get(state, 0) for state in _GOING_ON)))
        for state, word, number in parts:
            if number:
                height = max(number / most * 90, 2.5)
                css = "cancelled" if state == StateType.CANCELLED else word if state in dict(_ENDINGS) else "running"
                title = f"{number:,} {word}"
                bars.append(
                    Bar(
                        round(index * step + step * 0.12, 2),
                        round(top - height, 2),
                        round(step * 0.76, 2),
                        round(height, 2),
                        css,
                        title,
                    )
                )
                top -= height + 1.5
    return bars
