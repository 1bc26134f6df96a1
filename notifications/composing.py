"""What a message says: about one event, in the words of its policy, or about several that were gathered."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from functools import cached_property
from typing import Any, Final
from uuid import UUID
from zoneinfo import ZoneInfo

from django.conf import settings
from django.utils import timezone

from flows.models import Deployment, Flow
from notifications import excerpts, links, templating
from notifications.content import Content, Item
from notifications.events import OF_ENDING, Event
from notifications.models import Delivery, Destination, Message, Policy
from notifications.templating import Named
from orchestrator.sdk.ids import uuid7
from orchestrator.sdk.states import FINAL, StateType
from runs.models import Attempt, FlowRun
from runs.presentation import duration, seconds_between, several
from runs.reads import BROKEN, usual_words

DEFAULT_MESSAGE: Final = (
    "The {{ flow_run.name }} run of the {{ flow.name }} flow entered a {{ state }} state at {{ time }}"
    "{% if reason %}\n\n{{ reason }}{% endif %}"
)
MAX_ITEMS: Final = 10
TEST: Final = "TEST"
_PREDECESSORS: Final = 100
_TONES: Final[dict[str, Any]] = {
    Event.FAILED: "bad",
    Event.CRASHED: "bad",
    Event.CANCELLED: "neutral",
    Event.COMPLETED: "good",
    Event.RECOVERED: "good",
    Event.LONG_RUNNING: "warning",
}
# “37 runs …”, and in the title of one: “fuzzy-leopard of new-thing …”
_VERBS: Final = {
    Event.FAILED: "failed",
    Event.CRASHED: "crashed",
    Event.CANCELLED: "were cancelled",
    Event.COMPLETED: "completed",
    Event.RECOVERED: "recovered",
    Event.LONG_RUNNING: "are running long",
}
_TITLE_VERBS: Final = {**_VERBS, Event.CANCELLED: "was cancelled", Event.LONG_RUNNING: "is running long"}
_COLUMNS: Final = (
    "name", "tags", "start_time", "expected_start", "state_type", "team__name", "flow__name", "deployment__name",
)  # fmt: skip
_TYPES: Final = {
    **{event: type_ for type_, event in OF_ENDING.items()},
    Event.RECOVERED: StateType.COMPLETED,
    Event.LONG_RUNNING: StateType.RUNNING,
}


def of_delivery(delivery: Delivery, id: UUID | None = None) -> Content:
    """Return the message about one event, at most seven queries.

    The policy's own text, where it has one; should that fail on this run, the usual one with a line that says so.

    Args:
        delivery: It need not be saved.
        id: The message's id; a new one by default.
    """
    told = _Told(delivery)
    event = Event(delivery.event)
    return Content(
        id=str(id or uuid7()),
        event=event.value,
        tone=_TONES[event],
        title=excerpts.line(f"{told.run.name} of {told.run.flow.name} {_TITLE_VERBS[event]}", 200),
        text=_text(told),
        time=_iso(delivery.occurred_at),
        log_lines=told.log_lines,
        url=told.url,
        url_label="Open the run" if told.url else "",
        data=told.data(),
    )


def of_several(deliveries: Iterable[Delivery], kind: str, id: UUID | None = None) -> Content:
    """Return the message about events of one policy that were gathered; at most five queries, however many they are.

    Args:
        deliveries: In any order; one alone is told as one.
        kind: Of `Message.Kind`: BURST, or REPEAT for failures of one deployment or flow.
        id: The message's id; a new one by default.
    """
    gathered = sorted(deliveries, key=lambda delivery: (delivery.occurred_at, delivery.id))
    if len(gathered) == 1:
        return of_delivery(gathered[0], id)
    group = _Group(gathered)
    is_repeat = kind == Message.Kind.REPEAT and len(group.subjects) == 1
    title, text = _repeat(group) if is_repeat else _burst(group)
    return Content(
        id=str(id or uuid7()),
        event=group.event.value,
        tone=_TONES[group.event],
        title=excerpts.line(title, 200),
        text=text,
        time=_iso(group.last.occurred_at),
        items=[] if is_repeat else group.items(),
        url=group.url,
        url_label="Open the runs" if group.url else "",
        data=group.data(),
    )


def test_content(destination: Destination) -> Content:
    """Return what “Send a test” sends to a destination."""
    return _test_of(destination, f"This is a test of “{destination.name}”. Messages about runs will arrive here.")


def sample_content(policy: Policy, destination: Destination) -> Content:
    """Return the test of a policy for which there is no run yet: its text on a run that there might have been."""
    note = f"(This is a test of the policy “{policy.name}” to “{destination.name}”; there was no such run.)"
    return _test_of(destination, f"{_sample(policy)}\n\n{note}", policy)


def _test_of(destination: Destination, text: str, policy: Policy | None = None) -> Content:
    url = links.to_notifications()
    return Content(
        id=str(uuid7()),
        event=TEST,
        tone="neutral",
        title="Test: messages arrive here",
        text=text,
        time=_iso(timezone.now()),
        url=url,
        url_label="Open the notifications" if url else "",
        data={"destination": _named(destination), "policy": policy and _named(policy), "count": 1},
    )


def test_content_of_run(policy: Policy, run: FlowRun) -> Content:
    """Return what a policy would say about a run, marked as a test."""
    content = preview(policy, run)
    return Content(
        id=str(uuid7()),
        event=TEST,
        tone=content.tone,
        title=excerpts.line(f"Test: {content.title}", 200),
        text=f"{content.text}\n\n(This is a test of the policy “{policy.name}”.)",
        time=content.time,
        log_lines=content.log_lines,
        url=content.url,
        url_label=content.url_label,
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
        return Content(
            id=str(uuid7()),
            event=_first_event(policy).value,
            tone=_TONES[_first_event(policy)],
            title=f"fuzzy-leopard of new-thing {_TITLE_VERBS[_first_event(policy)]}",
            text=_sample(policy),
            time=_iso(timezone.now()),
            log_lines=templating.sample_context()["log_lines"][: policy.log_lines],
        )
    event = event_of(policy, run)
    return of_delivery(
        Delivery(
            team_id=run.team_id,
            policy=policy,
            flow_run=run,
            attempt=max(run.attempt, 1),
            event=event,
            occurred_at=(run.end_time if run.is_final else None) or timezone.now(),
            state_name=run.state_name,
            reason=run.state_message[: excerpts.MAX_REASON],
            subject=run.deployment_id or run.flow_id,
        )
    )


def event_of(policy: Policy, run: FlowRun) -> Event:
    """Return the event that a policy would tell of a run as it is now; its first one where none fits."""
    fitting = OF_ENDING.get(StateType(run.state_type), Event.LONG_RUNNING)
    if fitting == Event.COMPLETED and Event.RECOVERED in policy.events:
        fitting = Event.RECOVERED
    return fitting if fitting in policy.events else _first_event(policy)


def clock(moment: datetime, zone: tzinfo) -> str:
    """Return a time as messages tell it, with its zone's abbreviation at that instant: `2022-06-27 16:21:37 EDT`."""
    local = moment.astimezone(zone)
    return f"{local:%Y-%m-%d %H:%M:%S} {_abbreviation(local)}"


def zone_of(policy: Policy | None) -> ZoneInfo:
    """Return the zone in which a policy tells times: its own, else the server's."""
    return ZoneInfo((policy and policy.timezone) or settings.TIME_ZONE)


class _Told:
    """An event, with what is said of its run; each part is read when it is first asked for."""

    def __init__(self, delivery: Delivery) -> None:
        self.delivery = delivery
        self.policy: Policy | None = delivery.policy
        self.event = Event(delivery.event)
        self.zone = zone_of(self.policy)
        self.reason = excerpts.reason(delivery.reason)

    @cached_property
    def run(self) -> FlowRun:
        """The run as it is now, with only the columns that are told."""
        heavy = ["parameters"] if self._wants_parameters else []
        return (
            FlowRun.objects.select_related("flow", "deployment", "team")
            .only(*_COLUMNS, *heavy)
            .get(pk=self.delivery.flow_run_id)
        )

    @cached_property
    def start_time(self) -> datetime | None:
        """When the attempt began."""
        if self.delivery.attempt <= 1:
            return self.run.start_time
        found = Attempt.objects.filter(flow_run=self.delivery.flow_run_id, number=self.delivery.attempt)
        return found.values_list("start_time", flat=True).first()

    @cached_property
    def log_lines(self) -> list[str]:
        most = self.policy.log_lines if self.policy else 0
        delivery = self.delivery
        return excerpts.last_log_lines(delivery.flow_run_id, delivery.attempt, most, delivery.occurred_at, self.zone)

    @property
    def url(self) -> str:
        return links.to_run(self.delivery.flow_run_id)

    @property
    def time(self) -> str:
        return clock(self.delivery.occurred_at, self.zone)

    def took(self) -> float | None:
        return seconds_between(self.start_time, self.delivery.occurred_at)

    def context(self) -> dict[str, Any]:
        """What its policy's template sees."""
        run, type_ = self.run, _TYPES[self.event]
        deployment = excerpts.line(run.deployment.name) if run.deployment else ""
        flow, name = excerpts.line(run.flow.name), excerpts.line(run.name)
        policy, team = self.policy.name if self.policy else "", run.team.name
        return {
            "flow_run": Named(
                name,
                name=name,
                id=str(run.pk),
                url=self.url,
                attempt=self.delivery.attempt,
                tags=excerpts.bounded(run.tags),
                parameters=excerpts.bounded(run.parameters) if self._wants_parameters else {},
                start_time=clock(self.start_time, self.zone) if self.start_time else "",
                duration=duration(self.took()),
            ),
            "flow": Named(flow, name=flow),
            "deployment": Named(deployment, name=deployment),
            "state": Named(type_.lower(), type=type_.value, name=self.delivery.state_name, message=self.reason),
            "event": self.event.label,
            "reason": self.reason,
            "time": self.time,
            "timezone": self.zone.key,
            "url": self.url,
            "log_lines": self.log_lines,
            "policy": Named(policy, name=policy),
            "team": Named(team, name=team),
        }

    @property
    def _wants_parameters(self) -> bool:
        return self.policy is not None and "parameters" in self.policy.message

    def data(self) -> dict[str, Any]:
        """What programs want to know."""
        run, delivery = self.run, self.delivery
        return {
            "flow_run": {
                **_named(run),
                "url": self.url,
                "attempt": delivery.attempt,
                "tags": run.tags,
                "start_time": self.start_time and _iso(self.start_time),
            },
            "flow": _named(run.flow),
            "deployment": run.deployment and _named(run.deployment),
            "state": {"type": _TYPES[self.event].value, "name": delivery.state_name, "message": self.reason},
            "policy": self.policy and _named(self.policy),
            "team": run.team.name,
            "occurred_at": _iso(delivery.occurred_at),
            "count": 1,
        }


def _text(told: _Told) -> str:
    source = told.policy.message if told.policy else ""
    if not source:
        return _usual_text(told)
    try:
        return excerpts.plain(templating.render(source, told.context()), templating.MAX_OUTPUT)
    except templating.TemplateError as error:
        return f"{_usual_text(told)}\n\n(The policy's own text could not be used here: {error}.)"


def _usual_text(told: _Told) -> str:
    run = told.run
    subject = f"The {excerpts.line(run.name)} run of the {excerpts.line(run.flow.name)} flow"
    if told.event == Event.LONG_RUNNING:
        return f"{subject} {_running_long(told)}"
    if told.event == Event.RECOVERED:
        return f"{subject} completed at {told.time}{_after_what(told)}"
    first = f"{subject} entered a {_TYPES[told.event].lower()} state at {told.time}"
    return f"{first}\n{told.reason}" if told.reason else first


def _running_long(told: _Told) -> str:
    since = f", since {clock(told.start_time, told.zone)}" if told.start_time else ""
    usual = usual_words(told.run)
    return f"has been running for {duration(told.took())}{since}" + (f"; usually it takes {usual}" if usual else "")


def _after_what(told: _Told) -> str:
    """`, after 3 failed runs since …`; of a run that was retried, `, on attempt 2` (one query)."""
    run = told.run
    same = {"deployment": run.deployment_id} if run.deployment_id else {"flow": run.flow_id, "deployment": None}
    before = (
        FlowRun.objects.filter(**same, expected_start__lte=run.expected_start, state_type__in=sorted(FINAL))
        .exclude(state_type=StateType.CANCELLED)
        .exclude(pk=run.pk)
        .newest_first()
        .values_list("state_type", "state_time")[:_PREDECESSORS]
    )
    times = []
    for type_, time in before:
        if type_ not in BROKEN:
            break
        times.append(time)
    if times:
        number = (
            f"at least {_PREDECESSORS} failed runs"
            if len(times) == _PREDECESSORS
            else several(len(times), "failed run")
        )
        return f", after {number} since {clock(min(times), told.zone)}"
    return f", on attempt {told.delivery.attempt}" if told.delivery.attempt > 1 else ""


@dataclass(frozen=True, slots=True)
class _Subject:
    """The deployment or flow that events are of."""

    id: UUID
    name: str
    kind: str  #: "deployment" or "flow"; empty for one that was deleted

    @property
    def words(self) -> str:
        """`The etl/nightly deployment`."""
        return f"The {self.name} {self.kind}" if self.kind else "A deployment that was deleted"


class _Group:
    """Events that were gathered, oldest first, with counts."""

    def __init__(self, deliveries: Sequence[Delivery]) -> None:
        self.deliveries = deliveries
        self.policy: Policy | None = deliveries[0].policy
        self.zone = zone_of(self.policy)
        self.first, self.last = deliveries[0], deliveries[-1]
        self.events = Counter(delivery.event for delivery in deliveries)
        self.subjects = Counter(delivery.subject for delivery in deliveries)

    @property
    def event(self) -> Event:
        """The one that is most alarming: it gives the message its colour."""
        return next(event for event in (*BROKEN_FIRST, *Event) if event in self.events)

    @cached_property
    def named(self) -> list[_Subject]:
        """The most frequent subjects, at most `MAX_ITEMS` (two queries)."""
        ids = [id for id, _ in self.subjects.most_common(MAX_ITEMS)]
        found = {
            row.pk: _Subject(row.pk, excerpts.line(row.full_name, 200), "deployment")
            for row in Deployment.objects.filter(pk__in=ids).select_related("flow").only("name", "flow__name")
        }
        if rest := [id for id in ids if id not in found]:
            flows = Flow.objects.filter(pk__in=rest).only("name")
            found |= {row.pk: _Subject(row.pk, excerpts.line(row.name, 200), "flow") for row in flows}
        return [found.get(id) or _Subject(id, "deleted", "") for id in ids]

    @cached_property
    def url(self) -> str:
        only = self.named[0] if len(self.subjects) == 1 else None
        return self._runs_of(only) if only else links.to_runs(self.events)

    @property
    def span(self) -> str:
        """`between 14:02 and 14:03 UTC`."""
        return _span(self.first.occurred_at, self.last.occurred_at, self.zone)

    def items(self) -> list[Item]:
        """A line for each of the most frequent subjects; the last stands for the rest."""
        shown = self.named if len(self.subjects) <= MAX_ITEMS else self.named[: MAX_ITEMS - 1]
        items = [Item(text=one.name, count=self.subjects[one.id], url=self._runs_of(one)) for one in shown]
        if rest := len(self.subjects) - len(shown):
            counted = len(self.deliveries) - sum(item.count for item in items)
            items.append(Item(text=f"{rest} others", count=counted, url=links.to_runs(self.events)))
        return items

    def data(self) -> dict[str, Any]:
        """What programs want to know."""
        return {
            "count": len(self.deliveries),
            "events": dict(self.events),
            "subjects": [
                {"kind": one.kind, "id": str(one.id), "name": one.name, "count": self.subjects[one.id]}
                for one in self.named
            ],
            "policy": self.policy and _named(self.policy),
            "first_at": _iso(self.first.occurred_at),
            "last_at": _iso(self.last.occurred_at),
        }

    def _runs_of(self, subject: _Subject) -> str:
        return links.to_runs(self.events, **({subject.kind: subject.id} if subject.kind else {}))


BROKEN_FIRST: Final = (Event.CRASHED, Event.FAILED, Event.LONG_RUNNING)


def _burst(group: _Group) -> tuple[str, str]:
    """`37 runs failed between 14:02 and 14:03 UTC`, as title and text."""
    total = len(group.deliveries)
    if len(group.events) == 1:
        title = f"{total:,} runs {_VERBS[group.event]}"
        return title, f"{title} {group.span}."
    parts = [f"{number:,} {_VERBS[Event(event)]}" for event, number in group.events.most_common()]
    listed = f"{', '.join(parts[:-1])} and {parts[-1]}"
    return f"{total:,} runs: {listed}", f"{several(total, 'run')} {group.span}: {listed}."


def _repeat(group: _Group) -> tuple[str, str]:
    """`The etl/nightly deployment failed 59 more times between … and …`, as title and text (one query)."""
    subject, total = group.named[0], len(group.deliveries)
    verbs = " or ".join(_VERBS[event] for event in Event if event in group.events)
    title = f"{subject.words} {verbs} {total:,} more times"
    text = f"{title} {group.span}{_completed_last(group, subject)}."
    last = excerpts.reason(group.last.reason)
    return title, f"{text}\nThe last time: {last}" if last else text


def _completed_last(group: _Group, subject: _Subject) -> str:
    if not subject.kind:
        return ""
    completed = FlowRun.objects.filter(**{subject.kind: subject.id}, state_type=StateType.COMPLETED)
    time = completed.newest_first().values_list("state_time", flat=True).first()
    if time is None:
        return "; it has never completed"
    if time > group.first.occurred_at:
        return f"; it completed at {clock(time, group.zone)}"
    return f"; it has not completed since {clock(time, group.zone)}"


def _span(first: datetime, last: datetime, zone: tzinfo) -> str:
    begin, end = first.astimezone(zone), last.astimezone(zone)
    form = "%H:%M" if begin.date() == end.date() else "%Y-%m-%d %H:%M"
    if (words := begin.strftime(form)) == end.strftime(form):
        return f"at {words} {_abbreviation(end)}"
    other = "" if _abbreviation(begin) == _abbreviation(end) else f" {_abbreviation(begin)}"
    return f"between {words}{other} and {end.strftime(form)} {_abbreviation(end)}"


def _sample(policy: Policy) -> str:
    """The policy's text on a run that there might have been."""
    context = templating.sample_context()
    if policy.message:
        return templating.render(policy.message, context)
    return templating.render(DEFAULT_MESSAGE, context)


def _first_event(policy: Policy) -> Event:
    return next((event for event in Event if event in policy.events), Event.FAILED)


def _named(row: Any) -> dict[str, str]:
    return {"id": str(row.pk), "name": row.name}


def _abbreviation(local: datetime) -> str:
    """`EDT`; a zone that has only numbers (`-03`) is told as `UTC-03`."""
    name = local.tzname() or ""
    return f"UTC{name}" if name[:1] in {"+", "-"} else name


def _iso(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
