"""How many requests a caller may make: `ORCHESTRATOR_API_RATE`, counted together by all processes of the site."""

import time
from typing import Any

from django.conf import settings
from django.core.cache import cache
from rest_framework.throttling import BaseThrottle

from teams.addresses import client_address
from teams.authentication import IN_PROCESS


class CallerRate(BaseThrottle):
    """Counts the requests of a token, of a signed-in user, or of an address without one, in windows of the clock.

    What a view calls `unrated` is not counted: what running processes send by themselves must not be held up.
    """

    def allow_request(self, request: Any, view: Any) -> bool:
        """Return whether the request is within its caller's rate; remember for the headers how it stands."""
        most, seconds = settings.API_RATE
        is_unrated = getattr(view, "verb", None) in getattr(view, "unrated", ())
        if not most or is_unrated or request.META.get(IN_PROCESS) is True:
            return True
        now = time.time()
        window = int(now // seconds)
        self._left = seconds - now % seconds
        used = _count(f"rate:{_caller(request)}:{window}", seconds + 1)
        request._request.rate = Standing(most, seconds, max(0, most - used), self._left)
        return used <= most

    def wait(self) -> float:
        """Return the seconds until the next window."""
        return self._left


class Standing:
    """How a caller stands: its limit, what is left of it, and for how long."""

    __slots__ = ("left", "most", "seconds", "until")

    def __init__(self, most: int, seconds: int, left: int, until: float) -> None:
        self.most, self.seconds, self.left, self.until = most, seconds, left, until

    def headers(self) -> dict[str, str]:
        """As the IETF's draft of RateLimit header fields writes it."""
        return {
            "RateLimit-Limit": str(self.most),
            "RateLimit-Remaining": str(self.left),
            "RateLimit-Reset": str(int(self.until) + 1),
        }


def _count(key: str, seconds: int) -> int:
    """Count one more under a key that is forgotten `seconds` after its first; return how many there are."""
    if cache.add(key, 1, seconds):
        return 1
    try:
        return int(cache.incr(key))
    except ValueError:  # it was forgotten in between
        return 1


def _caller(request: Any) -> str:
    if request.auth is not None:
        return f"{type(request.auth).__name__}:{request.auth.pk}"
    if request.user is not None and request.user.is_authenticated:
        return f"user:{request.user.pk}"
    return f"address:{client_address(request)}"
