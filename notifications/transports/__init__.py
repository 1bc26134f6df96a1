"""The kinds of destinations. A new one is a file here and a line in `TRANSPORTS`."""

from functools import cache

from django.utils.module_loading import import_string

from notifications.transports.base import Answer, Transport

TRANSPORTS = {
    "slack": "notifications.transports.slack.SlackTransport",
    "email": "notifications.transports.email.EmailTransport",
    "webhook": "notifications.transports.webhook.WebhookTransport",
    "apprise": "notifications.transports.apprise.AppriseTransport",
}

__all__ = ["TRANSPORTS", "Answer", "Transport", "transport"]


@cache
def transport(kind: str) -> Transport:
    """Return the transport of a kind. Raises KeyError for one that is not in the registry."""
    made: Transport = import_string(TRANSPORTS[kind])()
    return made
