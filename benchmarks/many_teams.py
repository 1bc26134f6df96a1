"""`python -m benchmarks.many_teams USERS TEAMS DEPLOYMENTS RUNS`: a busy site, written into the database of a home.

Teams are skewed as they are in life: the k-th has a share of 1/k of the deployments, and so has the k-th deployment of
a team of its runs. Prints what `benchmarks.teams` needs to know of it, as JSON (`Site`).
"""

import itertools
import json
import sys
from typing import Any

import django

from benchmarks import many_runs
from orchestrator import site

DEPLOYMENTS_A_FLOW = 3
SHARES = 20
RANKS = (1, 9, 49)  # of the teams of the measured members: a large one, one of middle size, a small one


def main(users: int, teams: int, deployments: int, runs: int) -> None:
    """Write it and print what the module says."""
    site.load_settings()
    django.setup()
    from django.db import connection, transaction  # all of these need the settings

    from benchmarks import many_things
    from orchestrator.sdk.names import ADJECTIVES, ANIMALS
    from teams.models import User

    with transaction.atomic(), connection.cursor() as cursor:
        made_teams, people = many_things.people(users, teams)
        measured = [made_teams[min(rank, teams - 1 - n)] for n, rank in enumerate(RANKS)]
        made = many_things.deployments(made_teams, shares_of(deployments, teams), DEPLOYMENTS_A_FLOW)
        many_things.other_things(made_teams, people)
        _plan(cursor, made, runs)
        many_runs.write(cursor, (ADJECTIVES, ANIMALS), list(User.objects.values_list("id", flat=True)))
        callers = many_things.callers(measured, made, SHARES)
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")
    print(json.dumps({"callers": callers, "ids": many_things.ids(measured), "lists": many_things.lists()}))


def shares_of(count: int, among: int) -> list[int]:
    """Return how many each gets, the k-th in proportion to 1/k, each at least one; together `count` or a few more."""
    weights = [1 / rank for rank in range(1, among + 1)]
    total = sum(weights)
    return [max(1, round(count * weight / total)) for weight in weights]


def _plan(cursor: Any, made: list[Any], runs: int) -> None:
    """Write down how many runs each deployment is to have."""
    cursor.execute(
        "CREATE TEMPORARY TABLE plan (deployment_id uuid, team_id uuid, flow_id uuid, queue_id uuid, schedule_id uuid,"
        " tags jsonb, runs int)"
    )
    rows = []
    for _, group in itertools.groupby(made, key=lambda one: one.team_id):
        of_team = list(group)
        for one, number in zip(of_team, shares_of(round(runs * len(of_team) / len(made)), len(of_team)), strict=True):
            tags = json.dumps(one.tags)
            rows.append((one.id, one.team_id, one.flow_id, one.queue_id, one.schedule_id, tags, number))
    cursor.executemany("INSERT INTO plan VALUES (%s, %s, %s, %s, %s, %s, %s)", rows)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
