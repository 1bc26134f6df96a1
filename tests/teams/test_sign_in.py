"""Signing in by password and by one-time link, and who may not."""

import pytest
from allauth.usersessions.models import UserSession
from django.test import Client

from teams import actions
from teams.models import AuditEntry, Membership, SignInLink, Team, User
from teams.sign_in import people
from tests.teams.conftest import PASSWORD

pytestmark = pytest.mark.django_db


def sign_in(client: Client, login: str, password: str = PASSWORD, **more: str) -> "object":
    return client.post("/sign-in/", {"login": login, "password": password, **more})


def is_in(client: Client) -> bool:
    return client.get("/account/").status_code == 200


@pytest.mark.parametrize("login", ["ada", "ADA", " ada ", "ada@example.com", "Ada@Example.COM"])
def test_name_and_address_sign_in(visitor: Client, ada: User, login: str) -> None:
    response = sign_in(visitor, login)
    assert (response.status_code, response.url) == (302, "/")
    assert is_in(visitor)
    assert ada.password.startswith("argon2")


@pytest.mark.parametrize(("login", "password"), [("ada", "wrong"), ("nobody", PASSWORD), ("b@example.com", PASSWORD)])
def test_what_does_not_belong_together_is_refused(visitor: Client, ada: User, login: str, password: str) -> None:
    response = sign_in(visitor, login, password)
    assert response.status_code == 422
    assert "do not belong together" in response.content.decode()
    assert not is_in(visitor)


def test_it_leads_on_to_a_page_of_this_site_only(visitor: Client, ada: User) -> None:
    assert sign_in(visitor, "ada", next="/runs/").url == "/runs/"
    visitor.post("/sign-out/")
    assert sign_in(visitor, "ada", next="https://elsewhere.example.com/").url == "/"


def test_service_accounts_and_switched_off_people_do_not_come_in(visitor: Client, ada: User) -> None:
    User.objects.filter(pk=ada.pk).update(service_of=Team.default())
    response = sign_in(visitor, "ada")
    assert response.url == "/sign-in/switched-off/"
    assert "switched off" in visitor.get(response.url).content.decode()
    User.objects.filter(pk=ada.pk).update(service_of=None, is_active=False)
    sign_in(visitor, "ada")
    assert not is_in(visitor)


def test_who_is_switched_off_is_out_with_the_next_request(visitor: Client, ada: User) -> None:
    sign_in(visitor, "ada")
    assert is_in(visitor)
    actions.deactivate_user(ada)
    assert not is_in(visitor)
    assert not UserSession.objects.filter(user=ada).exists()


def test_nobody_signs_up(visitor: Client) -> None:
    assert "Sign up" not in visitor.get("/sign-in/").content.decode()
    for address in ("/account/signup/", "/accounts/signup/", "/sign-in/sso/"):
        assert visitor.get(address).status_code == 404, address


def test_the_one_time_link_works_once_and_lists_its_session(visitor: Client) -> None:
    admin = User.first_admin()
    code = SignInLink.issue(admin)
    assert visitor.get(f"/sign-in/{code}/").url == "/"
    assert is_in(visitor)
    assert UserSession.objects.get(user=admin).session_key == visitor.session.session_key
    visitor.post("/sign-out/")
    assert not UserSession.objects.exists()
    assert visitor.get(f"/sign-in/{code}/").status_code == 410


def test_a_sign_in_is_in_the_audit_log_with_its_address(visitor: Client, ada: User) -> None:
    sign_in(visitor, "ada")
    entry = AuditEntry.objects.get(verb="user.sign_in")
    assert (entry.actor, entry.address, entry.via) == (ada, "127.0.0.1", "page")


def test_the_address_is_what_the_trusted_proxies_say(visitor: Client, ada: User, settings: object) -> None:
    settings.TRUSTED_PROXIES = 2
    forged_then_true = {"x-forwarded-for": "6.6.6.6, 203.0.113.9, 10.0.0.2"}
    visitor.post("/sign-in/", {"login": "ada", "password": PASSWORD}, headers=forged_then_true)
    assert UserSession.objects.get(user=ada).ip == "203.0.113.9"
    assert AuditEntry.objects.get(verb="user.sign_in").address == "203.0.113.9"


def test_accounts_of_people_who_are_in_no_team_work(visitor: Client) -> None:
    lone = people.new_user("lone", password=PASSWORD)
    assert not Membership.objects.filter(user=lone).exists()
    sign_in(visitor, "lone")
    assert "in no team yet" in visitor.get("/account/").content.decode()
