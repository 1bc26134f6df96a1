"""What a team is told, for looking at the pages of notifications: beside the rows of `sample`."""

from datetime import timedelta
from typing import Any

from django.utils import timezone

from notifications.content import Content, Item, to_json
from notifications.events import Event
from notifications.models import Delivery, Message, Mute
from notifications.views.examples import LOOKED_AT
from orchestrator.sdk.states import StateType
from runs.models import FlowRun
from teams.models import Team
from tests.notifications.making import Make

SLACK = "https://hooks.slack.com/services/T0AAAAAAA/B0BBBBBBB/CCCCCCCCCCCCCCCCCCCCCCCC"


def told(team: Team) -> dict[str, Any]:
    """One of each: a destination that works, fails, gave up; a delivery of each status; a mute."""
    make, now = Make(team), timezone.now()
    runs = make.runs(6, message="OperationalError: connection timed out", ended=now - timedelta(minutes=7))
    alerts = make.destination(SLACK, "slack", name="#data-alerts", last_answer="200 ok", last_answer_at=now)
    hook = make.destination("https://ops.example.com/hook", "webhook", name="ops-hook", secret="whsec_" + "A" * 32)
    failing = make.destination(
        "https://chat.example.com/x", "slack", name="flaky", failures=3, failing_since=now - timedelta(minutes=3),
        retry_at=now + timedelta(minutes=4), last_answer="503 Service Unavailable", last_answer_at=now,
    )  # fmt: skip
    gone = make.destination(
        SLACK.replace("A", "Z"), "slack", name="gone", failures=9, gave_up=True, paused_at=now - timedelta(hours=2),
        failing_since=now - timedelta(hours=3), last_answer="404 no_service", last_answer_at=now,
    )  # fmt: skip
    policy = make.policy(
        alerts, hook, name="Failures of new things", flows=["new-*"], message="{{ flow_run.name }} is down"
    )
    other = make.policy(
        failing, gone, name="Everything", events=[Event.FAILED, Event.RECOVERED, Event.LONG_RUNNING], tags=["warehouse"]
    )
    make.policy(hook, name="Long ones", events=[Event.LONG_RUNNING], paused=True, long_running_seconds=900)
    sent = _delivery(make, policy, alerts, runs[0], Message.State.SENT, "200 ok")
    refused = _delivery(make, policy, hook, runs[1], Message.State.FAILED, "410 Gone")
    waiting = _delivery(make, other, failing, runs[2], Message.State.WAITING, "503 Service Unavailable")
    gathered = _burst(make, policy, alerts, make.runs(37, ended=now - timedelta(minutes=5)))
    held = make.delivery(policy, alerts, runs[3], at=now + timedelta(minutes=4), held_for=Delivery.Held.BURST)
    muted = make.delivery(policy, alerts, runs[4], muted=True)
    Delivery.objects.filter(id=muted.id).update(due_at=None)
    make.delivery(other, gone, runs[5], event=Event.RECOVERED, at=now - timedelta(minutes=9))
    return {
        "alerts": alerts, "hook": hook, "failing": failing, "gone": gone, "policy": policy, "other": other,
        "sent": sent,
        "refused": refused, "waiting": waiting, "gathered": gathered, "held": held, "muted": muted, "run": runs[0],
    }  # fmt: skip


def overfull(team: Team) -> dict[str, Any]:
    """60 policies with names and patterns as long as they may be, as many destinations, reasons of 2,000 characters."""
    make = Make(team)
    long = "a_name_whose_author_wanted_to_say_everything_about_it_and_then_some_more_because_names_are_free_"
    reason = "ValueError: " + "x" * 600 + " words and words" * 90
    [run] = make.runs(1, message=reason * 500, name=(long * 2)[:200], flow=make.flow((long * 2)[:199]))
    destinations = [
        make.destination(
            f"https://{'a' * 60}.example.com/{index}", "slack", name=f"{index:02d} {long}"[:100], summary="s" * 200,
            failures=index % 2, failing_since=timezone.now(), last_answer="500 " + "<html>" * 80,
        )
        for index in range(60)
    ]  # fmt: skip
    for index in range(60):
        some = destinations[index : index + 9]
        patterns = [f"{long}{number}-*"[:199] for number in range(9)]
        policy = make.policy(
            *some, name=f"{index:02d}{long * 2}"[:100], events=list(Event), flows=patterns, tags=[long]
        )
        make.delivery(policy, some[0], run, reason=reason[:2000])
    for index in range(80):
        make.flow(f"{long}{index}"[:199])
    last = _delivery(
        make, policy, destinations[0], run, Message.State.FAILED, "500 " + "<html>" * 80, text="word " * 799
    )
    return {"long_policy": policy, "long_destination": destinations[0], "long": last, "long_run": run}


def mute(deployment: Any, user: Any, hours: float = 2) -> Mute:
    """Mute a deployment."""
    until = timezone.now() + timedelta(hours=hours)
    return Mute.objects.create(deployment=deployment, until=until, reason="the warehouse moves", created_by=user)


def failing_runs(team: Team, number: int) -> list[FlowRun]:
    """More runs than a preview looks at."""
    return Make(team).runs(number + LOOKED_AT, StateType.FAILED)


def _delivery(make: Make, policy: Any, destination: Any, run: Any, state: str, answer: str, text: str = "") -> Delivery:
    message = _message(make, policy, destination, state, answer, text or f"The {run.name} run entered a failed state")
    delivery = make.delivery(policy, destination, run, message=message, event=Event.FAILED, attempt=run.attempt + 1)
    Delivery.objects.filter(id=delivery.id).update(due_at=None)
    return delivery


def _burst(make: Make, policy: Any, destination: Any, runs: list[Any]) -> list[Delivery]:
    message = _message(
        make, policy, destination, Message.State.SENT, "200 ok", "37 runs failed",
        items=[Item(text="new-thing", count=37, url="https://orchestrator.example.com/runs/")],
    )  # fmt: skip
    Message.objects.filter(id=message.id).update(kind=Message.Kind.BURST, count=len(runs))
    made = [make.delivery(policy, destination, run, message=message) for run in runs]
    Delivery.objects.filter(message=message).update(due_at=None)
    return made


def _message(
    make: Make, policy: Any, destination: Any, state: str, answer: str, text: str, items: list[Item] | None = None
) -> Message:
    now, ok = timezone.now(), state == Message.State.SENT
    content = Content(
        id="1", event="FAILED", tone="bad", title="A run failed", text=text, time=now.isoformat(),
        log_lines=["12:00:01 Reading", "12:00:02 ERROR no rows"], items=items or [],
        url="https://orchestrator.example.com/runs/1/", url_label="Open the run",
    )  # fmt: skip
    tried = {"at": now.isoformat(), "ok": ok, "text": answer, "seconds": 0.042}
    return Message.objects.create(
        team=make.team, policy=policy, destination=destination, state=state, tries=1, answers=[tried],
        content=to_json(content), sent_at=now if ok else None,
    )  # fmt: skip
