"""Telling open pages that runs changed: one message a run and one a team, over the channel layer.

A page that is told reads the database again, so a lost message costs a moment and never the truth.
"""

from collections.abc import Iterable
from uuid import UUID

from django.db import transaction

from orchestrator.telling import has_broker, tell
from runs.models import FlowRun


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


def _publish(run_ids: tuple[UUID, ...]) -> None:
    unknown = [run_id for run_id in run_ids if run_id not in _teams]
    if unknown:
        if len(_teams) > _TEAMS_KEPT:
            _teams.clear()
        _teams.update(FlowRun.objects.filter(id__in=unknown).values_list("id", "team_id"))
    teams = {_teams[run_id] for run_id in run_ids if run_id in _teams}
    tell([*map(run_group, run_ids), *map(team_group, teams)])


# A run never changes its team. The bound keeps a server that lives for months small.
_TEAMS_KEPT = 20_000
_teams: dict[UUID, UUID] = {}


def remember(run_id: UUID, team_id: UUID) -> None:
    """Note the team of a run that was read just now, so that telling of it needs no query."""
    if len(_teams) > _TEAMS_KEPT:
        _teams.clear()
    _teams[run_id] = team_id
