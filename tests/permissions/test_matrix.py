"""Every address and method, by everybody: what comes out is what `orchestrator.permissions` says.

A refusal (401, 403, 404, the way to the sign-in page) is compared; what is let in answers what its body deserves.
"""

from copy import deepcopy
from pathlib import Path

import pytest
from django.conf import settings
from django.db import transaction
from django.http import HttpResponse
from django.urls import reverse

from orchestrator import door, permissions
from orchestrator.permissions import API, PAGES, SOCKETS, Need, Of
from runs import routing
from teams.models import Role
from teams.rights import OF_ROLE, Level
from tests.permissions.world import World, client_of, knock

pytestmark = pytest.mark.django_db

ROLES = [*Role.values]
OUTSIDERS = ("foreign admin", "token of another deployment")


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
    if knocker == "run token":  # of another run than these
        return {404} if need.run_token and need.of is Of.ROW else set() if need.run_token else {403}
    if need.by_token and not knocker.endswith(("token", "deployment")):
        return {401}
    if need.of is Of.RUNS:
        return {403}
    if need.of in {Of.SELF, Of.OWN} or knocker == "site admin":
        return set()
    if need.of is Of.SITE:
        return {403, 404}
    if need.of is Of.ADMINS:
        return set() if knocker in {"admin", "foreign admin", "read token"} else {403}
    if need.of is Of.TEAM:
        if need.by_verb and knocker in OUTSIDERS:  # it is not there for them
            return {400}
        if knocker == "foreign admin":  # in their own team
            return set()
        return set() if _level(knocker) >= need.level else {403}
    if knocker in OUTSIDERS:
        return {404}
    return set() if _level(knocker) >= need.level else {403}


KNOCKERS = [
    *ROLES, "site admin", "foreign admin", "anonymous", "read token", "token of another deployment", "run token",
]  # fmt: skip
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
    client = client_of(world, knocker)
    wrong = []
    for name, method, need in [(name, *one) for name, methods in table.items() for one in methods.items()]:
        cookies = deepcopy(client.cookies)
        with transaction.atomic():
            response = knock(client, world, name, method)
            transaction.set_rollback(True)
        client.cookies = cookies
        refusals = expected(need, knocker, is_api=table is API)
        if (name, method) in LET_IN_AND_REFUSED and not refusals:
            continue
        came = response.status_code if 400 in refusals else _refusal(response)
        fault = response.status_code >= 500 and response.status_code != 501
        if fault or ((came not in refusals) if refusals else came):
            wrong.append(f"{method} {name}: {response.status_code}, expected {sorted(refusals) or 'let in'}")
    assert not wrong, "\n".join(wrong)


def test_the_token_of_a_run_reaches_that_run(world: World) -> None:
    client, run = client_of(world, "run token"), str(world.attempt.flow_run_id)
    for name, methods in API.items():
        if name == "api-snapshot-pack":  # tests/api/test_snapshots.py
            continue
        if (need := methods.get("GET")) and need.run_token and need.of is Of.ROW:
            assert client.get(reverse(name, args=[run]), {"process": run}).status_code == 200, name


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


def test_every_socket_stands_in_the_table() -> None:
    assert {str(route.pattern) for route in routing.websocket_urlpatterns} == set(SOCKETS)


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
