"""Addresses of pages, as they stand in messages: absolute, or empty where nobody said where the site is."""

from collections.abc import Iterable
from typing import Final
from urllib.parse import urlencode
from uuid import UUID

from django.conf import settings
from django.urls import reverse

from notifications.events import Event
from orchestrator.links import PAGES

# What the list of runs calls the state that an event leaves a run in.
_STATES: Final = {
    Event.FAILED: "failed",
    Event.CRASHED: "crashed",
    Event.CANCELLED: "cancelled",
    Event.COMPLETED: "completed",
    Event.RECOVERED: "completed",
    Event.LONG_RUNNING: "running",
    Event.LATE: "waiting",
    Event.OVERRAN: "running",
    Event.MISSED_DEADLINE: "running",
}


def to_run(run_id: UUID) -> str:
    """Return the address of a run's page."""
    return _absolute(reverse("run", PAGES, args=[run_id]))


def to_runs(events: Iterable[str], **filters: UUID) -> str:
    """Return the address of the list of runs in the states of these events; `deployment` and `flow` narrow it."""
    states = dict.fromkeys(_STATES[Event(event)] for event in events)
    query = [("state", state) for state in states] + [(name, str(id)) for name, id in filters.items()]
    return _absolute(f"{reverse('runs', PAGES)}?{urlencode(query)}")


def to_notifications() -> str:
    """Return the address of the page of policies and destinations."""
    return _absolute(reverse("notifications", PAGES))


def _absolute(path: str) -> str:
    base = settings.EXTERNAL_URL or settings.API_URL
    return f"{base.rstrip('/')}{path}" if base else ""
