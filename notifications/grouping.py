"""The message about several events that were gathered: a burst, or the failures of one schedule in an hour."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final
from uuid import UUID

from flows.models import Deployment, Flow
from notifications import excerpts, links
from notifications.content import Content, Item
from notifications.events import Event
from notifications.models import Delivery, Message, Policy
from notifications.telling import named
from notifications.times import clock, iso, span, zone
from notifications.wording import ALARMING, TONES, verb
from orchestrator.sdk.states import StateType
from runs.models import FlowRun

MAX_ITEMS: Final = 10
_NAME: Final = 200


def of_group(deliveries: Sequence[Delivery], kind: str, id: UUID) -> Content:
    """Return the message about several events of one policy, in at most five queries however many they are.

    Args:
        deliveries: Two or more, oldest first.
        kind: Of `Message.Kind`. Repeats of more than one deployment or flow are told as a burst.
        id: The message's id.
    """
    group = _Group(deliveries)
    is_repeat = kind == Message.Kind.REPEAT and len(group.subjects) == 1
    title, text = _repeat(group) if is_repeat else _burst(group)
    return Content(
        id=str(id),
        event=group.event.value,
        tone=TONES[group.event],
        title=excerpts.line(title, _NAME),
        text=text,
        time=iso(group.last.occurred_at),
        items=[] if is_repeat else group.items(),
        url=group.url,
        url_label="Open the runs" if group.url else "",
        data=group.data(),
    )


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
        self.total = len(deliveries)
        self.first, self.last = deliveries[0], deliveries[-1]
        self.policy: Policy | None = self.first.policy
        self.zone = zone(self.policy.timezone if self.policy else "")
        self.events = Counter(Event(delivery.event) for delivery in deliveries)
        self.subjects = Counter(delivery.subject for delivery in deliveries)
        self.event = next(event for event in ALARMING if event in self.events)

    @cached_property
    def named(self) -> list[_Subject]:
        """The most frequent subjects, at most `MAX_ITEMS` (two queries)."""
        ids = [id for id, _ in self.subjects.most_common(MAX_ITEMS)]
        deployments = Deployment.objects.filter(pk__in=ids).select_related("flow").only("name", "flow__name")
        found = {row.pk: _Subject(row.pk, excerpts.line(row.full_name, _NAME), "deployment") for row in deployments}
        if rest := [id for id in ids if id not in found]:
            flows = Flow.objects.filter(pk__in=rest).only("name")
            found |= {row.pk: _Subject(row.pk, excerpts.line(row.name, _NAME), "flow") for row in flows}
        return [found.get(id) or _Subject(id, "a deployment that was deleted", "") for id in ids]

    @cached_property
    def url(self) -> str:
        """The list of the runs in these states, of the one deployment or flow if there is only one."""
        return self._runs_of(self.named[0]) if len(self.subjects) == 1 else links.to_runs(self.events)

    @property
    def span(self) -> str:
        """`between 14:02 and 14:03 UTC`."""
        return span(self.first.occurred_at, self.last.occurred_at, self.zone)

    def items(self) -> list[Item]:
        """A line for each of the most frequent subjects; the last stands for the rest."""
        shown = self.named if len(self.subjects) <= MAX_ITEMS else self.named[: MAX_ITEMS - 1]
        items = [Item(text=one.name, count=self.subjects[one.id], url=self._runs_of(one)) for one in shown]
        if rest := len(self.subjects) - len(shown):
            count = self.total - sum(item.count for item in items)
            items.append(Item(text=f"{rest:,} others", count=count, url=links.to_runs(self.events)))
        return items

    def data(self) -> dict[str, Any]:
        """What programs want to know (one query)."""
        return {
            "count": self.total,
            "events": {event.value: number for event, number in self.events.items()},
            "subjects": [
                {"kind": one.kind, "id": str(one.id), "name": one.name, "count": self.subjects[one.id]}
                for one in self.named
            ],
            "policy": self.policy and named(self.policy),
            "team": named(self.first.team),
            "first_at": iso(self.first.occurred_at),
            "last_at": iso(self.last.occurred_at),
        }

    def _runs_of(self, subject: _Subject) -> str:
        return links.to_runs(self.events, **({subject.kind: subject.id} if subject.kind else {}))


def _burst(group: _Group) -> tuple[str, str]:
    """`37 runs failed between 14:02 and 14:03 UTC`, as title and text."""
    if len(group.events) == 1:
        title = f"{group.total:,} runs {verb(group.event, group.total)}"
        text = f"{title} {group.span}"
    else:
        parts = [f"{number:,} {verb(event, number)}" for event, number in group.events.most_common()]
        listed = f"{', '.join(parts[:-1])} and {parts[-1]}"
        title = f"{group.total:,} runs: {listed}"
        text = f"{group.total:,} runs {group.span}: {listed}"
    if group.policy is not None:
        text += f"\nThe policy “{group.policy.name}” puts what exceeds {group.policy.burst_limit:,} a minute together."
    return title, text


def _repeat(group: _Group) -> tuple[str, str]:
    """`The etl/nightly deployment failed 59 more times between … and …`, as title and text (one query)."""
    subject = group.named[0]
    verbs = " or ".join(verb(event) for event in Event if event in group.events)
    title = f"{subject.words} {verbs} {group.total:,} more times"
    text = f"{title} {group.span}{_completed_last(group, subject)}"
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
