"""Who may do what: a signed-in user or token in its teams; a run's own token with that run and its subflows."""

from typing import TYPE_CHECKING, Any

from django.db.models import Q
from rest_framework.exceptions import PermissionDenied
from rest_framework.permissions import IsAuthenticated

from orchestrator.permissions import API, Need, Of
from runs.models import Attempt, FlowRun, FlowRunQuerySet
from teams.acting import acting_team
from teams.rights import Level, require, require_site

if TYPE_CHECKING:  # REST framework imports this module while it sets itself up
    from rest_framework.request import Request
    from rest_framework.views import APIView

RUNS_ONLY = (
    "This is for flow runs that a worker started, with their own token: deploy the flow, and run the deployment."
)


class IsAllowed(IsAuthenticated):
    """The API's door: what the permission matrix (`orchestrator.permissions`) says of the address and the method.

    An address that is not in it is closed; a method that is not, DRF answers with 405.
    """

    message = "This is not for the token of a run. Use a person's token: orchestrator token create NAME."

    def has_permission(self, request: "Request", view: "APIView") -> bool:
        """Return whether the request may reach this action at all. Raises Refused with the role it takes."""
        match = request.resolver_match
        methods = API.get(match.url_name or "" if match else "")
        if methods is None:
            return False
        need = _need(methods, request)
        if need is not None and need.of is Of.NOBODY:
            return True
        if not super().has_permission(request, view):
            return False
        if need is None:
            return True
        if isinstance(request.auth, Attempt):
            return need.run_token
        if need.of is Of.RUNS:
            raise PermissionDenied(RUNS_ONLY)
        if need.of is Of.TEAM and not need.by_verb:
            require(request.user, need.level, acting_team(request))
        elif need.of is Of.SITE:
            require_site(request.user)
        return True

    def has_object_permission(self, request: "Request", view: "APIView", row: Any) -> bool:
        """Return whether the request may do this with a row that it sees. Raises Refused with the role it takes."""
        match = request.resolver_match
        need = _need(API.get(match.url_name or "" if match else "", {}), request)
        if need is not None and need.of is Of.ROW and need.level > Level.READ and not need.by_verb:
            require(request.user, need.level, row)
        return True


def _need(methods: dict[str, Need], request: "Request") -> Need | None:
    return methods.get("GET" if request.method in {"HEAD", "OPTIONS"} else str(request.method))


def visible_flow_runs(request: "Request") -> FlowRunQuerySet:
    """Return the runs that this request may see.

    A run's token sees the run, its subflows, and theirs as far as the same process (the same journal) runs them.
    """
    runs: Any = FlowRun.objects.all()
    if isinstance(request.auth, Attempt):
        attempt = request.auth
        same_process = Attempt.objects.filter(journal=attempt.journal, journal__isnull=False).values("flow_run")
        return runs.filter(Q(pk=attempt.flow_run_id) | Q(parent=attempt.flow_run_id) | Q(pk__in=same_process))
    return runs.visible_to(request.user)
