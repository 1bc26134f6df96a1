"""Makes messages of the deliveries that are due to one destination, under the quiet rules (`notifications.quiet`).

Only the holder of the destination's lease does so, and nobody else decides about the same deliveries meanwhile.
"""

import logging
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from itertools import islice
from typing import Final
from uuid import UUID

from django.db import IntegrityError, InterfaceError, OperationalError, transaction
from django.db.models import QuerySet

from notifications import composing
from notifications.content import Content, to_json
from notifications.events import BROKEN, Event
from notifications.leases import Lease
from notifications.models import Delivery, Message, Policy, Subscription
from notifications.quiet import Plan, Told, Waiting, Window, plan
from orchestrator.sdk.ids import uuid7

MAX_FRESH: Final = 100  # in one go: what is made of them is sent before the next ones are looked at
MAX_HELD: Final = 5_000  # in one message
_CHUNK: Final = 500  # parameters of a query

_log = logging.getLogger(__name__)


def gather(lease: Lease, now: datetime) -> bool:
    """Make the messages of what is due, or hold it; False when nothing is due, or the lease was lost.

    Texts are composed before the transaction that writes everything: it is short, and nothing is written when the
    lease was lost or a policy deleted meanwhile.
    """
    deliveries = _due(lease.destination_id, now)
    if not deliveries:
        return False
    policies = Policy.objects.in_bulk({one.policy_id for one in deliveries.values() if one.policy_id})
    lost = [one.pk for one in deliveries.values() if one.policy_id not in policies]
    Delivery.objects.filter(pk__in=lost).delete()  # their policy was deleted
    for pk in lost:
        del deliveries[pk]
    decided = _decide(lease.destination_id, deliveries.values(), policies, now)
    messages = [(_message(told, deliveries, policies), told) for told in decided.messages]
    try:
        with transaction.atomic():
            if not lease.extend(now):
                return False
            _write(lease.destination_id, messages, decided)
    except IntegrityError:  # a policy was deleted meanwhile; the next look does not find it
        _log.info("What was to be told was deleted while it was gathered")
    return True


def _due(destination_id: UUID, now: datetime) -> dict[UUID, Delivery]:
    """What was held and is due, then the first of the fresh, in the order of their times (two or three queries)."""
    waiting = Delivery.objects.filter(destination=destination_id).order_by("due_at", "id")
    held = list(waiting.filter(due_at__lte=now).exclude(held_for="")[:MAX_HELD])
    fresh = waiting.filter(due_at__lte=now, held_for="")[:MAX_FRESH]
    return {one.pk: one for one in (*held, *_joining(waiting, held, now), *fresh)}


def _joining(waiting: QuerySet[Delivery], held: Collection[Delivery], now: datetime) -> list[Delivery]:
    """Repeats whose hour is not over, of subjects of which a summary is made now: else there would be two an hour."""
    keys = {(one.policy_id, one.subject) for one in held if one.held_for == Delivery.Held.REPEAT}
    if not keys:
        return []
    later = waiting.filter(due_at__gt=now, held_for=Delivery.Held.REPEAT, subject__in={subject for _, subject in keys})
    return [one for one in later[:MAX_HELD] if (one.policy_id, one.subject) in keys]


def _decide(
    destination_id: UUID, deliveries: Collection[Delivery], policies: Mapping[UUID, Policy], now: datetime
) -> Plan:
    """Apply the rules (a query, and one for each failure that repeats)."""
    subscriptions = Subscription.objects.filter(destination=destination_id, policy__in=policies)
    return plan(
        [Waiting(one.pk, one.policy_id, one.subject, one.repeats, one.held_for) for one in deliveries],
        windows={one.policy_id: Window(one.window_began_at, one.window_messages) for one in subscriptions},
        limits={policy.pk: policy.burst_limit for policy in policies.values()},
        told_at=_told_at(destination_id, {(one.policy_id, one.subject) for one in deliveries if one.repeats}),
        now=now,
    )


def _told_at(destination_id: UUID, keys: Iterable[tuple[UUID, UUID]]) -> dict[tuple[UUID, UUID], datetime]:
    """When a message about a failure of each (policy, subject) was last made (a query each, `delivery_subject`)."""
    found = {}
    for policy_id, subject in keys:
        told = Delivery.objects.filter(
            subject=subject, policy=policy_id, destination=destination_id, event__in=BROKEN, message__isnull=False
        )
        made_at = told.order_by("-id").values_list("message__created_at", flat=True).first()
        if made_at is not None:
            found[policy_id, subject] = made_at
    return found


def _message(told: Told, deliveries: Mapping[UUID, Delivery], policies: Mapping[UUID, Policy]) -> Message:
    gathered = [deliveries[one.id] for one in told.deliveries]
    for delivery in gathered:
        delivery.policy = policies[told.policy_id]
    id = uuid7()
    return Message(
        id=id,
        team_id=gathered[0].team_id,
        policy_id=told.policy_id,
        destination_id=gathered[0].destination_id,
        kind=told.kind,
        count=len(gathered),
        content=to_json(_content(gathered, told.kind, id)),
    )


def _content(gathered: list[Delivery], kind: Message.Kind, id: UUID) -> Content:
    """Compose; whatever is wrong with a text or a run, there is a message."""
    try:
        return composing.of_several(gathered, kind, id) if len(gathered) > 1 else composing.of_delivery(gathered[0], id)
    except (OperationalError, InterfaceError):  # the database is away: later
        raise
    except Exception as error:
        _log.exception("The text about the delivery %s could not be composed", gathered[0].pk)
        return _bare(gathered, id, error)


def _bare(gathered: list[Delivery], id: UUID, error: Exception) -> Content:
    """What can always be said."""
    last = gathered[-1]
    label = Event(last.event).label.lower()
    title = f"{len(gathered):,} events, the last: a run {label}" if len(gathered) > 1 else f"A run: {label}"
    why = f"(The usual text could not be made: {type(error).__name__}. The server's log says more.)"
    return Content(
        id=str(id),
        event=last.event,
        tone="bad" if last.event in BROKEN else "neutral",
        title=title,
        text=f"{title}\n{last.reason}\n\n{why}" if last.reason else f"{title}\n\n{why}",
        time=last.occurred_at.isoformat(),
        data={"flow_run": {"id": str(last.flow_run_id)}, "count": len(gathered)},
    )


def _write(destination_id: UUID, messages: list[tuple[Message, Told]], decided: Plan) -> None:
    for message, told in messages:
        message.save(force_insert=True)
        settled = _update(told.deliveries, message=message, due_at=None, held_for="")
        if not settled:  # all of them were deleted meanwhile
            message.delete()
        elif settled < message.count:
            Message.objects.filter(pk=message.pk).update(count=settled)
    for hold in decided.holds:
        _update(hold.deliveries, due_at=hold.until, held_for=hold.held_for)
    for policy_id, window in decided.windows.items():
        Subscription.objects.filter(policy=policy_id, destination=destination_id).update(
            window_began_at=window.began_at, window_messages=window.messages
        )


def _update(deliveries: Iterable[Waiting], **values: object) -> int:
    """Settle or hold deliveries that are not settled; returns how many."""
    ids, changed = iter([one.id for one in deliveries]), 0
    while chunk := list(islice(ids, _CHUNK)):
        changed += Delivery.objects.filter(pk__in=chunk, due_at__isnull=False).update(**values)
    return changed
