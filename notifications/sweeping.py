"""The sweep behind the bells: what was not heard, who died, what takes too long."""

import logging
from datetime import datetime
from functools import partial
from typing import Final

from notifications import failing, leases, sending, watching
from notifications.models import Delivery
from runs.clock import database_now
from runs.compiled import IsAny

MAX_OFFERED: Final = 500  # in one sweep, those that wait longest without a try first

# Asked first, in each sweep: as a rule there is nothing to send.
_some_deliveries: Final = IsAny(lambda now: Delivery.objects.filter(due_at__lte=now))
_some_messages: Final = IsAny(lambda now: leases.waiting_messages())

_log = logging.getLogger(__name__)


def sweep() -> None:
    """Do everything that is to be done every few seconds. Two at once do it once, or twice without harm."""
    now = database_now()
    for step in (free_dead, offer_due, watching.find_long_running, tell_admins):
        try:
            step(now)
        except Exception:  # a policy that cannot be read must not keep messages from being sent
            _log.exception("A step of the notifications' sweep failed: %s", step.__name__)


def free_dead(now: datetime) -> None:
    """Free the leases of senders that died."""
    leases.free_dead()


def offer_due(now: datetime) -> None:
    """Have sent what nobody sends."""
    if not (_some_deliveries(now) or _some_messages(now)):
        return
    sending.current().offer(leases.due(now).order_by("retry_at", "pk").values_list("pk", flat=True)[:MAX_OFFERED])


def tell_admins(now: datetime) -> None:
    """Have the mails sent that tell of paused destinations."""
    for destination_id in failing.untold(now).values_list("pk", flat=True):
        sending.current().call(partial(failing.tell_admins, destination_id, now))
