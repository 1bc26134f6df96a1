"""Destinations that do not answer as they should: when they are tried again, when they are paused, and who is told."""

import logging
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from random import random
from typing import Any, Final
from uuid import UUID

from django.db import connection
from django.db.models import QuerySet

from notifications import links
from notifications.content import Content
from notifications.models import Destination, Message
from notifications.transports import Answer, transport
from orchestrator.sdk.ids import uuid7
from teams.models import Role, User

MIN_BACKOFF: Final = timedelta(seconds=5)
MAX_BACKOFF: Final = timedelta(minutes=15)
MAX_RETRY_AFTER: Final = timedelta(hours=1)
JITTER: Final = 0.2  # of the backoff, up and down: what failed together is not tried together again
MAX_TRIES: Final = 12
MAX_AGE: Final = timedelta(hours=24)
PAUSE_FAILURES: Final = 8
PAUSE_AFTER: Final = timedelta(minutes=30)
PAUSE_REFUSALS: Final = 5
MAIL_AGAIN_AFTER: Final = timedelta(minutes=5)
MAIL_FOR: Final = timedelta(hours=24)

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Health:
    """How a destination did of late; the fields are those of the model."""

    failures: int = 0
    refusals: int = 0
    failing_since: datetime | None = None
    retry_at: datetime | None = None

    def should_pause(self, now: datetime) -> bool:
        """Whether to try no more until somebody has looked: it refused everything, or failed for long."""
        fails_for_long = self.failing_since is not None and now - self.failing_since >= PAUSE_AFTER
        return self.refusals >= PAUSE_REFUSALS or (self.failures >= PAUSE_FAILURES and fails_for_long)


def after(health: Health, answer: Answer, now: datetime, chance: float | None = None) -> Health:
    """Return how a destination does after an answer.

    Args:
        health: Before it.
        answer: Success clears everything. A final answer is about the message: the next one is sent at once.
        now: When it came.
        chance: From 0 to 1, of the jitter; random by default.
    """
    if answer.ok:
        return Health()
    health = replace(health, failures=health.failures + 1, failing_since=health.failing_since or now)
    if answer.is_final:
        return replace(health, refusals=health.refusals + 1, retry_at=None)
    if answer.retry_after_seconds is not None:
        asked = timedelta(seconds=max(0.0, min(answer.retry_after_seconds, MAX_RETRY_AFTER.total_seconds())))
    else:
        asked = backoff(health.failures, random() if chance is None else chance)
    return replace(health, refusals=0, retry_at=now + asked)


def backoff(failures: int, chance: float) -> timedelta:
    """Return how long to wait after so many failures in a row: doubled each time, within bounds, with jitter."""
    doubled = min(MIN_BACKOFF * 2 ** min(failures - 1, 20), MAX_BACKOFF)
    return doubled * (1 + JITTER * (2 * chance - 1))


def gives_up(tries: int, since: datetime, now: datetime) -> bool:
    """Whether a message that failed again is tried no more. `since`: when it began to wait for this destination."""
    return tries >= MAX_TRIES or now - since >= MAX_AGE


def pause(destination_id: UUID, now: datetime) -> bool:
    """Pause a destination that keeps failing, and have its admins told. Returns False where it was paused already."""
    destinations = Destination.objects.filter(pk=destination_id, paused_at=None)
    return bool(
        destinations.update(
            paused_at=now, gave_up=True, tell_admins_at=now, admins_told_at=None, notice_dismissed_at=None
        )
    )


def clear(destination_id: UUID) -> None:
    """Forget a destination's pause and failures: what waits for it is sent as if for the first time.

    The caller owns the transaction and rings.
    """
    Destination.objects.filter(pk=destination_id).update(
        paused_at=None, gave_up=False, failures=0, refusals=0, failing_since=None, retry_at=None,
        tell_admins_at=None, admins_told_at=None, notice_dismissed_at=None,
    )  # fmt: skip
    Message.objects.filter(destination=destination_id, state=Message.State.WAITING).update(tries=0)


def untold(now: datetime) -> "QuerySet[Destination]":
    """Destinations that were paused, of which the admins have to be told by mail now."""
    return Destination.objects.filter(tell_admins_at__lte=now)


def tell_admins(destination_id: UUID, now: datetime) -> bool:
    """Mail the admins of a destination's team that it was paused. Returns whether a mail was taken.

    Whoever moves `tell_admins_at` does it, so that two sweeps send one mail. One that was not taken is tried again
    for a day; the site shows a banner in any case.
    """
    if not untold(now).filter(pk=destination_id).update(tell_admins_at=now + MAIL_AGAIN_AFTER):
        return False
    destination = Destination.objects.select_related("team").get(pk=destination_id)
    addresses = _admins(destination)
    mail = transport("email")
    why = mail.unavailable()
    if why or not addresses:
        why = why or "no admin of its team has an address"
        _log.warning("Nobody is mailed that the destination %s was paused: %s", destination, why)
        told: dict[str, Any] = {"tell_admins_at": None}
    else:
        said = notice(destination, now)
        connection.close()  # nothing is held while the network is waited for
        answer = mail.send(mail.parse(", ".join(addresses)), said)
        if not answer.ok:
            _log.warning("The mail that the destination %s was paused: %s", destination, answer.text)
            if destination.paused_at is not None and now - destination.paused_at < MAIL_FOR:
                return False
        told = {"tell_admins_at": None, "admins_told_at": now if answer.ok else None}
    Destination.objects.filter(pk=destination_id, gave_up=True).update(**told)
    return told.get("admins_told_at") is not None


def notice(destination: Destination, now: datetime) -> Content:
    """Return what the admins are told about a destination that was paused."""
    since = destination.failing_since or destination.paused_at or now
    waiting = Message.objects.filter(destination=destination, state=Message.State.WAITING).count()
    return Content(
        id=str(uuid7()),
        event="PAUSED",
        tone="bad",
        title=f"Notifications to {destination} are paused",
        text=(
            f"The destination {destination} ({destination.summary}) of the team {destination.team} has failed since"
            f" {since:%Y-%m-%d %H:%M} UTC, the last time with: {destination.last_answer or 'no answer'}\n\n"
            f"Nothing is sent there until somebody resumes it. What is to be told meanwhile is kept"
            f"{f' (messages that wait now: {waiting})' if waiting else ''}."
        ),
        time=now.isoformat(),
        url=links.to_notifications(),
        url_label="Open the notifications",
    )


def _admins(destination: Destination) -> list[str]:
    """The addresses of a team's admins; of the superusers where none of them has one."""
    active = User.objects.filter(is_active=True).exclude(email="").order_by("pk")
    of_team = active.filter(memberships__team=destination.team_id, memberships__role=Role.ADMIN)
    found = of_team.values_list("email", flat=True) or active.filter(is_superuser=True).values_list("email", flat=True)
    return list(dict.fromkeys(found))
