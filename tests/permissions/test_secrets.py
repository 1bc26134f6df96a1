"""Secrets that are planted everywhere appear on no page, in no answer, no log and no audit entry."""

import logging
from typing import Any

import pytest
from allauth.mfa.totp.internal.auth import TOTP, generate_totp_secret
from django.contrib import admin
from django.http import HttpRequest
from django.test import Client
from django.urls import reverse

from flows import block_actions
from notifications import actions as notifying
from notifications.transports.webhook import new_secret
from orchestrator.permissions import API, PAGES
from teams import actions, members
from teams.models import AuditEntry, Role, SignInLink
from tests.permissions.world import World, address_of

#: What the page is for: it shows what was made just now, and that alone.
SHOWN_ONCE = {"mfa_activate_totp", "mfa_view_recovery_codes"}


@pytest.fixture
def planted(world: World, settings: Any) -> dict[str, str]:
    """Secrets by what they are of, each put where the site keeps such a thing, through its verb."""
    root = world.users["site admin"]
    person = actions.create_user("pat", password="Planted-password-8", team=world.team, user=root)
    actions.set_password(person, "Planted-password-9", user=root)
    token, token_secret = actions.create_token("ci", person, user=root)
    settings.EMAIL_HOST_PASSWORD = "planted-mail-password"
    slack = "https://hooks.slack.com/services/T000/B000/plantedslackpath"
    notifying.create_destination(world.team, user=root, kind="slack", address=slack)
    address, signing = "https://hooks.example.com/planted-path?key=planted-query", new_secret()
    hook, _ = notifying.create_destination(world.team, user=root, kind="webhook", address=address, secret=new_secret())
    notifying.change_destination(hook, user=root, secret=signing)
    values = {"registry": "registry.example.com", "username": "me", "password": "planted-registry-password"}
    block = block_actions.create_block(world.team, type="registry-credentials", name="r", values=values, user=root)
    block_actions.update_block(block, values={"password": "planted-registry-password-2"}, user=root)
    world.ids["block"] = block.pk
    totp = generate_totp_secret()
    TOTP.activate(root, totp)
    invitation = members.invite(world.team, Role.VIEWER, user=root)[1]
    return {
        "password": "Planted-password-",
        "token": token_secret[len(token.prefix) :],
        "mail": settings.EMAIL_HOST_PASSWORD,
        "Slack": "plantedslackpath",
        "webhook's path": "planted-path",
        "webhook's query": "planted-query",
        "webhook's secret": signing,
        "registry's password": "planted-registry-password",
        "second factor": totp,
        "invitation": invitation,
        "sign-in link": SignInLink.issue(root),
        "secret key": settings.SECRET_KEY,
    }


def found_in(text: str, planted: dict[str, str]) -> list[str]:
    """Which secrets stand in a text."""
    return [name for name, secret in planted.items() if secret in text]


def admin_addresses(world: World) -> list[str]:
    """The lists of the administration, and the page of each model's first row."""
    request = HttpRequest()
    request.user = world.users["site admin"]
    found = [reverse("admin:index")]
    for model, site in admin.site._registry.items():
        name = f"admin:{model._meta.app_label}_{model._meta.model_name}"
        found.append(reverse(f"{name}_changelist"))
        if row := site.get_queryset(request).first():
            found += [reverse(f"{name}_{page}", args=[row.pk]) for page in ("change", "history")]
    return found


def test_no_page_and_no_answer_shows_a_secret(world: World, planted: dict[str, str], client: Client) -> None:
    client.force_login(world.users["site admin"])
    names = [name for name, methods in {**PAGES, **API}.items() if "GET" in methods and name not in SHOWN_ONCE]
    shown = {}
    for address in [*(address_of(world, name) for name in names), *admin_addresses(world)]:
        response = client.get(address, follow=True)
        assert response.status_code in {501, *range(500)}, address
        body = b"".join(response) if response.streaming else response.content
        if secrets := found_in(body.decode(errors="replace"), planted):
            shown[address] = secrets
    assert shown == {}


def test_no_audit_entry_holds_a_secret(planted: dict[str, str]) -> None:
    entries = [str(list(AuditEntry.objects.values_list().filter(pk=entry.pk))) for entry in AuditEntry.objects.all()]
    assert len(entries) > 5
    assert [entry for entry in entries if found_in(entry, planted)] == []


def test_a_failure_logs_no_secret(
    world: World, planted: dict[str, str], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("boom")

    monkeypatch.setattr(notifying, "create_destination", fail)
    client = Client(raise_request_exception=False)
    client.force_login(world.users["site admin"])
    body = {"kind": "webhook", "address": "https://hooks.example.com/planted-path?key=planted-query"}
    with caplog.at_level(logging.DEBUG):
        response = client.post(reverse("api-destination-list"), body, "application/json")
    assert response.status_code == 500
    assert "boom" not in response.content.decode()
    assert "boom" in caplog.text
    assert found_in(caplog.text + response.content.decode(), planted) == []
