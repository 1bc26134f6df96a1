"""What a person does to a run: cancel, retry, run again."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse
from django.views.decorators.http import require_POST

from runs import actions, deleting
from runs.models import FlowRun
from runs.views.addresses import back

Verb = Callable[..., FlowRun]


def _verb(act: Verb, said: str, shows_result: bool = False) -> Callable[..., HttpResponse]:
    @login_required
    @require_POST
    def view(request: HttpRequest, run_id: UUID, **captured: Any) -> HttpResponse:
        run = get_object_or_404(FlowRun.objects.visible_to(request.user), id=run_id)
        address = reverse("run", args=[run.id])
        try:
            result = act(run, user=request.user)
        except ValidationError as error:
            messages.error(request, " ".join(error.messages))
            return back(request, address)
        messages.success(request, said.format(run=run.name, result=result.name))
        return redirect("run", result.id) if shows_result else back(request, address)

    return view


cancel = _verb(actions.cancel_flow_run, "{run} is being cancelled.")
retry = _verb(actions.retry_flow_run, "{run} is run again as its next attempt.")
rerun = _verb(actions.rerun_flow_run, "{result} runs what {run} ran, with the same parameters.", shows_result=True)


@login_required
@require_POST
def delete(request: HttpRequest, run_id: UUID) -> HttpResponse:
    """Delete a run that has ended, with all that belongs to it."""
    run = get_object_or_404(FlowRun.objects.visible_to(request.user), id=run_id)
    try:
        deleting.delete_flow_run(run, user=request.user)
    except ValidationError as error:
        messages.error(request, " ".join(error.messages))
        return redirect("run", run.id)
    messages.success(request, f"{run.name} is deleted.")
    return redirect("runs")
