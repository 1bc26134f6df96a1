"""What became of each notification: the list, and one delivery with its message and every answer."""

from functools import cached_property
from typing import Any
from uuid import UUID

from django.http import Http404

from notifications.content import Content, from_json
from notifications.models import Delivery, Destination, Message, Policy
from notifications.views.access import deliveries_for, message_of
from runs.live import run_group
from runs.views.live_page import LivePage, Reader

ROWS = 50
COMPANY = 20
MAX_CHOICES = 200
_FILTERS = ("status", "policy", "destination", "run")


def page_of(deliveries: Any, cursor: str, size: int) -> tuple[list[Delivery], UUID | None]:
    """Return a page of deliveries, newest first, and the id behind which the next one begins (one query)."""
    if last := uuid_of(cursor):
        deliveries = deliveries.filter(id__lt=last)
    found = list(deliveries.order_by("-id")[: size + 1])
    return found[:size], found[size - 1].id if len(found) > size else None


def uuid_of(text: str) -> UUID | None:
    """Return the id that a text is; None for another."""
    try:
        return UUID(text)
    except ValueError:
        return None


class DeliveriesPage(LivePage):
    """Deliveries that match the query, newest first."""

    template = "notifications/deliveries.html"
    regions = {"rows": "notifications/_delivery_rows.html"}
    sweep_seconds = 5

    def context(self) -> dict[str, Any]:
        """The rows (one query), and the choices of the filters, read when their template asks (two)."""
        query, user = self.reader.query, self.reader.user
        page, after = page_of(self._filtered(), query.get("cursor", ""), ROWS)
        return {
            "deliveries": page,
            "next": after and self.reader.link(cursor=after),
            "first": self.reader.link(cursor=None) if query.get("cursor") else None,
            "filtered": any(query.get(name) for name in _FILTERS),
            "statuses": [(*choice, choice[0] == query.get("status")) for choice in Delivery.Status.choices],
            "policy_choices": lambda: _named(Policy.objects.visible_to(user)),
            "destination_choices": lambda: _named(Destination.objects.visible_to(user)),
            "chosen": {name: query.get(name, "") for name in _FILTERS},
        }

    def _filtered(self) -> Any:
        query, found = self.reader.query, deliveries_for(self.reader.user)
        if (status := query.get("status", "")) in Delivery.Status.values:
            found = found.with_status(status)
        for name, field in (("policy", "policy"), ("destination", "destination"), ("run", "flow_run")):
            if id := uuid_of(query.get(name, "")):
                found = found.filter(**{field: id})
        return found


def _named(rows: Any) -> list[tuple[str, str]]:
    return [(str(id), name) for id, name in rows.order_by("name").values_list("id", "name")[:MAX_CHOICES]]


class DeliveryPage(LivePage):
    """One delivery: the message as it was written, what the service answered, what else was in it."""

    template = "notifications/delivery.html"
    regions = {"delivery": "notifications/_delivery.html"}
    sweep_seconds = 5

    def __init__(self, reader: Reader, delivery_id: UUID) -> None:
        """Read the delivery (one query)."""
        super().__init__(reader)
        delivery = deliveries_for(reader.user).filter(id=delivery_id).first()
        if delivery is None:
            raise Http404
        self.delivery = delivery

    def groups(self) -> list[str]:
        """Its run's."""
        return [run_group(self.delivery.flow_run_id)]

    @cached_property
    def message(self) -> Message | None:
        """The message that it was gathered into (one query)."""
        return message_of(self.delivery)

    def context(self) -> dict[str, Any]:
        """At most two queries."""
        message = self.message
        company, after = self._company(message)
        return {
            "delivery": self.delivery,
            "message": message,
            "content": _content(message),
            "company": company,
            "company_next": after and self.reader.link(cursor=after),
            "company_first": self.reader.link(cursor=None) if self.reader.query.get("cursor") else None,
        }

    def _company(self, message: Message | None) -> tuple[list[Delivery], UUID | None]:
        if message is None or message.count <= 1:
            return [], None
        found = deliveries_for(self.reader.user).filter(message=message)
        return page_of(found, self.reader.query.get("cursor", ""), COMPANY)


def _content(message: Message | None) -> Content | None:
    return from_json(message.content) if message is not None else None
