"""A destination's lease: at most one thread of one process sends to it at a time."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from django.db.models import Exists, OuterRef, Q, QuerySet
from django.db.models.expressions import RawSQL

from notifications import senders
from notifications.models import Delivery, Destination, Message

LEASE: Final = timedelta(seconds=20)  # renewed before each try, which is shorter (`outgoing.TOTAL_SECONDS`)


@dataclass(frozen=True, slots=True)
class Lease:
    """A destination that this process sends to now."""

    destination_id: UUID
    holder: UUID

    def extend(self, now: datetime) -> bool:
        """Hold it for longer; False when it was lost, or the destination was paused or has to be waited for."""
        mine = open_destinations(now).filter(pk=self.destination_id, lease_holder=self.holder)
        return bool(mine.update(lease_expires_at=now + LEASE))

    def release(self) -> None:
        """Give it back, if it is still held."""
        _free(Destination.objects.filter(pk=self.destination_id, lease_holder=self.holder))


def take(destination_id: UUID, now: datetime) -> Lease | None:
    """Take a destination's lease; None when somebody else has it, or nothing may be sent there now.

    A process that has it already gets it again: its threads never work for the same destination at once.
    """
    lease = Lease(destination_id, senders.own_id())
    taken = _takeable(now).filter(pk=destination_id).update(lease_holder=lease.holder, lease_expires_at=now + LEASE)
    return lease if taken else None


def free_dead() -> None:
    """Free the leases of processes of this machine that died."""
    for sender in senders.dead():
        _free(Destination.objects.filter(lease_holder=sender))
        senders.forget(sender)


def open_destinations(now: datetime) -> QuerySet[Destination]:
    """Destinations to which something may be sent now."""
    return Destination.objects.filter(Q(retry_at=None) | Q(retry_at__lte=now), paused_at=None)


def due(now: datetime) -> QuerySet[Destination]:
    """Destinations to which something is to be sent now and nobody does."""
    deliveries = Delivery.objects.filter(destination=OuterRef("pk"), due_at__lte=now)
    return _takeable(now).filter(Exists(deliveries) | Exists(waiting_messages().filter(destination=OuterRef("pk"))))


def waiting_messages() -> QuerySet[Message]:
    """Messages that wait. The state stands in the SQL as a literal: SQLite uses a partial index only then."""
    return Message.objects.filter(state=RawSQL(f"'{Message.State.WAITING}'", ()))


def _takeable(now: datetime) -> QuerySet[Destination]:
    free = Q(lease_holder=None) | Q(lease_expires_at__lte=now) | Q(lease_holder=senders.own_id())
    return open_destinations(now).filter(free)


def _free(destinations: QuerySet[Destination]) -> None:
    destinations.update(lease_holder=None, lease_expires_at=None)
