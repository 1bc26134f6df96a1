"""What holds for the whole of a request: its origin, the team that the person chose, times in their own zone."""

from collections.abc import Callable
from zoneinfo import ZoneInfo

from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from teams import audit
from teams.acting import apply_choice
from teams.addresses import client_address
from teams.authentication import IN_PROCESS
from teams.models import Via

COOKIE = "timezone"


class OriginMiddleware:
    """Says where what a request does comes from, for the audit log."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        """Keep the next middleware."""
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer the request with its origin known."""
        with audit.coming_from(audit.Origin(_via(request), client_address(request))):
            return self.get_response(request)


def _via(request: HttpRequest) -> Via:
    if request.META.get(IN_PROCESS) is True or request.headers.get("User-Agent", "").startswith("orchestrator-cli/"):
        return Via.CLI
    if request.path_info.startswith("/api/"):
        return Via.API
    return Via.ADMIN if request.path_info.startswith("/admin/") else Via.PAGE


class ChosenTeamMiddleware:
    """Tells the signed-in user which of their teams this session looks at."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        """Keep the next middleware."""
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer the request with the choice known."""
        if request.user.is_authenticated:
            apply_choice(request.user, request.session)
        return self.get_response(request)


class ReaderTimeZoneMiddleware:
    """Activate the zone that the user chose, else the browser's (a cookie that the page sets), else the site's."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        """Keep the next middleware."""
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer the request with that zone active, and leave none behind."""
        name = getattr(request.user, "time_zone", "") or request.COOKIES.get(COOKIE, "")
        try:
            zone = ZoneInfo(name) if name else None
        except (KeyError, ValueError, OSError):
            zone = None
        with timezone.override(zone):
            return self.get_response(request)
