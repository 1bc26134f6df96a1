"""Addresses of this site: whole ones for people elsewhere, and the way back after a verb."""

from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponseRedirect
from django.shortcuts import redirect
from django.utils.http import url_has_allowed_host_and_scheme


def absolute(request: Any, path: str) -> str:
    """Return the whole address of a path: below ORCHESTRATOR_EXTERNAL_URL, else as this request came."""
    return f"{settings.EXTERNAL_URL.rstrip('/')}{path}" if settings.EXTERNAL_URL else request.build_absolute_uri(path)


def back(request: HttpRequest, otherwise: str) -> HttpResponseRedirect:
    """Return to the page that the request names in `next`, if it is one of ours."""
    address = request.POST.get("next", "")
    if not url_has_allowed_host_and_scheme(address, {request.get_host()}, require_https=request.is_secure()):
        address = otherwise
    return redirect(address)
