"""The door of the site: what the permission matrix says of an address is asked before its view is.

Pages pass through `DoorMiddleware`, the API through `runs.api.access.IsAllowed`. An address that stands in no table is
closed, and a system check names it. Behind the door every verb asks again (`teams.rights.require`), since the admin,
the command line and bulk verbs come another way.
"""

from collections.abc import Iterator
from typing import Any, Final

from django.apps import apps
from django.contrib.auth.views import redirect_to_login
from django.core import checks
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.shortcuts import get_object_or_404
from django.urls import URLPattern, URLResolver, get_resolver

from orchestrator.permissions import API, PAGES, Need, Of
from teams.acting import acting_team
from teams.rights import Level, require, require_site

#: What an address captures, and the model of which that is the id.
ROWS: Final = {
    "team_id": "teams.Team",
    "run_id": "runs.FlowRun",
    "flow_id": "flows.Flow",
    "deployment_id": "flows.Deployment",
    "schedule_id": "flows.Schedule",
    "calendar_id": "flows.Calendar",
    "queue_id": "flows.WorkQueue",
    "block_id": "flows.Block",
    "limit_id": "runs.ConcurrencyLimit",
    "worker_id": "runs.Worker",
    "policy_id": "notifications.Policy",
    "destination_id": "notifications.Destination",
    "delivery_id": "notifications.Delivery",
}
_NOT_PAGES: Final = ("/api/", "/admin/")  # each has a door of its own


class DoorMiddleware:
    """Asks the matrix before a page's view."""

    def __init__(self, get_response: Any) -> None:
        """Keep the next middleware."""
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Pass the request on."""
        response: HttpResponse = self.get_response(request)
        return response

    def process_view(self, request: HttpRequest, view: Any, args: Any, captured: dict[str, Any]) -> HttpResponse | None:
        """Let the view answer, lead to the sign-in page, or refuse. Raises Http404, PermissionDenied.

        Queries: the row's, where more than seeing it is asked for.
        """
        if request.path_info.startswith(_NOT_PAGES):
            return None
        match = request.resolver_match
        methods = PAGES.get(match.url_name or "" if match else "")
        if methods is None:
            raise PermissionDenied("This address is in no table of permissions.")
        need = methods.get(_method(request))
        if need is None:
            return HttpResponseNotAllowed([*methods, *(["HEAD", "OPTIONS"] if "GET" in methods else [])])
        if need.of is Of.NOBODY:
            return None
        if not request.user.is_authenticated:
            return redirect_to_login(request.get_full_path())
        _ask(request, need, captured)
        return None


def _ask(request: HttpRequest, need: Need, captured: dict[str, Any]) -> None:
    if need.by_verb:
        return
    if need.of is Of.SITE:
        require_site(request.user)
    elif need.of is Of.TEAM:
        require(request.user, need.level, acting_team(request))
    elif need.of is Of.ROW and need.level > Level.READ:  # who may see it is found out by the view
        require(request.user, need.level, _row(request, captured))


def _row(request: HttpRequest, captured: dict[str, Any]) -> Any:
    name, key = next((name, key) for name, key in captured.items() if name in ROWS)
    rows: Any = apps.get_model(ROWS[name])._default_manager
    return get_object_or_404(rows.visible_to(request.user), pk=key)


def _method(request: HttpRequest) -> str:
    return "GET" if request.method in {"HEAD", "OPTIONS"} else str(request.method)


@checks.register
def every_address_has_its_need(**_options: Any) -> list[checks.CheckMessage]:
    """Name the addresses that stand in no table: their door is closed."""
    return [
        checks.Error(
            f"{address!r} ({name}) is in no table of permissions.", hint="Add it to orchestrator/permissions.py."
        )
        for address, name in addresses()
        if name not in PAGES and name not in API
    ]


def addresses() -> Iterator[tuple[str, str]]:
    """Yield every address of the site but those of the admin, with its name."""
    yield from _below(get_resolver().url_patterns, "")


def _below(patterns: list[Any], prefix: str) -> Iterator[tuple[str, str]]:
    for pattern in patterns:
        address = prefix + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            if not address.startswith("admin/"):
                yield from _below(pattern.url_patterns, address)
        elif isinstance(pattern, URLPattern):
            yield address, pattern.name or ""
