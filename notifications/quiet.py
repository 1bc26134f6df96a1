"""Quiet: what is told at once, and what is held back to be told together. Pure functions over values.

- *Repeats*: when the runs of a schedule keep failing, the first failure is told and what follows is held for an hour
  from then; what was held becomes one message, which begins the next hour. A failure after a success is news, told
  at once; what is held for it joins the summary that is next.
- *Bursts*: under one policy at most `burst_limit` messages a minute go to one destination. What is more is held until
  that minute is over and becomes one message, the first of the next minute.

Nothing that is held is ever dropped. One delivery that was held alone is told as if it had not been.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from notifications.models import Delivery, Message

WINDOW: Final = timedelta(minutes=1)
REPEAT_EVERY: Final = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Waiting:
    """A delivery that is due, as far as the rules look at it."""

    id: UUID
    policy_id: UUID
    subject: UUID
    repeats: bool = False
    held_for: str = ""


@dataclass(frozen=True, slots=True)
class Window:
    """The minute in which a policy's messages to a destination are counted."""

    began_at: datetime | None = None
    messages: int = 0

    @property
    def ends_at(self) -> datetime:
        """When what was held in it is told."""
        assert self.began_at is not None
        return self.began_at + WINDOW

    def at(self, now: datetime) -> "Window":
        """Itself while it lasts, else a new one that begins now."""
        is_over = self.began_at is None or not self.began_at <= now < self.ends_at
        return Window(now, 0) if is_over else self


@dataclass(frozen=True, slots=True)
class Told:
    """Deliveries that become one message."""

    kind: Message.Kind
    deliveries: tuple[Waiting, ...]

    @property
    def policy_id(self) -> UUID:
        """Their policy; messages never mix two."""
        return self.deliveries[0].policy_id


@dataclass(frozen=True, slots=True)
class Hold:
    """Deliveries that are looked at again at a time."""

    held_for: Delivery.Held
    until: datetime
    deliveries: tuple[Waiting, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """What becomes of the deliveries that are due, and the windows as they are then."""

    messages: list[Told] = field(default_factory=list)
    holds: list[Hold] = field(default_factory=list)
    windows: dict[UUID, Window] = field(default_factory=dict)


def plan(
    waiting: Iterable[Waiting],
    *,
    windows: Mapping[UUID, Window],
    limits: Mapping[UUID, int],
    told_at: Mapping[tuple[UUID, UUID], datetime],
    now: datetime,
) -> Plan:
    """Decide about the deliveries to one destination that are due.

    Args:
        waiting: In the order in which they are to be told; what was held comes first in any case.
        windows: By policy, as they were left.
        limits: By policy: how many messages it allows in a window (0 counts as 1, or nothing would ever be told).
        told_at: By (policy, subject): when a failure was last told of, at least for those that repeat.
        now: The time.
    """
    plan, last_told = Plan(), dict(told_at)
    for candidate in _candidates(waiting):
        first = candidate.deliveries[0]
        key = (first.policy_id, first.subject)
        since = last_told.get(key)
        if first.repeats and not first.held_for and since is not None and now < since + REPEAT_EVERY:
            plan.holds.append(Hold(Delivery.Held.REPEAT, since + REPEAT_EVERY, candidate.deliveries))
            continue
        window = plan.windows.get(first.policy_id, windows.get(first.policy_id, Window())).at(now)
        if window.messages >= max(1, limits[first.policy_id]):
            plan.holds.append(Hold(Delivery.Held.BURST, window.ends_at, candidate.deliveries))
            continue
        plan.windows[first.policy_id] = replace(window, messages=window.messages + 1)
        plan.messages.append(candidate)
        last_told.update({(one.policy_id, one.subject): now for one in candidate.deliveries})
    return plan


def _candidates(waiting: Iterable[Waiting]) -> list[Told]:
    """What would be a message each: bursts whose minute is over, repeats whose hour is, and every fresh delivery."""
    bursts: dict[UUID, list[Waiting]] = {}
    repeats: dict[tuple[UUID, UUID], list[Waiting]] = {}
    fresh: list[Told] = []
    for one in waiting:
        if one.held_for == Delivery.Held.BURST:
            bursts.setdefault(one.policy_id, []).append(one)
        elif one.held_for == Delivery.Held.REPEAT:
            repeats.setdefault((one.policy_id, one.subject), []).append(one)
        else:
            fresh.append(Told(Message.Kind.SINGLE, (one,)))
    return [
        *(_together(Message.Kind.BURST, group) for group in bursts.values()),
        *(_together(Message.Kind.REPEAT, group) for group in repeats.values()),
        *fresh,
    ]


def _together(kind: Message.Kind, group: Sequence[Waiting]) -> Told:
    return Told(kind if len(group) > 1 else Message.Kind.SINGLE, tuple(group))
