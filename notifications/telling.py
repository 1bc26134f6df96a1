"""What is known of one event and its run, as messages tell it."""

from datetime import datetime
from functools import cached_property
from typing import Any, Final

from notifications import excerpts, links, wording
from notifications.events import Event
from notifications.models import Delivery, Policy
from notifications.predecessors import failures_before
from notifications.templating import Named
from notifications.times import clock, iso, zone
from runs.models import Attempt, FlowRun
from runs.presentation import duration, seconds_between, several
from runs.reads import usual_words

_COLUMNS: Final = (
    "name", "tags", "trigger", "start_time", "end_time", "state_time", "state_type", "attempt",
    "team__name", "flow__name", "deployment__name",
)  # fmt: skip
_PREDECESSORS: Final = 30


class Told:
    """An event with its run; each part is read from the database when it is first asked for."""

    def __init__(self, delivery: Delivery) -> None:
        """Take a delivery, which need not be saved (reads its policy)."""
        self.delivery = delivery
        self.policy: Policy | None = delivery.policy
        self.event = Event(delivery.event)
        self.zone = zone(self.policy.timezone if self.policy else "")
        self.time = clock(delivery.occurred_at, self.zone)
        self.reason = excerpts.reason(delivery.reason)
        self.url = links.to_run(delivery.flow_run_id)

    @cached_property
    def run(self) -> FlowRun:
        """The run as it is now, with only the columns that are told."""
        wanted = [*_COLUMNS, *(["parameters"] if self._tells_parameters else [])]
        return (
            FlowRun.objects.select_related("flow", "deployment", "team").only(*wanted).get(pk=self.delivery.flow_run_id)
        )

    @cached_property
    def run_name(self) -> str:
        """On one line."""
        return excerpts.line(self.run.name)

    @cached_property
    def flow_name(self) -> str:
        """On one line."""
        return excerpts.line(self.run.flow.name)

    @cached_property
    def start_time(self) -> datetime | None:
        """When the attempt began."""
        number = self.delivery.attempt
        if number <= 1:
            return self.run.start_time
        found = Attempt.objects.filter(flow_run=self.delivery.flow_run_id, number=number)
        return found.values_list("start_time", flat=True).first()

    @cached_property
    def log_lines(self) -> list[str]:
        """The attempt's last ones, as many as the policy says."""
        delivery = self.delivery
        went_on = self.run.attempt > delivery.attempt
        return excerpts.last_log_lines(
            delivery.flow_run_id,
            delivery.attempt,
            self.policy.log_lines if self.policy else 0,
            zone=self.zone,
            until=delivery.occurred_at if went_on else None,
        )

    def title(self) -> str:
        """`fuzzy-leopard of new-thing failed`."""
        return excerpts.line(wording.title(self.run_name, self.flow_name, self.event), 200)

    def usual_text(self) -> str:
        """The text of a policy that has none of its own."""
        more = ""
        if self.event == Event.RECOVERED:
            more = self._after_what()
        elif self.event == Event.LONG_RUNNING:
            more = self._running_long()
        return wording.usual(self.run_name, self.flow_name, self.event, self.time, more, self.reason)

    def context(self) -> dict[str, Any]:
        """What its policy's template sees: plain values, cut to what a message can need."""
        run, type_ = self.run, wording.STATES[self.event]
        deployment = excerpts.line(run.deployment.name) if run.deployment else ""
        policy = self.policy.name if self.policy else ""
        return {
            "flow_run": Named(
                self.run_name,
                name=self.run_name,
                id=str(run.pk),
                url=self.url,
                attempt=self.delivery.attempt,
                tags=excerpts.bounded(run.tags),
                parameters=excerpts.bounded(run.parameters) if self._tells_parameters else {},
                start_time=clock(self.start_time, self.zone) if self.start_time else "",
                duration=duration(self._took()),
            ),
            "flow": Named(self.flow_name, name=self.flow_name),
            "deployment": Named(deployment, name=deployment),
            "state": Named(type_.lower(), type=type_.value, name=self.delivery.state_name, message=self.reason),
            "event": self.event.label,
            "reason": self.reason,
            "time": self.time,
            "timezone": self.zone.key,
            "url": self.url,
            "log_lines": self.log_lines,
            "policy": Named(policy, name=policy),
            "team": Named(run.team.name, name=run.team.name),
        }

    def data(self) -> dict[str, Any]:
        """What programs want to know."""
        run, delivery = self.run, self.delivery
        return {
            "flow_run": {
                **named(run),
                "url": self.url,
                "attempt": delivery.attempt,
                "tags": run.tags,
                "start_time": self.start_time and iso(self.start_time),
            },
            "flow": named(run.flow),
            "deployment": run.deployment and named(run.deployment),
            "state": {"type": wording.STATES[self.event].value, "name": delivery.state_name, "message": self.reason},
            "policy": self.policy and named(self.policy),
            "team": named(run.team),
            "occurred_at": iso(delivery.occurred_at),
            "count": 1,
        }

    @property
    def _tells_parameters(self) -> bool:
        """Whether they have to be read: they may be large."""
        return self.policy is not None and "parameters" in self.policy.message

    def _took(self) -> float | None:
        return seconds_between(self.start_time, self.delivery.occurred_at)

    def _running_long(self) -> str:
        since = f", since {clock(self.start_time, self.zone)}" if self.start_time else ""
        usual = usual_words(self.run)
        after = f"; usually it takes {usual}" if usual else ""
        return f"has been running for {duration(self._took())}{since}{after}"

    def _after_what(self) -> str:
        """`, after 3 failed runs since …`; of a run that failed before itself, on which attempt."""
        times = failures_before(self.run, _PREDECESSORS)
        if not times:
            attempt = self.delivery.attempt
            return f", on attempt {attempt}" if attempt > 1 else ""
        atleast = "at least " if len(times) == _PREDECESSORS else ""
        return f", after {atleast}{several(len(times), 'failed run')} since {clock(times[-1], self.zone)}"


def named(row: Any) -> dict[str, str]:
    """Return a row's id and name, for programs."""
    return {"id": str(row.pk), "name": row.name}
