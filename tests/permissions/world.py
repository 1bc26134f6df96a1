"""A team with one of everything, people of every kind who knock at its door, and every address to knock at."""

import json
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from django.http import HttpResponse
from django.test import Client
from django.urls import get_resolver, reverse
from django.utils import timezone

from flows.models import Block, Calendar, Schedule, Webhook, WorkQueue
from flows.snapshots import Snapshot
from flows.versions import DeploymentVersion
from notifications.models import Mute
from orchestrator.permissions import PAGES
from orchestrator.sdk.ids import uuid7
from orchestrator.sdk.snapshots.manifest import Manifest
from orchestrator.sdk.snapshots.pack import deflated
from orchestrator.sdk.states import StateType
from runs.authentication import run_token
from runs.models import Attempt, ConcurrencyLimit, Log, Worker
from teams import actions, members, shares, sharing
from teams.models import ApiToken, GroupMapping, Role, Team, User, fingerprint
from teams.rights import Level
from tests.notifications.making import Make

#: The hash of the snapshot that the team has.
SNAPSHOT = Manifest.of([]).hash
#: Addresses whose row is named by another thing than an id, and what to say there.
WORDS: dict[str, Any] = {
    "uidb36": "1",
    "key": "a-b",
    "session_id": 1,
    "verb": "cancel",
    "tag": "backfill:x",
    "code": "x",
    "secret": "hook_x",
    "hash": SNAPSHOT,
    "number": 1,
}
#: Bodies without which a verb that asks for rights itself is not reached.
BODIES: dict[str, dict[str, Any]] = {
    "api-member-list": {"user": "viewer", "role": "viewer"},
    "api-member-detail": {"role": "operator"},
    "api-invitation-list": {"role": "viewer"},
    "api-group-mapping-list": {"group": "g", "role": "viewer"},
    "api-user-list": {"username": "new", "team": "owners", "role": "viewer"},
    "api-service-account-list": {"name": "new", "team": "owners", "role": "viewer"},
    "api-share-list": {"flow": "new-thing", "user": "foreign", "level": "read"},
    "api-mute-list": {"deployment": "new-thing/nightly", "seconds": 60},
}


@dataclass
class World:
    """A team with one of everything, the ids by what addresses capture, and who may knock."""

    team: Team
    ids: dict[str, Any] = field(default_factory=dict)  #: by the name of an API's or a page's model
    attempt: Attempt | None = None
    users: dict[str, User] = field(default_factory=dict)


def _member(name: str, team: Team, role: str) -> User:
    return actions.create_user(name, team=team, role=Role(role), password=None)


def make_world() -> World:
    """Make it all; the transport `plain` has to be there (`tests.notifications.receiving`)."""
    team = members.create_team("owners")
    world = World(team)
    make = Make(team, "http://127.0.0.1:9/")
    flow = make.flow()
    deployment = make.deployment(flow=flow)
    schedule = Schedule.objects.create(deployment=deployment, kind="cron", expression="0 5 * * *")
    run = make.run(StateType.FAILED, flow=flow, deployment=deployment)
    running = make.run(StateType.RUNNING, flow=flow, deployment=deployment)
    log_id = uuid7()
    Log.objects.create(id=log_id, flow_run=run, time=timezone.now(), level=20, logger="x", message="x")
    destination = make.destination()
    policy = make.policy(destination)
    delivery = make.delivery(policy, destination, run)
    calendar = Calendar.objects.create(team=team, name="days")
    queue = WorkQueue.objects.create(team=team, name="other")
    limit = ConcurrencyLimit.objects.create(team=team, tag="db", limit=1)
    block = Block.objects.create(team=team, type="process", name="small", values={"memory_mb": 512})
    now = timezone.now()
    worker = Worker.objects.create(team=team, name="w", host="h", pid=1, places=1, started_at=now, heartbeat_at=now)
    Mute.objects.create(deployment=deployment, until=now + timedelta(hours=1))
    Webhook.objects.create(deployment=deployment, digest=fingerprint("hook_x"), prefix="hook_x")
    world.ids = {
        "flow": flow.pk, "deployment": deployment.pk, "schedule": schedule.pk, "run": run.pk, "flow-run": run.pk,
        "log": log_id, "destination": destination.pk, "policy": policy.pk, "notification-policy": policy.pk,
        "delivery": delivery.pk, "calendar": calendar.pk, "queue": queue.pk, "work-queue": queue.pk, "limit": limit.pk,
        "concurrency-limit": limit.pk, "block": block.pk,
        "worker": worker.pk, "mute": deployment.pk, "slot": uuid7(), "token": uuid7(),
    }  # fmt: skip
    DeploymentVersion.objects.create(deployment=deployment, number=1, state={"entrypoint": "x.py:x"})
    Snapshot.objects.create(team=team, hash=SNAPSHOT, manifest=deflated(Manifest.of([]).data), files=0, size=0)
    world.users = {role: _member(role, team, role) for role in Role.values}
    other = _member("other", team, "viewer")
    account = actions.create_service_account(team, "robot", role="operator")
    sharing.share(flow, Level.READ, other)
    world.ids |= {
        "team": team.pk, "member": other.pk, "user": other.pk, "service-account": account.pk,
        "invitation": members.invite(team, "viewer", user=world.users["admin"])[0].pk,
        "group-mapping": GroupMapping.objects.create(team=team, group="x", role="viewer").pk,
        "account": account.pk,
        "share": next(one["id"] for one in shares.shares_on(flow)),
    }  # fmt: skip
    world.ids["mapping"] = world.ids["group-mapping"]
    world.attempt = Attempt.objects.filter(flow_run=running).latest("number")
    world.users["site admin"] = actions.create_user("root", team=team, is_admin=True)
    world.users["foreign admin"] = _member("foreign", members.create_team("others"), "admin")
    return world


def client_of(world: World, knocker: str) -> Client:
    """A client that knocks as this one."""
    if knocker == "anonymous":
        return Client(raise_request_exception=False)
    if knocker in world.users:
        client = Client(raise_request_exception=False)
        client.force_login(world.users[knocker])
        return client
    if knocker == "run token":
        secret = run_token(world.attempt)
    else:
        fields = {"scope": "read"} if knocker == "read token" else {"deployment": uuid7()}
        secret = ApiToken.issue(name="t", user=world.users["admin"], team=world.team, **fields)[1]
    return Client(raise_request_exception=False, headers={"Authorization": f"Bearer {secret}"})


def knock(client: Client, world: World, name: str, method: str) -> HttpResponse:
    """Send the request, with as little as it may hold."""
    is_form = name in PAGES
    kind = "application/x-www-form-urlencoded" if is_form else "application/json"
    data = "" if is_form or method == "GET" else json.dumps(BODIES.get(name, {}))
    return client.generic(method, address_of(world, name), data, kind)


def address_of(world: World, name: str) -> str:
    captured = {}
    for key in _captures(name):
        if key in WORDS:
            captured[key] = WORDS[key]
        elif key in {"pk", "task_run"}:
            captured[key] = next(world.ids[one] for one in sorted(world.ids, key=len, reverse=True)
                                 if name.removeprefix("api-").startswith(one))  # fmt: skip
        else:
            captured[key] = world.ids[key.removesuffix("_id")]
    return reverse(name, kwargs=captured)


def _captures(name: str) -> list[str]:
    possibilities = get_resolver().reverse_dict.getlist(name)
    return list(possibilities[0][0][0][1]) if possibilities else []
