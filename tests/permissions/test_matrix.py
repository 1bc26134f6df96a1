"""Every address and method, by everybody: what comes out is what `orchestrator.permissions` says.

A refusal (401, 403, 404, the way to the sign-in page) is compared; what is let in answers what its body deserves.
"""

import json
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.db import transaction
from django.http import HttpResponse
from django.test import Client
from django.urls import get_resolver, reverse
from django.utils import timezone

from flows.models import Calendar, Schedule, Webhook, WorkQueue
from notifications.models import Mute
from notifications.transports import TRANSPORTS
from orchestrator import door, permissions
from orchestrator.permissions import API, PAGES, Need, Of
from orchestrator.sdk.ids import uuid7
from orchestrator.sdk.states import StateType
from runs.authentication import run_token
from runs.models import Attempt, ConcurrencyLimit, Log, Worker
from teams import actions, members, shares, sharing
from teams.models import ApiToken, GroupMapping, Role, Team, User, fingerprint
from teams.rights import OF_ROLE, Level
from tests.notifications.making import Make

pytestmark = pytest.mark.django_db

#: Addresses whose row is named by another thing than an id, and what to say there.
WORDS: dict[str, Any] = {
    "uidb36": "1",
    "key": "a-b",
    "session_id": 1,
    "verb": "cancel",
    "tag": "backfill:x",
    "code": "x",
    "secret": "hook_x",
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
}
ROLES = [*Role.values]


@dataclass
class World:
    """A team with one of everything, the ids by what addresses capture, and who may knock."""

    team: Team
    ids: dict[str, Any] = field(default_factory=dict)  #: by the name of an API's or a page's model
    attempt: Attempt | None = None
    users: dict[str, User] = field(default_factory=dict)


def _member(name: str, team: Team, role: str) -> User:
    return actions.create_user(name, team=team, role=Role(role), password=None)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setitem(TRANSPORTS, "plain", "tests.notifications.receiving.PlainTransport")
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
    now = timezone.now()
    worker = Worker.objects.create(team=team, name="w", host="h", pid=1, places=1, started_at=now, heartbeat_at=now)
    Mute.objects.create(deployment=deployment, until=now + timedelta(hours=1))
    Webhook.objects.create(deployment=deployment, digest=fingerprint("hook_x"), prefix="hook_x")
    world.ids = {
        "flow": flow.pk, "deployment": deployment.pk, "schedule": schedule.pk, "run": run.pk, "flow-run": run.pk,
        "log": log_id, "destination": destination.pk, "policy": policy.pk, "notification-policy": policy.pk,
        "delivery": delivery.pk, "calendar": calendar.pk, "queue": queue.pk, "work-queue": queue.pk, "limit": limit.pk,
        "concurrency-limit": limit.pk, "worker": worker.pk, "mute": deployment.pk, "slot": uuid7(), "token": uuid7(),
    }  # fmt: skip
    world.users = {role: _member(role, team, role) for role in ROLES}
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
    world.users["foreign admin"] = _member("foreign", members.create_team("others"), "admin")
    return world


def _client(world: World, knocker: str) -> Client:
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


def _knock(client: Client, world: World, name: str, method: str) -> HttpResponse:
    """Send the request, with as little as it may hold."""
    is_form = name in PAGES
    kind = "application/x-www-form-urlencoded" if is_form else "application/json"
    data = "" if is_form or method == "GET" else json.dumps(BODIES.get(name, {}))
    return client.generic(method, _address(world, name), data, kind)


def _address(world: World, name: str) -> str:
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


def _level(knocker: str) -> Level:
    if knocker == "read token":
        return Level.READ
    return OF_ROLE.get(knocker, Level.NONE)


def expected(need: Need, knocker: str, *, is_api: bool) -> set[int]:
    """The refusals that may come out; empty: none may."""
    if need.of is Of.NOBODY:
        return set()
    if knocker == "anonymous" or (not is_api and knocker.endswith(("token", "deployment"))):
        return {401} if is_api else {302}
    if knocker == "run token":
        return set() if need.run_token else {403}
    if need.of in {Of.SELF, Of.OWN}:
        return set()
    if need.of is Of.SITE:
        return {403, 404}
    if need.of is Of.ADMINS:
        return set() if knocker in {"admin", "foreign admin", "read token"} else {403}
    if need.of is Of.TEAM:
        if knocker == "foreign admin":  # in their own team
            return {400} if need.by_verb else set()
        return set() if _level(knocker) >= need.level else {403}
    if knocker in {"foreign admin", "token of another deployment"}:
        return {404}
    return set() if _level(knocker) >= need.level else {403}


KNOCKERS = [*ROLES, "foreign admin", "anonymous", "read token", "token of another deployment", "run token"]
#: What is let in and answers so for want of a row or a right of its own, not for want of a level.
LET_IN_AND_REFUSED = {
    ("token-revoke", "GET"),
    ("token-revoke", "POST"),
    ("api-token-detail", "GET"),
    ("api-token-detail", "DELETE"),  # there is no such token
    ("api-slots", "POST"),
    ("run-log", "GET"),  # there is no older line
    ("deployment-backfilled", "GET"),  # nor such a backfill
    ("notification-send-again", "GET"),  # nor a message of this delivery
    ("notification-send-again", "POST"),
    ("api-delivery-send-again", "POST"),
    ("sign-out", "POST"),  # leads to the sign-in page
    ("sign-in-link", "GET"),
    ("account_inactive", "GET"),  # says so with 403
    ("mfa_authenticate", "GET"),  # nobody's password was right just now
    ("mfa_authenticate", "POST"),
    ("openid_connect_login", "GET"),  # there is no provider
    ("openid_connect_callback", "GET"),
    ("account_reauthenticate", "GET"),  # these people have no password, second factor or list of sessions
    ("account_reauthenticate", "POST"),
    ("mfa_reauthenticate", "GET"),
    ("mfa_reauthenticate", "POST"),
    ("mfa_deactivate_totp", "GET"),
    ("mfa_deactivate_totp", "POST"),
    ("mfa_view_recovery_codes", "GET"),
    ("account-session-end", "POST"),
    ("api-unknown", "GET"),
}


@pytest.mark.parametrize("knocker", KNOCKERS)
@pytest.mark.parametrize("table", [PAGES, API], ids=["pages", "api"])
def test_what_comes_out_is_what_the_matrix_says(world: World, table: dict[str, dict[str, Need]], knocker: str) -> None:
    client = _client(world, knocker)
    wrong = []
    for name, method, need in [(name, *one) for name, methods in table.items() for one in methods.items()]:
        cookies = deepcopy(client.cookies)
        with transaction.atomic():
            response = _knock(client, world, name, method)
            transaction.set_rollback(True)
        client.cookies = cookies
        refusals = expected(need, knocker, is_api=table is API)
        if (name, method) in LET_IN_AND_REFUSED and not refusals:
            continue
        came = _refusal(response)
        fault = response.status_code >= 500 and response.status_code != 501
        if fault or ((came not in refusals) if refusals else came):
            wrong.append(f"{method} {name}: {response.status_code}, expected {sorted(refusals) or 'let in'}")
    assert not wrong, "\n".join(wrong)


def _refusal(response: HttpResponse) -> int:
    """The status, where it is a refusal; 0 where the request was let in."""
    if response.status_code == 302:
        return 302 if response.headers["Location"].startswith(reverse("sign-in")) else 0
    return response.status_code if response.status_code in {401, 403, 404} else 0


def test_every_address_stands_in_one_table() -> None:
    names = [name for _, name in door.addresses()]
    assert door.every_address_has_its_need() == []
    assert not set(PAGES) & set(API)
    assert set(PAGES) | set(API) == set(names)


def test_who_is_nobody_reaches_exactly_these() -> None:
    tables = {**PAGES, **API}
    assert {name for name, methods in tables.items() if any(need.of is Of.NOBODY for need in methods.values())} == {
        "hook", "sign-in", "sign-in-link", "sign-out", "api-root", "api-unknown", "api-health", "account_login",
        "mfa_authenticate", "account_inactive", "openid_connect_login", "openid_connect_callback",
        "account_reset_password", "account_reset_password_done", "account_reset_password_from_key",
        "account_reset_password_from_key_done", "invitation",
    }  # fmt: skip


def test_the_printed_matrix_is_the_table() -> None:
    printed = Path(settings.BASE_DIR, "docs/reference/permissions.md").read_text()
    assert printed == permissions.markdown(), "python -m orchestrator.permissions > docs/reference/permissions.md"
