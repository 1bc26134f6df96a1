"""The page of a deployment's webhook: make it, give it another address, change what the body gives, delete it."""

from typing import Any
from uuid import UUID

from django.contrib.auth.decorators import login_required
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse

from flows import webhooks
from flows.models import Deployment, Webhook
from runs.api.webhooks import address
from runs.views.deployment_page import deployment_of
from teams.rights import Level, require


@login_required
def page(request: HttpRequest, deployment_id: UUID) -> HttpResponse:
    """Show the form; after making an address, show that address, this once."""
    deployment = deployment_of(request.user, deployment_id)
    require(request.user, Level.EDIT, deployment)
    webhook = Webhook.objects.filter(deployment=deployment).first()
    context: dict[str, Any] = {"deployment": deployment, "webhook": webhook, "wrong": {}}
    if request.method == "POST":
        try:
            secret = _do(request, deployment, webhook)
        except ValidationError as error:
            context["wrong"] = error.message_dict if hasattr(error, "error_dict") else {"": error.messages}
        else:
            if not secret:
                return redirect(reverse("deployment", args=[deployment.pk]))
            context["url"] = address(request, secret)
            context["webhook"] = Webhook.objects.get(deployment=deployment)
    context["mapping"] = request.POST.get("mapping") if context["wrong"] else _written(context["webhook"])
    response = render(request, "flows/deployment_webhook.html", context, status=400 if context["wrong"] else 200)
    response["Cache-Control"] = "no-store"
    return response


def _do(request: HttpRequest, deployment: Deployment, webhook: Webhook | None) -> str:
    """Do what the button says; return the secret that was made, else an empty text."""
    user: Any = request.user
    what = request.POST.get("do", "")
    if webhook is None:
        return webhooks.create_webhook(deployment, mapping=_read(request), user=user)[1]
    webhook.deployment = deployment
    if what == "rotate":
        return webhooks.rotate_webhook(webhook, user=user)[1]
    if what == "delete":
        webhooks.delete_webhook(webhook, user=user)
    else:
        webhooks.change_webhook(webhook, mapping=_read(request), user=user)
    return ""


def _read(request: HttpRequest) -> dict[str, str]:
    """Return the mapping of lines `parameter = path`. Raises ValidationError."""
    mapping = {}
    for line in request.POST.get("mapping", "").splitlines():
        name, equals, path = (part.strip() for part in line.partition("="))
        if not line.strip():
            continue
        if not equals or not name:
            raise ValidationError(
                {"mapping": f"Write a line for each parameter, as in `day = event.date`; not “{line}”."}
            )
        mapping[name] = path
    return mapping


def _written(webhook: Webhook | None) -> str:
    return "\n".join(f"{name} = {path}" for name, path in webhook.mapping.items()) if webhook else ""
