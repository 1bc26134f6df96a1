"""What a person does to a deployment in one click: pause, resume; and to a schedule: switch it."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.views.decorators.http import require_POST

from flows.models import Deployment
from runs import actions
from runs.views.addresses import back
from runs.views.deployment_page import deployment_of


def _verb(act: Callable[..., Deployment], said: str) -> Callable[..., HttpResponse]:
    @login_required
    @require_POST
    def view(request: HttpRequest, deployment_id: UUID, **captured: Any) -> HttpResponse:
        deployment = deployment_of(request.user, deployment_id)
        try:
            act(deployment, user=request.user)
        except ValidationError as error:
            messages.error(request, " ".join(error.messages))
        else:
            messages.success(request, said)
        return back(request, reverse("deployment", args=[deployment.id]))

    return view


pause = _verb(actions.pause_deployment, "Paused: its schedules start no runs until it is resumed.")
resume = _verb(actions.resume_deployment, "Resumed: its schedules start runs again, from now on.")
