"""Forms about a destination: make it, change it, delete it. Its address is never shown again."""

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import ValidationError
from django.db.models import OuterRef, Subquery
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters

from notifications import actions
from notifications.forms import DestinationForm, general, messages_of
from notifications.models import Delivery, Destination, Message
from notifications.transports import TRANSPORTS, transport
from notifications.views import shown_once
from notifications.views.access import destination_of
from teams.acting import acting_team
from teams.lost_updates import saving

ANSWERS = 10
_sensitive = sensitive_post_parameters("address", "secret")


def kinds() -> list[Any]:
    """The transports to choose from."""
    return [transport(kind) for kind in TRANSPORTS]


@login_required
@never_cache
@_sensitive
def add(request: HttpRequest) -> HttpResponse:
    """Make a destination."""
    if request.method != "POST":
        return _new(request, DestinationForm())
    form = DestinationForm.typed(request.POST)
    try:
        destination, secret = actions.create_destination(acting_team(request), user=request.user, **form.made_of())
    except ValidationError as error:
        return _new(request, DestinationForm.typed(request.POST, messages_of(error)), status=422)
    shown_once.keep(request, destination, secret)
    messages.success(request, f"{destination} is made. Send a test to see that it works.")
    return redirect("notification-destination", destination.id)


@login_required
@never_cache
@_sensitive
def change(request: HttpRequest, destination_id: UUID) -> HttpResponse:
    """Look at a destination, and change it."""
    destination = destination_of(request.user, destination_id)
    if request.method != "POST":
        return _page(request, destination, DestinationForm(kind=destination.kind, name=destination.name))
    form = DestinationForm.typed(request.POST)
    try:
        with saving(request, destination):
            changed, secret = actions.change_destination(destination, user=request.user, **form.changes())
    except ValidationError as error:
        destination = destination_of(request.user, destination_id)
        form = DestinationForm.typed(request.POST, messages_of(error))
        return _page(request, destination, form, status=422)
    shown_once.keep(request, changed, secret)
    messages.success(request, "Saved.")
    return redirect("notification-destination", destination.id)


@login_required
def delete(request: HttpRequest, destination_id: UUID) -> HttpResponse:
    """Ask, naming the policies that tell it; then delete it."""
    destination = destination_of(request.user, destination_id)
    if request.method != "POST":
        context = {
            "destination": destination,
            "policies": _policies(destination),
            "waiting": Delivery.objects.filter(destination=destination, due_at__isnull=False).count(),
        }
        return render(request, "notifications/destination_delete.html", context)
    name = destination.name
    try:
        actions.delete_destination(destination, user=request.user)
    except ValidationError as error:
        messages.error(request, " ".join(error.messages))
        return redirect("notification-destination", destination_id)
    messages.success(request, f"{name} is deleted.")
    return redirect("notifications")


def _policies(destination: Destination) -> list[Any]:
    return list(destination.policies.order_by("name"))


def _new(request: HttpRequest, form: DestinationForm, status: int = 200) -> HttpResponse:
    context = {"form": form, "kinds": kinds(), "errors": general(form.errors, DestinationForm.FIELDS)}
    return render(request, "notifications/destination_new.html", context, status=status)


def _page(request: HttpRequest, destination: Destination, form: DestinationForm, status: int = 200) -> HttpResponse:
    """At most three queries besides the destination's."""
    first = Delivery.objects.filter(message=OuterRef("pk")).values("id")[:1]
    last = Message.objects.filter(destination=destination).exclude(answers=[]).annotate(delivery_id=Subquery(first))
    context = {
        "destination": destination,
        "kind": transport(destination.kind),
        "form": form,
        "errors": general(form.errors, DestinationForm.FIELDS),
        "policies": _policies(destination),
        "last": list(last.defer("content").order_by("-id")[:ANSWERS]),
        "shown_once": shown_once.take(request) if status == 200 else None,
        "now": timezone.now(),
    }
    return render(request, "notifications/destination.html", context, status=status)
