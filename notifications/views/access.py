"""What a reader may see: rows of their teams. Everything else is not there."""

from uuid import UUID

from django.db.models import Prefetch, QuerySet
from django.shortcuts import get_object_or_404

from notifications.models import Delivery, Destination, Message, Policy
from teams.models import User

_UNREAD = tuple(
    f"{path}__{field}"
    for path, fields in {
        "flow_run": ("parameters", "error", "state_message"),
        "flow_run__flow": ("description",),
        "flow_run__deployment": ("description", "parameters", "parameter_schema", "declared", "tags"),
        "message": ("content",),
        "destination": ("config",),
        "message__destination": ("config",),
        "policy": ("message",),
    }.items()
    for field in fields
)


def destinations_in_order() -> Prefetch:
    """The destinations of policies, by name, without their secrets."""
    return Prefetch("destinations", Destination.objects.order_by("name").defer("config"))


def policy_of(user: User, policy_id: UUID) -> Policy:
    """Return a policy that this user may see, with its team (one query). Raises Http404."""
    found: Policy = get_object_or_404(Policy.objects.visible_to(user).select_related("team"), id=policy_id)
    return found


def destination_of(user: User, destination_id: UUID) -> Destination:
    """Return a destination that this user may see, with its team (one query). Raises Http404."""
    found: Destination = get_object_or_404(
        Destination.objects.visible_to(user).select_related("team", "created_by"), id=destination_id
    )
    return found


def deliveries_for(user: User) -> "QuerySet[Delivery]":
    """Return this user's deliveries with all that a row of a list says, and no more."""
    return in_rows(Delivery.objects.visible_to(user))


def in_rows(deliveries: "QuerySet[Delivery]") -> "QuerySet[Delivery]":
    """Read of deliveries what a row of a list shows; what was written in the messages stays where it is."""
    return deliveries.select_related(
        "flow_run__flow", "flow_run__deployment__mute__created_by", "policy", "destination", "message__destination"
    ).defer(*_UNREAD)


def message_of(delivery: Delivery) -> Message | None:
    """Return a delivery's message with its content and destination (one query)."""
    if delivery.message_id is None:
        return None
    return Message.objects.select_related("destination").get(id=delivery.message_id)
