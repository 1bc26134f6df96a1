"""Send a message once more; asked about first where it was sent before."""

from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import ValidationError
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse

from notifications import actions
from notifications.models import Message
from notifications.views.access import deliveries_for, message_of
from runs.views.addresses import back


@login_required
def send_again(request: HttpRequest, delivery_id: UUID) -> HttpResponse:
    """Send a delivery's message again. One that was sent already is asked about first."""
    delivery = get_object_or_404(deliveries_for(request.user), id=delivery_id)
    message = message_of(delivery)
    if message is None:
        raise Http404
    was_sent = message.state == Message.State.SENT
    if request.method != "POST" or (was_sent and not request.POST.get("sure")):
        return render(request, "notifications/send_again.html", {"delivery": delivery, "message": message})
    address = reverse("notification-delivery", args=[delivery.id])
    try:
        actions.send_again(message, user=request.user)
    except ValidationError as error:
        messages.error(request, " ".join(error.messages))
        return back(request, address)
    messages.success(request, f"It is sent to {message.destination} again.")
    return redirect(address)
