"""What a message says: about one event, in the words of its policy; previews and tests.

About several events that were gathered: `notifications.grouping`.
"""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

import msgspec
from django.utils import timezone

from notifications import excerpts, links, templating, wording
from notifications.content import Content
from notifications.events import OF_ENDING, Event
from notifications.grouping import of_group
from notifications.models import Delivery, Destination, Policy
from notifications.predecessors import has_recovered
from notifications.telling import Told, named
from notifications.templating import Named
from notifications.times import clock, iso, zone
from orchestrator.sdk.ids import uuid7
from orchestrator.sdk.states import StateType
from runs.models import FlowRun

#: The usual text of an event that ended a run, as somebody would write it who begins with it.
DEFAULT_MESSAGE: Final = (
    "The {{ flow_run.name }} run of the {{ flow.name }} flow entered a {{ state }} state at {{ time }}\n{{ reason }}"
)
TEST: Final = "TEST"
_SAMPLE_TIME: Final = datetime(2022, 6, 27, 20, 21, 37, tzinfo=UTC)


def of_delivery(delivery: Delivery, id: UUID | None = None) -> Content:
    """Return the message about one event, in at most six queries.

    The policy's own text, where it has one; should that fail on this run, the usual one with a line that says so.

    Args:
        delivery: It need not be saved.
        id: The message's id; a new one by default.
    """
    told = Told(delivery)
    return Content(
        id=str(id or uuid7()),
        event=told.event.value,
        tone=wording.TONES[told.event],
        title=told.title(),
        text=_text(told),
        time=iso(delivery.occurred_at),
        log_lines=told.log_lines,
        url=told.url,
        url_label="Open the run" if told.url else "",
        data=told.data(),
    )


def of_several(deliveries: Iterable[Delivery], kind: str, id: UUID | None = None) -> Content:
    """Return the message about events of one policy that were gathered, in at most six queries however many they are.

    Args:
        deliveries: Delivery rows, in any order; one alone is told as one.
        kind: Of `Message.Kind`: BURST, or REPEAT for failures of one deployment or flow.
        id: The message's id; a new one by default.
    """
    gathered = sorted(deliveries, key=lambda delivery: (delivery.occurred_at, delivery.id))
    return of_delivery(gathered[0], id) if len(gathered) == 1 else of_group(gathered, kind, id or uuid7())


def test_content(destination: Destination) -> Content:
    """Return what “Send a test” sends to a destination."""
    return _test_of(destination, f"This is a test of “{destination.name}”. Messages about runs will arrive here.")


def policy_test_content(policy: Policy, destination: Destination, run: FlowRun | None) -> Content:
    """Return what a policy would say about a run, or about one that there might have been, marked as a test."""
    if run is None:
        note = f"(This is a test of the policy “{policy.name}”; it has matched no run yet, so this one is made up.)"
        return _test_of(destination, f"{preview(policy, None).text}\n\n{note}", policy)
    content = preview(policy, run)
    return msgspec.structs.replace(
        content,
        event=TEST,
        title=excerpts.line(f"Test: {content.title}", 200),
        text=f"{content.text}\n\n(This is a test of the policy “{policy.name}”.)",
        data={**content.data, "would_be": content.event},
    )


def preview(policy: Policy, run: FlowRun | None) -> Content:
    """Return what a policy, which may be unsaved, says about a real run, or without one about one that might be.

    A run in a state of which the policy does not tell is told of as the first of its events.

    Raises:
        ValidationError: By `message`: the line and the reason.
    """
    if policy.message:
        templating.check(policy.message)
    if run is None:
        return _sample(policy, _first_event(policy))
    return of_delivery(
        Delivery(
            team_id=run.team_id,
            policy=policy,
            flow_run=run,
            attempt=max(run.attempt, 1),
            event=event_of(policy, run),
            occurred_at=(run.end_time if run.is_final else None) or timezone.now(),
            state_name=run.state_name,
            reason=run.state_message[: excerpts.MAX_REASON],
            subject=run.deployment_id or run.flow_id,
        )
    )


def event_of(policy: Policy, run: FlowRun) -> Event:
    """Return the event that a policy would tell of a run as it is now; its first one where none fits.

    At most three queries, for a completed run.
    """
    fitting = OF_ENDING.get(StateType(run.state_type), Event.LONG_RUNNING)
    if fitting == Event.COMPLETED and Event.RECOVERED in policy.events:
        tells_both = Event.COMPLETED in policy.events
        fitting = Event.RECOVERED if not tells_both or has_recovered(run) else fitting
    return fitting if fitting in policy.events else _first_event(policy)


def _text(told: Told) -> str:
    source = told.policy.message if told.policy else ""
    if not source:
        return told.usual_text()
    try:
        return excerpts.plain(templating.render(source, told.context()), templating.MAX_OUTPUT)
    except templating.TemplateError as error:
        return f"{told.usual_text()}\n\n(The policy's own text could not be used here: {error}.)"


def _first_event(policy: Policy) -> Event:
    return next((event for event in Event if event in policy.events), Event.FAILED)


def _sample(policy: Policy, event: Event) -> Content:
    """What a policy would say of a run that there might have been."""
    context = _sample_context(policy, event)
    run_name, flow_name = context["flow_run"], context["flow"]
    if policy.message:
        text = excerpts.plain(templating.render(policy.message, context), templating.MAX_OUTPUT)
    else:
        text = wording.usual(
            run_name, flow_name, event, context["time"], _sample_more(policy, event), context["reason"]
        )
    return Content(
        id=str(uuid7()),
        event=event.value,
        tone=wording.TONES[event],
        title=wording.title(run_name, flow_name, event),
        text=text,
        time=iso(_SAMPLE_TIME),
        log_lines=context["log_lines"][: policy.log_lines],
    )


def _sample_context(policy: Policy, event: Event) -> dict[str, Any]:
    sample, told_in, type_ = templating.sample_context(), zone(policy.timezone), wording.STATES[event]
    reason = sample["reason"] if wording.TONES[event] == "bad" else wording.SAMPLE_REASONS.get(event, "")
    return {
        **sample,
        "state": Named(type_.lower(), type=type_.value, name=type_.capitalize(), message=reason),
        "event": event.label,
        "reason": reason,
        "time": clock(_SAMPLE_TIME, told_in),
        "timezone": told_in.key,
        "policy": Named(policy.name, name=policy.name),
    }


def _sample_more(policy: Policy, event: Event) -> str:
    before = clock(_SAMPLE_TIME - timedelta(minutes=45), zone(policy.timezone))
    if event == Event.RECOVERED:
        return f", after 3 failed runs since {before}"
    return f"has been running for 45 m, since {before}; usually it takes 10 to 12 m"


def _test_of(destination: Destination, text: str, policy: Policy | None = None) -> Content:
    url = links.to_notifications()
    return Content(
        id=str(uuid7()),
        event=TEST,
        tone="neutral",
        title="Test: messages arrive here",
        text=text,
        time=iso(timezone.now()),
        url=url,
        url_label="Open the notifications" if url else "",
        data={"destination": named(destination), "policy": policy and named(policy), "count": 1},
    )
