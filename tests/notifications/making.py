"""Makes what notification tests need: runs that ended, destinations, policies, deliveries."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import count
from typing import Any

from django.utils import timezone

from flows.models import Deployment, Flow, WorkQueue
from notifications.events import DEFAULT_EVENTS, Event
from notifications.models import Delivery, Destination, Policy, Subscription
from notifications.transports import transport
from orchestrator.encryption import Secret
from orchestrator.sdk.states import FINAL, StateType
from runs.models import Attempt, FlowRun
from teams.models import Team


@dataclass(slots=True)
class Make:
    """A team and its things; each call makes one row, with sensible values for what is not said."""

    team: Team
    address: str = ""  #: of destinations that name none
    _numbers: Any = field(default_factory=lambda: count(1))

    def flow(self, name: str = "new-thing") -> Flow:
        """The team's flow of this name."""
        return Flow.objects.get_or_create(team=self.team, slug=name.replace("_", "-"), defaults={"name": name})[0]

    def deployment(self, name: str = "nightly", flow: Flow | None = None, **fields: Any) -> Deployment:
        """The flow's deployment of this name."""
        wanted = {"name": name, "entrypoint": "etl.py:etl", "queue": WorkQueue.default(self.team), **fields}
        flow = flow or self.flow()
        found = Deployment.objects.filter(flow=flow, name=name).first()
        return found or Deployment.objects.create(team=self.team, flow=flow, **wanted)

    def run(self, state: StateType = StateType.FAILED, **fields: Any) -> FlowRun:
        """A run whose only attempt ended in this state, after 90 s; with `ended`, then."""
        return self.runs(1, state, **fields)[0]

    def runs(
        self,
        number: int,
        state: StateType = StateType.FAILED,
        *,
        ended: datetime | None = None,
        message: str = "boom",
        **fields: Any,
    ) -> list[FlowRun]:
        """So many of them."""
        deployment = fields.get("deployment")
        ended = ended or timezone.now()
        began = ended - timedelta(seconds=90)
        values = {
            "team": self.team,
            "flow": deployment.flow if deployment else self.flow(),
            "state_type": state,
            "state_name": state.value.capitalize(),
            "state_message": message,
            "state_time": ended,
            "attempt": 1,
            "expected_start": began,
            "start_time": began,
            "end_time": ended if state in FINAL else None,
            **fields,
        }
        names = (f"fuzzy-leopard-{next(self._numbers)}" for _ in range(number))
        runs = FlowRun.objects.bulk_create(FlowRun(**{"name": name, **values}) for name in names)
        Attempt.objects.bulk_create(
            Attempt(
                flow_run=run, number=run.attempt, state_type=state, state_name=run.state_name, created_at=began,
                start_time=began, end_time=run.end_time,
            )
            for run in runs
        )  # fmt: skip
        return runs

    def destination(self, address: str = "", kind: str = "plain", secret: str = "", **fields: Any) -> Destination:
        """A destination of a kind; "plain" posts the content as JSON (tests.notifications.receiving)."""
        sender = transport(kind)
        config = sender.parse(address or self.address, secret)
        values = {
            "team": self.team,
            "name": f"{kind}-{next(self._numbers)}",
            "kind": kind,
            "config": Secret.of(config),
            "summary": sender.summary(config)[:200],
            **fields,
        }
        return Destination.objects.create(**values)

    def policy(self, *destinations: Destination, **fields: Any) -> Policy:
        """A policy on failures that tells these destinations."""
        values = {
            "team": self.team,
            "name": f"policy-{next(self._numbers)}",
            "events": list(DEFAULT_EVENTS),
            **fields,
        }
        policy = Policy.objects.create(**values)
        Subscription.objects.bulk_create(
            Subscription(policy=policy, destination=destination) for destination in destinations
        )
        return policy

    def delivery(self, policy: Policy, destination: Destination, run: FlowRun | None = None, **fields: Any) -> Delivery:
        """A delivery that is due, of a run (made where none is given)."""
        return self.deliveries(policy, destination, 1, run, **fields)[0]

    def deliveries(
        self, policy: Policy, destination: Destination, number: int, run: FlowRun | None = None, **fields: Any
    ) -> list[Delivery]:
        """So many deliveries that are due (with `at`, then), of runs that are made unless one is given."""
        deployment, at = fields.pop("deployment", None), fields.pop("at", None) or timezone.now()
        runs = [run] * number if run else self.runs(number, deployment=deployment, ended=at)
        return Delivery.objects.bulk_create(
            Delivery(
                **{
                    "team": self.team, "policy": policy, "destination": destination, "flow_run": of,
                    "attempt": of.attempt, "event": Event.FAILED, "occurred_at": at, "state_name": of.state_name,
                    "reason": of.state_message, "subject": of.deployment_id or of.flow_id, "due_at": at, **fields,
                }
            )
            for of in runs
        )  # fmt: skip
