"""Muting a deployment from its page, or from a page of its own where that was refused."""

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_POST

from flows.models import Deployment
from notifications import actions
from notifications.forms import MUTES, MuteForm, general, messages_of
from notifications.views.answers import with_undo
from runs.presentation import upcoming_clock
from runs.views.addresses import back
from runs.views.deployment_page import deployment_of


@login_required
def mute(request: HttpRequest, deployment_id: UUID) -> HttpResponse:
    """Tell nothing of its runs for a time."""
    deployment = deployment_of(request.user, deployment_id)
    if request.method != "POST":
        return _page(request, deployment, MuteForm())
    form, now = MuteForm.typed(request.POST), timezone.now()
    try:
        made = actions.mute(deployment, user=request.user, until=form.ends_at(now), reason=form.reason)
    except ValidationError as error:
        return _page(request, deployment, MuteForm.typed(request.POST, messages_of(error)), status=422)
    said = f"Muted until {upcoming_clock(made.until, now)}: nothing is told of {deployment.full_name} until then."
    messages.success(request, with_undo(said, reverse("deployment-unmute", args=[deployment.id])))
    return redirect("deployment", deployment.id)


@login_required
@require_POST
def unmute(request: HttpRequest, deployment_id: UUID) -> HttpResponse:
    """Tell of its runs again, from now on."""
    deployment = deployment_of(request.user, deployment_id)
    try:
        actions.unmute(deployment, user=request.user)
    except ValidationError as error:
        messages.error(request, " ".join(error.messages))
    else:
        messages.success(request, f"{deployment.full_name} is told of again, from now on.")
    return back(request, reverse("deployment", args=[deployment.id]))


def _page(request: HttpRequest, deployment: Deployment, form: MuteForm, status: int = 200) -> HttpResponse:
    context: dict[str, Any] = {
        "deployment": deployment,
        "mute_form": form,
        "lengths": MUTES,
        "errors": general(form.errors, MuteForm.FIELDS),
    }
    return render(request, "notifications/mute.html", context, status=status)
