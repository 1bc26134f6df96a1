"""Sessions: which there are, from where, when they were last used; ending them."""

import time
from collections.abc import Callable
from typing import Any, Final

from allauth.usersessions.models import UserSession
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from teams.addresses import NO_ADDRESS, client_address
from teams.live import announce_rights
from teams.models import User

#: In a session that is listed: when it was last noted that it was used, in seconds since 1970.
SEEN: Final = "seen_at"
NOTED_EVERY_SECONDS: Final = 60
_BROWSERS: Final = {
    "Edg/": "Edge", "OPR/": "Opera", "Firefox/": "Firefox", "Chrome/": "Chrome", "Safari/": "Safari", "curl/": "curl",
}  # fmt: skip
_SYSTEMS: Final = {
    "iPhone": "iPhone", "iPad": "iPad", "Android": "Android", "Windows": "Windows", "Mac OS X": "macOS",
    "CrOS": "ChromeOS", "Linux": "Linux",
}  # fmt: skip


class LastSeenMiddleware:
    """Notes, once a minute, that a session is used and from where. Costs no query in between."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        """Keep the next middleware."""
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Note it and pass the request on."""
        if settings.SESSION_COOKIE_NAME in request.COOKIES:
            seen = request.session.get(SEEN)
            if seen is not None and time.time() - seen >= NOTED_EVERY_SECONDS:
                _note(request)
        return self.get_response(request)


def _note(request: HttpRequest) -> None:
    request.session[SEEN] = int(time.time())
    UserSession.objects.filter(session_key=request.session.session_key).update(
        last_seen_at=timezone.now(),
        ip=client_address(request) or NO_ADDRESS,
        user_agent=request.headers.get("User-Agent", "")[:200],
    )


def list_session(request: HttpRequest) -> None:
    """Put a session that has just begun on its user's list."""
    UserSession.objects.create_from_request(request)
    request.session[SEEN] = int(time.time())


def sessions_of(user: User) -> list[UserSession]:
    """Return the sessions that are still good, the last used first; those that ended are forgotten (2 reads each)."""
    return sorted(UserSession.objects.purge_and_list(user), key=lambda session: session.last_seen_at, reverse=True)


def end_sessions(user: User, *, but: str | None = None) -> int:
    """End a user's listed sessions, and what is open there, except the one with the key `but`. Returns how many."""
    ended = 0
    for session in UserSession.objects.filter(user=user).exclude(session_key=but or ""):
        session.end()
        ended += 1
    announce_rights([user])
    return ended


def device(user_agent: str) -> str:
    """Say in words with what a session is used: Firefox on Linux."""
    browser = next((name for mark, name in _BROWSERS.items() if mark in user_agent), "")
    system = next((name for mark, name in _SYSTEMS.items() if mark in user_agent), "")
    return f"{browser or 'A browser'} on {system}" if system else browser or user_agent[:40] or "An unnamed browser"


def described(session: UserSession, current: str | None) -> dict[str, Any]:
    """Return what the page shows of a session."""
    return {
        "id": session.pk,
        "device": device(session.user_agent),
        "address": "" if session.ip == NO_ADDRESS else session.ip,
        "last_seen": session.last_seen_at,
        "began": session.created_at,
        "is_current": session.session_key == current,
    }
