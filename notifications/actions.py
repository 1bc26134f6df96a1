"""Verbs on notifications. Pages, API, admin, command line and jobs call these; each owns its transaction.

Those on destinations and policies stand in modules of their own and are called through this one.
"""

from datetime import datetime, timedelta
from typing import Any, Final

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils import timezone

from flows.models import Deployment
from notifications import bells
from notifications.destinations import (
    change_destination,
    create_destination,
    delete_destination,
    destination_for,
    dismiss_notice,
    parse_to,
    pause_destination,
    resume_destination,
    test_destination,
)
from notifications.models import Delivery, Message, Mute
from notifications.policies import (
    create_policy,
    delete_policy,
    matching_run,
    pause_policy,
    resume_policy,
    test_policy,
    update_policy,
)
from runs.actions import CONFLICT
from teams.models import User
from teams.rights import Level
from teams.verbs import verb

__all__ = [
    "CONFLICT",
    "MAX_MUTE",
    "change_destination",
    "create_destination",
    "create_policy",
    "delete_destination",
    "delete_policy",
    "destination_for",
    "dismiss_notice",
    "matching_run",
    "mute",
    "parse_to",
    "pause_destination",
    "pause_policy",
    "resume_destination",
    "resume_policy",
    "send_again",
    "test_destination",
    "test_policy",
    "unmute",
    "update_policy",
]

MAX_MUTE: Final = timedelta(days=90)
_MAX_REASON: Final = 200


@verb("message.send_again", Level.RUN, always=True)
def send_again(message: Message, *, user: User | None) -> Message:
    """Have a message sent once more, whatever became of it; the answers so far are kept.

    Returns:
        The message, WAITING.

    Raises:
        ValidationError: It waits already, or its destination was deleted (code `conflict`).
    """
    with transaction.atomic():
        changed = (
            Message.objects.filter(pk=message.pk, destination__isnull=False)
            .exclude(state=Message.State.WAITING)
            .update(state=Message.State.WAITING, tries=0, sent_at=None)
        )
        message.refresh_from_db()
        if not changed and message.destination_id is None:
            raise ValidationError("Its destination was deleted, so that it cannot be sent again.", CONFLICT)
        if not changed:
            raise ValidationError("This message waits to be sent already.", CONFLICT)
        bells.ring([message.destination_id])
    return message


@verb("deployment.mute", Level.EDIT)
def mute(deployment: Deployment, *, user: User | None, until: datetime, reason: str = "") -> Mute:
    """Tell nothing of a deployment's runs until a time, at most 90 days ahead. Muting again sets another time.

    What is held back of it, to be told later together, is muted too.

    Raises:
        ValidationError: By `until` or `reason`.
    """
    until, reason = _checked_until(until), _checked_reason(reason)
    values = {"until": until, "reason": reason, "created_by": user}
    with transaction.atomic():
        held = Delivery.objects.filter(subject=deployment.pk, due_at__isnull=False).exclude(held_for="")
        held.update(muted=True, due_at=None)
        return Mute.objects.update_or_create(deployment=deployment, defaults=values)[0]


@verb("deployment.unmute", Level.EDIT, always=True)
def unmute(deployment: Deployment, *, user: User | None) -> None:
    """Tell of a deployment's runs again, from now on. Of one that is not muted: nothing happens."""
    Mute.objects.filter(deployment=deployment).delete()


def _checked_until(until: Any) -> datetime:
    now = timezone.now()
    if not isinstance(until, datetime) or timezone.is_naive(until):
        raise ValidationError({"until": "Write a time with its offset, as in 2027-01-04T08:00:00+01:00."})
    if until <= now:
        raise ValidationError({"until": "Write a time that is still to come."})
    if until > now + MAX_MUTE:
        raise ValidationError({"until": f"A deployment can be muted for at most {MAX_MUTE.days} days."})
    return until


def _checked_reason(reason: Any) -> str:
    if not isinstance(reason, str) or len(reason.strip()) > _MAX_REASON or "\0" in reason:
        raise ValidationError({"reason": f"Write a text of at most {_MAX_REASON} characters."})
    return reason.strip()
