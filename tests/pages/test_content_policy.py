"""Where scripts and styles may come from. That pages keep to it is seen by every test with a browser (`page`)."""

import os
import subprocess
import sys

import pytest
from django.conf import settings
from django.test import Client
from playwright.sync_api import Page, expect

from teams.models import User
from tests.pages.conftest import Site


def policy_of(client: Client, address: str) -> dict[str, set[str]]:
    """The sources that an answer allows, by directive."""
    header = client.get(address, follow=True).headers["Content-Security-Policy"]
    return {name: set(sources) for name, *sources in (part.split() for part in header.split(";"))}


@pytest.mark.parametrize("address", ["/sign-in/", "/nothing/", "/api/health/", "/", "/runs/"])
def test_every_answer_allows_scripts_and_styles_of_this_host_alone(client: Client, db: None, address: str) -> None:
    client.force_login(User.first_admin())
    policy = policy_of(client, address)
    assert policy["default-src"] == policy["frame-ancestors"] == {"'none'"}
    assert policy["script-src"] == policy["style-src"] == {"'self'"}


def test_what_is_not_ours_has_its_own_policy_at_its_own_addresses(client: Client, db: None) -> None:
    client.force_login(User.first_admin())
    assert policy_of(client, "/admin/")["script-src"] == {"'self'", "'unsafe-eval'"}
    assert policy_of(client, "/api/docs/")["script-src"] == {"'self'"}


def test_the_browser_refuses_a_script_that_got_into_a_page(
    signed_in: Page, typical: Site, complaints: list[str]
) -> None:
    signed_in.goto(typical.url + "/runs/")
    ran = signed_in.evaluate(
        """() => {
          const script = document.createElement("script");
          script.textContent = "window.ran = true";
          document.body.append(script);
          return window.ran === true;
        }"""
    )
    assert not ran
    assert complaints.pop().startswith("Executing inline script violates")


def test_the_description_of_the_api_can_be_browsed(signed_in: Page, typical: Site) -> None:
    signed_in.goto(typical.url + "/api/docs/")
    expect(signed_in.get_by_text("List deployments")).to_be_visible(timeout=20_000)


def test_administration_works_under_its_policy(signed_in: Page, typical: Site) -> None:
    signed_in.goto(typical.url + "/admin/")
    expect(signed_in.get_by_role("link", name="Deployments").first).to_be_visible()
    deployment = typical.made["deployments"]["flights"].pk
    signed_in.goto(f"{typical.url}/admin/flows/deployment/{deployment}/change/")
    expect(signed_in.get_by_role("button", name="Save", exact=True)).to_be_visible()


def managed(*words: str) -> subprocess.CompletedProcess[str]:
    """Run manage.py behind TLS."""
    environment = {**os.environ, "ORCHESTRATOR_EXTERNAL_URL": "https://runs.example.com"}
    environment.pop("DJANGO_ALLOW_ASYNC_UNSAFE", None)  # of the tests
    command = [sys.executable, "manage.py", *words]
    return subprocess.run(
        command, env=environment, cwd=settings.BASE_DIR, capture_output=True, text=True, check=False, timeout=120
    )


def test_the_check_for_deployment_finds_nothing() -> None:
    done = managed("check", "--deploy", "--fail-level", "WARNING")
    assert done.returncode == 0, done.stderr


def test_behind_tls_browsers_are_told_to_stay_there() -> None:
    code = "from django.conf import settings as s; print(s.SECURE_HSTS_SECONDS, s.SESSION_COOKIE_SECURE)"
    assert managed("shell", "--no-imports", "-c", code).stdout.split() == ["31536000", "True"]
