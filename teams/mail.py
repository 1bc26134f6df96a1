"""The one mail of this app: an invitation. The link works without it, so that a mail server may be away or missing."""

import logging
from smtplib import SMTPException

from django.conf import settings
from django.core.mail import send_mail

from teams.models import Invitation

_TEXT = """{inviter} invites you to the team {team} on Orchestrator, as {role}.

{link}

The link works once, until {until}. If you did not expect it, do nothing.
"""
_log = logging.getLogger(__name__)


def send_invitation(invitation: Invitation, link: str) -> bool:
    """Send an invitation's link to its address. Returns whether a mail server took it.

    False without an address, without a mail server (`ORCHESTRATOR_EMAIL_URL`), and where that refused or was away.
    """
    if not invitation.email or not settings.EMAIL_HOST:
        return False
    inviter = invitation.created_by
    text = _TEXT.format(
        inviter=inviter.get_full_name() or inviter.username if inviter else "An administrator",
        team=invitation.team,
        role=invitation.role,
        link=link,
        until=f"{invitation.expires_at:%d %B %Y, %H:%M} UTC",
    )
    try:
        send_mail(f"Invitation to {invitation.team} on Orchestrator", text, None, [invitation.email])
    except (SMTPException, OSError) as error:
        _log.warning("The invitation to %s could not be sent: %s", invitation.team, error)
        return False
    return True
