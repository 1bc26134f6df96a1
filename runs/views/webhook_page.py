"""The page of a deployment's webhook: make it, change what the body gives, give it another address, delete it."""

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.cache import never_cache

from flows import webhooks
from flows.models import Deployment, Webhook
from runs.api.webhooks import address
from runs.views.deployment_page import deployment_of
from teams.lost_updates import saving
from teams.pages.forms import keep_once, take_once
from teams.rights import Level, require

MAX_NAMES = 30  # of the flow's parameters, beside the form


@never_cache
@login_required
def page(request: HttpRequest, deployment_id: UUID) -> HttpResponse:
    """Show the form; an address that was made just now is shown with it, this once (at most three queries)."""
    deployment = deployment_of(request.user, deployment_id)
    require(request.user, Level.EDIT, deployment)
    webhook = Webhook.objects.select_related("created_by").filter(deployment=deployment).first()
    if request.method != "POST":
        return _form(request, deployment, webhook, _written(webhook), shown_once=take_once(request))
    try:
        said = _do(request, deployment, webhook)
    except ValidationError as error:
        typed = request.POST.get("mapping", "")
        return _form(request, deployment, webhook, typed, status=422, wrong=error.messages)
    if said:
        messages.success(request, said)
    return redirect("deployment-webhook", deployment.pk)


def _form(
    request: HttpRequest, deployment: Deployment, webhook: Webhook | None, mapping: str, status: int = 200, **more: Any
) -> HttpResponse:
    context = {
        "deployment": deployment,
        "webhook": webhook,
        "mapping": mapping,
        "names": list(deployment.parameter_schema.get("properties", {}))[:MAX_NAMES],
        "now": timezone.now(),
    }
    return render(request, "flows/deployment_webhook.html", context | more, status=status)


def _do(request: HttpRequest, deployment: Deployment, webhook: Webhook | None) -> str:
    """Do what the button says; return what to say of it: nothing where the next page shows a new address."""
    user: Any = request.user
    if webhook is None:
        _keep(request, deployment, webhooks.create_webhook(deployment, mapping=_read(request), user=user)[1])
        return ""
    webhook.deployment = deployment
    match request.POST.get("do"):
        case "rotate":
            _keep(request, deployment, webhooks.rotate_webhook(webhook, user=user)[1])
            return ""
        case "delete":
            webhooks.delete_webhook(webhook, user=user)
            return "The webhook is deleted."
        case _:
            mapping = _read(request)
            with saving(request, webhook, about=deployment):
                webhooks.change_webhook(webhook, mapping=mapping, user=user)
            return "Saved."


def _keep(request: HttpRequest, deployment: Deployment, secret: str) -> None:
    words = "Give it to the sender. It is shown now and never again; whoever has it can run this deployment."
    keep_once(request, f"The address that runs {deployment.full_name}", address(request, secret), words)


def _read(request: HttpRequest) -> dict[str, str]:
    """Return the mapping of lines `parameter = path`. Raises ValidationError."""
    mapping = {}
    for line in request.POST.get("mapping", "").splitlines():
        name, equals, path = (part.strip() for part in line.partition("="))
        if not line.strip():
            continue
        if not equals or not name:
            raise ValidationError(
                {"mapping": f"Write a line for each parameter, as in “day = event.date”; not “{line}”."}
            )
        mapping[name] = path
    return mapping


def _written(webhook: Webhook | None) -> str:
    return "\n".join(f"{name} = {path}" for name, path in webhook.mapping.items()) if webhook else ""
