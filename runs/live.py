"""Telling open pages that runs changed: one message a run and one a team, over the channel layer.

A page that is told reads the database again, so a lost message costs a moment and never the truth.
"""

import asyncio
import functools
import logging
import os
import threading
from collections.abc import Iterable
from typing import Any
from uuid import UUID

from channels.layers import get_channel_layer
from django.db import transaction

from runs.bells import has_broker
from runs.models import FlowRun

log = logging.getLogger(__name__)
CHANGED = "live.changed"


def run_group(run_id: UUID) -> str:
    """The channel group of the pages that show this run."""
    return f"run.{run_id}"


def team_group(team_id: UUID) -> str:
    """The channel group of the pages that list a team's runs."""
    return f"team.{team_id}"


def announce(run_ids: Iterable[UUID]) -> None:
    """Tell open pages, after the commit, that these runs changed. Returns at once and never raises for the broker.

    Args:
        run_ids: Ids of flow runs. One query reads the teams of those not met before.
    """
    ids = tuple(run_ids)
    if ids and has_broker():
        transaction.on_commit(lambda: _publish(ids))


def send(messages: Iterable[tuple[str, dict[str, Any]]]) -> None:
    """Send each message to its channel group now, from the same thread. Returns at once and never raises."""
    _publisher(os.getpid()).put_each(list(messages))


def _publish(run_ids: tuple[UUID, ...]) -> None:
    unknown = [run_id for run_id in run_ids if run_id not in _teams]
    if unknown:
        if len(_teams) > _TEAMS_KEPT:
            _teams.clear()
        _teams.update(FlowRun.objects.filter(id__in=unknown).values_list("id", "team_id"))
    teams = {_teams[run_id] for run_id in run_ids if run_id in _teams}
    _publisher(os.getpid()).put([*map(run_group, run_ids), *map(team_group, teams)])


# A run never changes its team. The bound keeps a server that lives for months small.
_TEAMS_KEPT = 20_000
_teams: dict[UUID, UUID] = {}


def remember(run_id: UUID, team_id: UUID) -> None:
    """Note the team of a run that was read just now, so that telling of it needs no query."""
    if len(_teams) > _TEAMS_KEPT:
        _teams.clear()
    _teams[run_id] = team_id


class _Publisher:
    """A thread that sends to the channel layer over one connection, so that a slow broker holds up nobody's commit."""

    def __init__(self) -> None:
        self._groups: set[str] = set()
        self._messages: list[tuple[str, dict[str, Any]]] = []
        self._filled = asyncio.Event()
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_until_complete, args=[self._send()], name="live", daemon=True).start()

    def put(self, groups: list[str]) -> None:
        """Have a message sent to each of these groups; what is still waiting is not sent twice."""
        self._loop.call_soon_threadsafe(self._add, groups)

    def put_each(self, messages: list[tuple[str, dict[str, Any]]]) -> None:
        """Have these messages sent, each to its group, before what tells pages."""
        self._loop.call_soon_threadsafe(self._add_each, messages)

    def _add_each(self, messages: list[tuple[str, dict[str, Any]]]) -> None:
        self._messages += messages
        self._filled.set()

    def _add(self, groups: list[str]) -> None:
        self._groups.update(groups)
        self._filled.set()

    async def _send(self) -> None:
        told = True
        while True:
            await self._filled.wait()
            self._filled.clear()
            messages, self._messages = self._messages, []
            groups, self._groups = self._groups, set()
            try:
                layer = get_channel_layer()
                for group, message in [*messages, *((group, {"type": CHANGED}) for group in groups)]:
                    await layer.group_send(group, message)
                told = True
            except Exception as error:  # the network begins here; pages look again by themselves
                log.log(logging.WARNING if told else logging.DEBUG, "Nobody could be told of a change: %s", error)
                told = False


@functools.lru_cache(maxsize=1)
def _publisher(pid: int) -> _Publisher:
    """The thread of this process; a forked child starts its own."""
    return _Publisher()
