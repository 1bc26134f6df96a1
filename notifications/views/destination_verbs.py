"""What a person does to a destination in one click: test, pause, resume, and dismiss that it gave up."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.views.decorators.http import require_POST

from notifications import actions
from notifications.models import Destination
from notifications.views.access import destination_of
from notifications.views.answers import answered, with_undo
from runs.views.addresses import back

Words = Callable[[Destination], str]


def _verb(act: Callable[..., Any], said: Words | None = None, undo: str = "") -> Callable[..., HttpResponse]:
    @login_required
    @require_POST
    def view(request: HttpRequest, destination_id: UUID, **captured: Any) -> HttpResponse:
        destination = destination_of(request.user, destination_id)
        try:
            act(destination, user=request.user)
        except ValidationError as error:
            messages.error(request, " ".join(error.messages))
        else:
            if said:
                messages.success(request, with_undo(said(destination), reverse(undo, args=[destination.id])))
        return back(request, reverse("notification-destination", args=[destination.id]))

    return view


pause = _verb(
    actions.pause_destination,
    lambda destination: f"{destination} is paused: what is for it waits until it is resumed.",
    "notification-destination-resume",
)
resume = _verb(
    actions.resume_destination,
    lambda destination: f"{destination} is resumed: what waited is sent now.",
    "notification-destination-pause",
)
dismiss = _verb(actions.dismiss_notice)


@login_required
@require_POST
def test(request: HttpRequest, destination_id: UUID) -> HttpResponse:
    """Send a test, now, and show what the service says."""
    destination = destination_of(request.user, destination_id)
    address = reverse("notification-destination", args=[destination.id])
    try:
        answer = actions.test_destination(destination, user=request.user)
    except ValidationError as error:
        return answered(request, [], address, wrong=" ".join(error.messages))
    return answered(request, [(destination, answer)], address)
