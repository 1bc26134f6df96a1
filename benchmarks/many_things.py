"""What `benchmarks.many_teams` writes through the models: people, what teams own, and whoever is measured."""

import random
from datetime import timedelta
from importlib import import_module
from typing import Any

from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.auth.hashers import make_password
from django.utils import timezone

from benchmarks.many_runs import DAYS, TAGS
from flows.models import Calendar, Deployment, Flow, Schedule, WorkQueue
from notifications.models import Destination, Mute, Policy, Subscription
from orchestrator.door import addresses
from orchestrator.encryption import Secret
from orchestrator.paging import encode_cursor
from orchestrator.permissions import API, PAGES, Of
from runs.models import ConcurrencyLimit, FlowRun, Worker
from teams import members, sharing
from teams.models import ApiToken, Membership, Role, Team, User
from teams.rights import Level

WORDS = ("orders", "invoices", "stock", "churn", "clicks", "ledger", "prices", "returns", "leads", "sensors")
#: Addresses that are read and list nothing that grows with the site.
NO_LISTS = {
    "preferences", "audit-export", "api-audit-export", "api-schema", "api-docs", "mfa_index", "mfa_view_recovery_codes",
    "api-slot-tags", "api-slot-stream",
}  # fmt: skip
_random = random.Random(5)


def people(users: int, teams: int) -> tuple[list[Team], list[User]]:
    """Make teams and people, each person in one to three teams, and two tokens a person."""
    made = Team.objects.bulk_create([Team(name=f"team-{number:03}") for number in range(teams)])
    everyone = User.objects.bulk_create([
        User(username=f"person-{number:04}", email=f"person-{number}@example.com", password=make_password(None))
        for number in range(users)
    ])  # fmt: skip
    weights = [1 / rank for rank in range(1, teams + 1)]
    memberships = []
    for person in everyone:
        for team in {*_random.choices(made, weights, k=_random.randint(1, 3))}:
            memberships.append(Membership(user=person, team=team, role=_random.choice(Role.values)))
    Membership.objects.bulk_create(memberships, batch_size=1000)
    tokens = [
        ApiToken(name="laptop", user=one.user, team=one.team, prefix="orc_000000", digest=f"{number:064}")
        for number, one in enumerate(memberships)
    ]
    ApiToken.objects.bulk_create(tokens, batch_size=1000)
    return made, everyone


def deployments(teams: list[Team], numbers: list[int], a_flow: int) -> list[Any]:
    """Make each team's queues, flows and so many deployments; two of five have a schedule (`schedule_id`)."""
    queues, flows, made, schedules = [], [], [], []
    for team, number in zip(teams, numbers, strict=True):
        own = [WorkQueue(team=team, name=name) for name in ("default", "large", "nightly")]
        queues += own
        of_team = [
            Flow(team=team, name=f"{WORDS[n % 10]}_{n}", slug=f"{WORDS[n % 10]}-{n}")
            for n in range(-(-number // a_flow))
        ]
        flows += of_team
        for n in range(number):
            name = f"{('daily', 'hourly', 'manual')[n % 3]}-{n}"
            one: Any = Deployment(
                team=team, flow=of_team[n // a_flow], name=name, slug=name, queue=own[n % 3], tags=[TAGS[n % 6]],
                entrypoint="pipelines/daily.py:main", parameters={"region": "eu", "limit": 1000}, paused=n % 20 == 19,
            )  # fmt: skip
            one.schedule_id = None
            if n % 5 < 2:
                # its next times are written here: the tick is to leave it alone
                schedule = Schedule(deployment=one, kind="cron", expression="0 6 * * *", tick_at=None)
                schedules.append(schedule)
                one.schedule_id = schedule.pk
            made.append(one)
    for model, rows in ((WorkQueue, queues), (Flow, flows), (Deployment, made), (Schedule, schedules)):
        model._default_manager.bulk_create(rows, batch_size=1000)  # type: ignore[attr-defined]
    return made


def other_things(teams: list[Team], people: list[User]) -> None:
    """Make what else teams own, some of each, and shares of deployments with people and teams."""
    calendars = [Calendar(team=team, name=f"calendar-{n}", slug=f"calendar-{n}") for team in teams for n in range(3)]
    limits = [ConcurrencyLimit(team=team, tag=tag, limit=4) for team in teams for tag in TAGS]
    told = [
        Destination(
            team=team, name=f"channel-{n}", kind="webhook", config=Secret.of({}), summary="https://example.com/"
        )
        for team in teams
        for n in range(2)
    ]
    policies = [Policy(team=team, name=f"policy-{n}", events=["FAILED"]) for team in teams for n in range(4)]
    now = timezone.now()
    workers = [
        Worker(name=f"worker-{n}", host=f"host-{n}", pid=n, places=8, started_at=now, heartbeat_at=now)
        for n in range(20)
    ]
    for model, rows in ((Calendar, calendars), (ConcurrencyLimit, limits), (Destination, told), (Policy, policies)):
        model._default_manager.bulk_create(rows, batch_size=1000)  # type: ignore[attr-defined]
    Worker.objects.bulk_create(workers)
    by_team = {one.team_id: one for one in told}
    Subscription.objects.bulk_create([Subscription(policy=one, destination=by_team[one.team_id]) for one in policies])
    some = list(Deployment.objects.order_by("?")[: len(people) // 2])
    for one in some[: len(some) // 5]:
        sharing.share(one, Level.READ, _random.choice(people))
    until = now + timedelta(days=3)
    Mute.objects.bulk_create([Mute(deployment=one, until=until) for one in some[:50]])


def callers(teams: list[Team], made: list[Any], shares: int) -> dict[str, dict[str, str]]:
    """Make whoever is measured, each with a token and a session.

    A member of these teams; one to whom single objects are shared too (half of them deployments to the person, a
    quarter each flows to the person and deployments to a team); the site's administrator.
    """
    found = {}
    for name in ("member", "sharer", "admin"):
        user = User.objects.create(username=f"measured-{name}", password=make_password(None))
        roles = (Role.OPERATOR, Role.ADMIN, Role.VIEWER)
        for team, role in zip(teams, roles, strict=True) if name != "admin" else ():
            members.join(user, team, role)
        if name == "admin":
            User.objects.filter(pk=user.pk).update(is_superuser=True, is_staff=True)
        if name == "sharer":
            others = [one for one in made if one.team_id not in {team.pk for team in teams}]
            chosen = _random.sample(others, min(shares, len(others)))
            for number, one in enumerate(chosen):
                row = one.flow if number % 4 == 3 else one
                sharing.share(row, Level.READ, members.group_of(teams[0]) if number % 4 == 2 else user)
        user.refresh_from_db()
        _, secret = ApiToken.issue(name="benchmark", user=user, team=teams[0])
        found[name] = {"token": secret, "session": _session(user), "id": str(user.pk)}
    return found


def _session(user: User) -> str:
    session = import_module(settings.SESSION_ENGINE).SessionStore()
    session[SESSION_KEY] = str(user.pk)
    session[BACKEND_SESSION_KEY] = settings.AUTHENTICATION_BACKENDS[0]
    session[HASH_SESSION_KEY] = user.get_session_auth_hash()
    session.create()
    return str(session.session_key)


def ids(teams: list[Team]) -> dict[str, str]:
    """Return ids and names by which lists are narrowed, all of the first of these teams, and cursors of deep pages."""
    team = teams[0]
    deployment = Deployment.objects.filter(team=team).select_related("flow", "queue").order_by("id")[0]
    deep = timezone.now() - timedelta(days=DAYS * 2 / 3)
    run = FlowRun.objects.filter(team=team, expected_start__lte=deep).newest_first()[0]
    newest = FlowRun.objects.filter(team=team, attempt=1).newest_first()[0]
    return {
        "team": str(team.pk),
        "flow": str(deployment.flow_id),
        "flow_name": deployment.flow.name,
        "deployment": str(deployment.pk),
        "deployment_name": deployment.full_name,
        "queue": str(deployment.queue_id),
        "run": str(newest.pk),
        "run_name": run.name,
        "parent": str(FlowRun.objects.exclude(parent=None)[0].parent_id),
        "since": (timezone.now() - timedelta(days=7)).isoformat(),
        "until": deep.isoformat(),
        "page_cursor": f"{run.expected_start.isoformat()}_{run.pk}",
        "api_cursor": encode_cursor([run.expected_start, run.pk]),
    }


def lists() -> dict[str, str]:
    """Return the addresses, by name, that list what a reader may see, as the permission matrix has them."""
    tables = {**PAGES, **API}
    found = {}
    for address, name in addresses():
        needs = tables.get(name, {})
        reads = "GET" in needs and needs["GET"].of in {Of.SELF, Of.OWN, Of.ADMINS}
        is_form = "POST" in needs and not name.endswith("-list")
        if reads and not is_form and "<" not in address and name not in NO_LISTS:
            found.setdefault(name, f"/{address}")
    return found
