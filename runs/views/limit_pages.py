"""The limits of tags, and one: who holds its slots, and who waits in which order."""

from typing import Any
from uuid import UUID

from django.http import Http404

from runs.models import ConcurrencyLimit
from runs.slots import counted
from runs.views.live_page import LivePage, Reader

LIMITS = 50
SLOTS = 50


class LimitsPage(LivePage):
    """All limits, by tag."""

    template = "runs/limits.html"
    regions = {"rows": "runs/_limit_rows.html"}

    def context(self) -> dict[str, Any]:
        """A page of limits, with how many slots are held and waited for (one query)."""
        limits = counted(ConcurrencyLimit.objects.listed_for(self.reader.user)).order_by("tag", "id")
        begin = self.reader.begin
        found = list(limits[begin : begin + LIMITS + 1])
        return {
            "limits": found[:LIMITS],
            "next": self.reader.link(**{"from": begin + LIMITS}) if len(found) > LIMITS else None,
        }


class LimitPage(LivePage):
    """One limit."""

    template = "runs/limit.html"
    regions = {
        "head": "runs/_limit_head.html",
        "holders": "runs/_limit_holders.html",
        "waiting": "runs/_limit_waiting.html",
    }

    def __init__(self, reader: Reader, limit_id: UUID) -> None:
        """Read the limit (one query)."""
        super().__init__(reader)
        self.limit = limit_of(reader.user, limit_id)

    def context(self) -> dict[str, Any]:
        """Two queries more."""
        slots = self.limit.slots.select_related("flow_run__flow").defer("flow_run__parameters")
        return {
            "limit": self.limit,
            "holders": list(slots.filter(granted_at__isnull=False).order_by("granted_at", "pk")[:SLOTS]),
            "waiting": list(slots.filter(granted_at=None).order_by("pk")[:SLOTS]),
            "more_holders": max(0, self.limit.used - SLOTS),
            "more_waiting": max(0, self.limit.waiting - SLOTS),
        }


def limit_of(user: Any, limit_id: UUID) -> ConcurrencyLimit:
    """Return a limit that this user may see, with how many slots are held and waited for. Raises Http404."""
    limit: ConcurrencyLimit | None = counted(ConcurrencyLimit.objects.visible_to(user)).filter(pk=limit_id).first()
    if limit is None:
        raise Http404
    return limit
