"""The page of an invitation."""

import re
from datetime import timedelta

import pytest
from allauth.account.models import EmailAddress
from django.test import Client
from django.utils import timezone

from teams import actions, members
from teams.models import AuditEntry, Invitation, Membership, Role, Team, User
from tests.teams.conftest import PASSWORD

pytestmark = pytest.mark.django_db


@pytest.fixture
def team(db: None) -> Team:
    return members.create_team("data")


def invited(team: Team, role: Role = Role.OPERATOR, email: str = "") -> str:
    return f"/invitations/{members.invite(team, role, email=email)[1]}/"


def test_a_new_person_chooses_name_and_password_and_is_in(visitor: Client, team: Team) -> None:
    page = invited(team, email="Grace@example.com")
    assert "Join data" in visitor.get(page).content.decode()
    response = visitor.post(page, {"name": "grace", "password": PASSWORD})
    assert response.url == "/"
    grace = User.objects.get(username="grace")
    assert [(row.team, row.role) for row in Membership.objects.filter(user=grace)] == [(team, "operator")]
    assert visitor.get("/account/").context["user"] == grace
    assert grace.email == "grace@example.com"
    assert not EmailAddress.objects.get(user=grace).verified
    assert AuditEntry.objects.get(verb="team.accept_invitation").actor == grace


def test_what_is_wrong_is_said_and_uses_nothing_up(visitor: Client, team: Team, ada: User) -> None:
    page = invited(team)
    for name, password, said in [
        ("ada", PASSWORD, "already exists"), ("a b", PASSWORD, "valid username"), ("grace", "12345", "too short"),
        ("", PASSWORD, "cannot be blank"),
    ]:  # fmt: skip
        response = visitor.post(page, {"name": name, "password": password})
        assert response.status_code == 422
        assert re.search(said, response.content.decode())
    assert not User.objects.filter(username="grace").exists()
    assert visitor.get(page).status_code == 200


def test_who_has_an_account_signs_in_and_joins(visitor: Client, team: Team, ada: User) -> None:
    page = invited(team)
    assert f"/sign-in/?next={page.replace('/', '%2F')}" in visitor.get(page).content.decode()
    assert visitor.post("/sign-in/", {"login": "ada", "password": PASSWORD, "next": page}).url == page
    assert "Join as ada" in visitor.get(page).content.decode()
    assert not Membership.objects.filter(user=ada, team=team).exists()
    assert visitor.post(page).url == "/"
    assert Membership.objects.get(user=ada, team=team).role == "operator"


def test_it_works_once_and_not_when_it_was_withdrawn_or_is_old(visitor: Client, team: Team, ada: User) -> None:
    used, withdrawn, old = invited(team), invited(team), invited(team)
    visitor.post(used, {"name": "grace", "password": PASSWORD})
    visitor.post("/sign-out/")
    rows = list(Invitation.objects.filter(accepted_at=None).order_by("id"))
    members.revoke_invitation(rows[0])
    Invitation.objects.filter(pk=rows[1].pk).update(expires_at=timezone.now() - timedelta(seconds=1))
    for page in (used, withdrawn, old, "/invitations/made-up/"):
        assert visitor.get(page).status_code == 410, page
        assert visitor.post(page, {"name": "late", "password": PASSWORD}).status_code == 410
    assert not User.objects.filter(username="late").exists()


def test_an_address_that_somebody_has_is_not_given_to_a_second_person(visitor: Client, team: Team, ada: User) -> None:
    visitor.post(invited(team, email="ada@example.com"), {"name": "mallory", "password": PASSWORD})
    assert User.objects.get(username="mallory").email == ""
    assert EmailAddress.objects.get(email="ada@example.com").user == ada


def test_a_higher_role_is_kept(visitor: Client, team: Team) -> None:
    boss = actions.create_user("boss", password=PASSWORD, team=team, role=Role.ADMIN)
    visitor.force_login(boss)
    visitor.post(invited(team, Role.VIEWER))
    assert Membership.objects.get(user=boss, team=team).role == "admin"
