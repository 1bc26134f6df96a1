"""Who may do what: a signed-in user or token in its teams; a run's own token with that run and its subflows."""

from typing import TYPE_CHECKING, Any

from django.db.models import Q
from rest_framework.permissions import IsAuthenticated

from runs.models import Attempt, FlowRun, FlowRunQuerySet

if TYPE_CHECKING:  # REST framework imports this module while it sets itself up
    from rest_framework.request import Request
    from rest_framework.views import APIView


class IsAllowed(IsAuthenticated):
    """Anybody signed in; a run's token only where the view names the action in `run_token_actions`."""

    message = "This is not for the token of a run. Use a person's token: orchestrator token create NAME."

    def has_permission(self, request: "Request", view: "APIView") -> bool:
        """Return whether the request may reach this action at all."""
        if isinstance(request.auth, Attempt):
            action = getattr(view, "action", None) or str(request.method).lower()
            return action in getattr(view, "run_token_actions", ())
        return super().has_permission(request, view)


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
