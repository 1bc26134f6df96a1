"""Limits on how often one may try to sign in, and the page that says how long to wait.

allauth counts, in the cache that all processes share (`orchestrator.cache`): what is allowed is ACCOUNT_RATE_LIMITS.
"""

import math
import time
from collections.abc import Mapping
from typing import Final

from allauth.account import app_settings
from allauth.core.internal.ratelimit import get_cache_key, get_rates
from django.core.cache import cache
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

_APP: Final = "allauth.account"


def too_many(request: HttpRequest, keys: Mapping[str, str] | None = None) -> HttpResponse:
    """Answer 429, with how long to wait.

    Args:
        keys: By action, to what account the attempt was; without it only limits by address and user are looked at.
    """
    seconds = seconds_to_wait(request, keys or {"reset_password": request.POST.get("email", "").lower()})
    wait = f"{seconds} seconds" if seconds < 100 else f"{math.ceil(seconds / 60)} minutes"
    response = render(request, "teams/too_many.html", {"wait": wait}, status=429)
    response["Retry-After"] = str(seconds)
    return response


def seconds_to_wait(request: HttpRequest, keys: Mapping[str, str]) -> int:
    """Return in how many seconds the next attempt is let through; 1 at least."""
    now, wait = time.time(), 1.0
    for action in app_settings.RATE_LIMITS:
        for rate in get_rates(app=_APP, action=action):
            if (rate.per == "key" and action not in keys) or (rate.per == "user" and not request.user.is_authenticated):
                continue
            times = cache.get(get_cache_key(request, app=_APP, action=action, rate=rate, key=keys.get(action)), [])
            if len(times) >= rate.amount:  # newest first
                wait = max(wait, times[rate.amount - 1] + rate.duration - now)
    return math.ceil(wait)
