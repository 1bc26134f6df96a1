"""A secret that is shown once: kept encrypted in the session between making it and the page that shows it."""

from dataclasses import dataclass

from django.http import HttpRequest

from notifications.models import Destination
from orchestrator.encryption import Unreadable, decrypt, encrypt

_KEY = "shown_once"


@dataclass(frozen=True, slots=True)
class Shown:
    """A secret and whose it is."""

    destination: str
    secret: str


def keep(request: HttpRequest, destination: Destination, secret: str) -> None:
    """Have the next page of a form show this secret; nothing for an empty one."""
    if secret:
        request.session[_KEY] = encrypt({"destination": destination.name, "secret": secret})


def take(request: HttpRequest) -> Shown | None:
    """Return what is to be shown, and forget it."""
    kept = request.session.pop(_KEY, None)
    try:
        return Shown(**decrypt(kept)) if kept else None
    except Unreadable:
        return None
