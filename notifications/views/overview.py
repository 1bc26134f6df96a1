"""The first page of notifications: what is wrong, then who is told what, where, and what became of it."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Count, F, Min, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce

from notifications.models import Delivery, Destination, Message, Policy
from notifications.presentation import UNSENT_AFTER
from notifications.transports import transport
from notifications.views.access import deliveries_for, destinations_in_order
from runs.views.live_page import LivePage

POLICIES = 50
DESTINATIONS = 50
DELIVERIES = 10
COUNTED = 1000


@dataclass(frozen=True, slots=True)
class Unsent:
    """Deliveries that wait though their destination takes messages: no worker sends."""

    count: int
    since: datetime

    @property
    def is_all(self) -> bool:
        """Whether `count` is all of them, and not where counting ended."""
        return self.count < COUNTED


class NotificationsPage(LivePage):
    """What a team is told, as its reader sees it now."""

    template = "notifications/notifications.html"
    regions = {
        "problems": "notifications/_problems.html",
        "policies": "notifications/_policies.html",
        "destinations": "notifications/_destinations.html",
        "deliveries": "notifications/_delivery_rows.html",
    }
    sweep_seconds = 5

    def context(self) -> dict[str, Any]:
        """At most nine queries."""
        user, now, begin = self.reader.user, self.reader.now, self.reader.begin
        policies = _with_last_messages(Policy.objects.listed_for(user))
        found = list(policies[begin : begin + POLICIES + 1])
        destinations = list(_with_policies(Destination.objects.listed_for(user))[: DESTINATIONS + 1])
        last = _messages(found[:POLICIES])
        return {
            "policies": [(policy, last.get(policy.last_message_id)) for policy in found[:POLICIES]],
            "next": self.reader.link(**{"from": begin + POLICIES}) if len(found) > POLICIES else None,
            "first": self.reader.link(**{"from": None}) if begin else None,
            "destinations": destinations[:DESTINATIONS],
            "has_more_destinations": len(destinations) > DESTINATIONS,
            "unavailable": _unavailable(destinations),
            "failing": list(_failing(user)),
            "unsent": _unsent(user, now),
            "deliveries": list(deliveries_for(user).order_by("-id")[:DELIVERIES]),
            "has_teams": len({row.team_id for row in [*found, *destinations]}) > 1,
        }


def _with_last_messages(policies: QuerySet[Policy]) -> QuerySet[Policy]:
    newest = Message.objects.filter(policy=OuterRef("pk")).order_by("-id").values("id")[:1]
    return (
        policies.annotate(last_message_id=Subquery(newest))
        .select_related("team")
        .prefetch_related(destinations_in_order())
        .order_by("name", "id")
    )


def _messages(policies: list[Any]) -> dict[Any, Message]:
    """The policies' last messages by id (one query)."""
    wanted = [policy.last_message_id for policy in policies if policy.last_message_id]
    return Message.objects.defer("content").in_bulk(wanted) if wanted else {}


def _with_policies(destinations: QuerySet[Destination]) -> QuerySet[Destination]:
    """Destinations with how many policies tell them, those with something wrong first."""
    return (
        destinations.annotate(policy_count=Count("subscriptions"), is_failing=Q(failures__gt=0))
        .select_related("team")
        .defer("config")
        .order_by("-gave_up", F("paused_at").desc(nulls_last=True), "-is_failing", "name", "id")
    )


def _failing(user: Any) -> QuerySet[Destination]:
    """Destinations that gave up or keep failing, the worst first, with what waits for them."""
    due = Delivery.objects.filter(destination=OuterRef("pk"), due_at__isnull=False).order_by().values("destination")
    waiting = Coalesce(Subquery(due.values(count=Count("id"))), 0)
    return (
        Destination.objects.visible_to(user)
        .filter(Q(paused_at__isnull=False) | Q(failures__gt=0))
        .annotate(waiting=waiting)
        .defer("config")
        .order_by("-gave_up", "failing_since", "name")[:DESTINATIONS]
    )


def _unsent(user: Any, now: datetime) -> Unsent | None:
    """What has been due for longer than a sender takes, where nothing holds it up (two queries)."""
    before = now - UNSENT_AFTER
    takes = Q(destination__paused_at=None) & (Q(destination__retry_at=None) | Q(destination__retry_at__lt=before))
    idle = Q(destination__lease_expires_at=None) | Q(destination__lease_expires_at__lt=now)
    due = Delivery.objects.visible_to(user).filter(takes, idle, due_at__lt=before)
    written = Message.objects.visible_to(user).filter(takes, idle, state="waiting", created_at__lt=before)
    found = [
        rows.order_by()[:COUNTED].aggregate(count=Count("id"), since=Min(time))
        for rows, time in ((due, "due_at"), (written, "created_at"))
    ]
    count = sum(part["count"] for part in found)
    return Unsent(min(count, COUNTED), min(part["since"] for part in found if part["since"])) if count else None


def _unavailable(destinations: list[Destination]) -> list[tuple[str, str]]:
    """Kinds that destinations use and this server cannot send to, with what to do about it."""
    kinds = sorted({destination.kind for destination in destinations})
    said = ((transport(kind).label, transport(kind).unavailable()) for kind in kinds)
    return [(label, reason) for label, reason in said if reason]
