"""Addresses of this site: whole ones for people elsewhere, and the way back after a verb."""

from typing import Any, Final

from django.conf import settings
from django.http import HttpRequest, HttpResponseRedirect
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme

# A command that runs without a server serves the API alone (`orchestrator.cli.in_process_urls`); pages are linked all
# the same, at the price of importing them.
PAGES: Final = "orchestrator.urls"


def absolute_page(request: Any, name: str, *args: Any) -> str:
    """Return the whole address of the page of this name, whatever this process serves."""
    return absolute(request, reverse(name, PAGES, args=args))


def absolute(request: Any, path: str) -> str:
    """Return the whole address of a path: below ORCHESTRATOR_EXTERNAL_URL, else as this request came."""
    return f"{settings.EXTERNAL_URL.rstrip('/')}{path}" if settings.EXTERNAL_URL else request.build_absolute_uri(path)


def back(request: HttpRequest, otherwise: str) -> HttpResponseRedirect:
    """Return to the page that the request names in `next`, if it is one of ours."""
    address = request.POST.get("next", "")
    if not url_has_allowed_host_and_scheme(address, {request.get_host()}, require_https=request.is_secure()):
        address = otherwise
    return redirect(address)
