"""Single sign-on with a real OpenID Connect provider: who comes in, and into which teams."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal.auth import TOTP
from allauth.socialaccount.models import SocialAccount
from django.core.exceptions import ImproperlyConfigured
from django.test import Client
from pytest_django import Settings

from orchestrator.single_sign_on import SingleSignOn, single_sign_on
from teams import actions, members
from teams.models import AuditEntry, GroupMapping, Membership, Role, Team, User
from teams.sign_in import people
from tests.servers import free_port
from tests.teams.conftest import PASSWORD
from tests.teams.provider import Provider, provider
from tests.teams.test_second_factor import code_of

pytestmark = pytest.mark.django_db


@pytest.fixture(scope="module")
def running() -> Iterator[Provider]:
    with provider() as started:
        yield started


@pytest.fixture
def sso(running: Provider, settings: Settings) -> Provider:
    """The provider, with this site as its client."""
    configure(settings, SingleSignOn(running.issuer, "orchestrator", "s3cret", name="Example ID"))
    return running


def configure(settings: Settings, to: SingleSignOn) -> None:
    settings.SINGLE_SIGN_ON, settings.SOCIALACCOUNT_PROVIDERS = to, to.as_providers()


def come_in(client: Client, sso: Provider, subject: str, following: str = "") -> Any:
    """Follow the button, sign in at the provider and come back."""
    sent = client.get("/sign-in/sso/", {"next": following} if following else {})
    assert sent.status_code == 302
    back = urlsplit(sso.consent(sent.url, subject))
    assert back.path == "/sign-in/sso/callback/"
    return client.get(f"{back.path}?{back.query}")


def role_of(name: str, team: Team) -> str | None:
    membership = Membership.objects.filter(user__username=name, team=team).first()
    return membership.role if membership else None


def test_the_first_sign_in_makes_the_user(visitor: Client, sso: Provider) -> None:
    assert "Sign in with Example ID" in visitor.get("/sign-in/").content.decode()
    sso.knows("u1", preferred_username="grace", email="Grace@example.com", email_verified=True, name="Grace Hopper")
    response = come_in(visitor, sso, "u1", "/runs/")
    assert (response.status_code, response.url) == (302, "/runs/")
    grace = User.objects.get(username="grace")
    assert (grace.email, grace.first_name, grace.last_name) == ("grace@example.com", "Grace", "Hopper")
    assert not grace.has_usable_password()
    assert visitor.get("/account/").context["user"] == grace
    made = AuditEntry.objects.get(verb="user.create", subject_name="grace")
    assert (made.via, made.address) == ("sso", "127.0.0.1")
    assert AuditEntry.objects.get(verb="user.sign_in").via == "sso"
    visitor.post("/sign-out/")
    come_in(visitor, sso, "u1")
    assert User.objects.filter(username__startswith="grace").count() == 1


def test_the_request_to_the_provider_is_bound_to_the_session(visitor: Client, sso: Provider) -> None:
    sso.knows("u1", preferred_username="grace")
    asked = parse_qs(urlsplit(visitor.get("/sign-in/sso/").url).query)
    assert asked["code_challenge_method"] == ["S256"]
    assert set(asked["scope"][0].split()) == {"openid", "profile", "email"}
    back = urlsplit(sso.consent(visitor.get("/sign-in/sso/").url, "u1"))
    another = Client(headers={"host": "localhost"})
    response = another.get(f"{back.path}?{back.query}")
    assert response.status_code == 502
    assert "sessionid" not in another.cookies or another.get("/account/").status_code == 302
    assert not User.objects.filter(username="grace").exists()


def test_an_oidc_group_change_moves_the_role(visitor: Client, sso: Provider) -> None:
    ops, data, other = (members.create_team(name) for name in ("ops", "data", "other"))
    actions.create_user("root", team=ops, role=Role.ADMIN)
    for group, team, role in [
        ("sre", ops, Role.EDITOR), ("leads", ops, Role.ADMIN), ("all", ops, Role.VIEWER), ("all", data, Role.VIEWER),
    ]:  # fmt: skip
        GroupMapping.objects.create(group=group, team=team, role=role)
    sso.knows("u2", preferred_username="linus", groups=["all", "sre", "unknown"])
    come_in(visitor, sso, "u2")
    assert (role_of("linus", ops), role_of("linus", data)) == ("editor", "viewer")
    linus = User.objects.get(username="linus")
    members.set_role(other, linus, Role.OPERATOR)

    sso.knows("u2", preferred_username="linus", groups=["all", "leads"])
    come_in(visitor, sso, "u2")
    assert (role_of("linus", ops), role_of("linus", other)) == ("admin", "operator")

    sso.knows("u2", preferred_username="linus", groups=["all"])
    come_in(visitor, sso, "u2")
    assert role_of("linus", ops) == "viewer"
    moves = AuditEntry.objects.filter(verb="team.change_role", team=ops).order_by("id")
    assert [move.changes["role"] for move in moves] == [["editor", "admin"], ["admin", "viewer"]]
    assert {move.via for move in moves} == {"sso"}


def test_leaving_the_group_takes_access_away(visitor: Client, sso: Provider) -> None:
    ops, other = members.create_team("ops"), members.create_team("other")
    GroupMapping.objects.create(group="sre", team=ops, role=Role.EDITOR)
    sso.knows("u3", preferred_username="barbara", groups=["sre"])
    come_in(visitor, sso, "u3")
    barbara = User.objects.get(username="barbara")
    members.set_role(other, barbara, Role.VIEWER)
    assert ops.group in barbara.groups.all()
    sso.knows("u3", preferred_username="barbara")  # a provider leaves the claim out where there is no group
    come_in(visitor, sso, "u3")
    assert (role_of("barbara", ops), role_of("barbara", other)) == (None, "viewer")
    assert ops.group not in barbara.groups.all()
    assert AuditEntry.objects.get(verb="team.remove_member").via == "sso"


def test_the_last_administrator_of_a_team_stays(visitor: Client, sso: Provider) -> None:
    ops = members.create_team("ops")
    GroupMapping.objects.create(group="leads", team=ops, role=Role.ADMIN)
    sso.knows("u4", preferred_username="ken", groups=["leads"])
    come_in(visitor, sso, "u4")
    sso.knows("u4", preferred_username="ken", groups=[])
    come_in(visitor, sso, "u4")
    assert role_of("ken", ops) == "admin"


def test_another_claim_may_name_the_groups(visitor: Client, sso: Provider, settings: Settings) -> None:
    configure(settings, replace(settings.SINGLE_SIGN_ON, groups_claim="roles"))
    ops = members.create_team("ops")
    GroupMapping.objects.create(group="sre", team=ops, role=Role.OPERATOR)
    sso.knows("u5", preferred_username="radia", groups=[], roles="sre")
    come_in(visitor, sso, "u5")
    assert role_of("radia", ops) == "operator"


def test_a_verified_address_opens_the_account_that_has_it(visitor: Client, sso: Provider, ada: User) -> None:
    sso.knows("u6", preferred_username="someone", email="ADA@example.com", email_verified=True)
    come_in(visitor, sso, "u6")
    assert SocialAccount.objects.get(uid="u6").user == ada
    assert User.objects.get(pk=ada.pk).check_password(PASSWORD)
    assert AuditEntry.objects.get(verb="user.link_single_sign_on").via == "sso"
    assert not User.objects.filter(username="someone").exists()


def test_an_address_that_the_provider_has_not_verified_opens_nothing(visitor: Client, sso: Provider, ada: User) -> None:
    for claims in ({"email_verified": False}, {}):
        sso.knows("u7", preferred_username="mallory", email="ada@example.com", **claims)
        response = come_in(visitor, sso, "u7")
        assert response.status_code == 409
        assert "ada@example.com" in response.content.decode()
        assert visitor.get("/account/").status_code == 302
    assert not SocialAccount.objects.exists()


def test_an_address_that_a_user_wrote_down_themselves_opens_nothing(visitor: Client, sso: Provider) -> None:
    squatter = actions.create_user("squatter", password=PASSWORD)
    people.set_profile(squatter, first_name="", last_name="", email="boss@example.com")
    sso.knows("u8", preferred_username="boss", email="boss@example.com", email_verified=True)
    assert come_in(visitor, sso, "u8").status_code == 409
    EmailAddress.objects.update(verified=True)  # shown by a mail, or an administrator of the site
    assert come_in(visitor, sso, "u8").status_code == 302
    assert SocialAccount.objects.get(uid="u8").user == squatter


def test_a_taken_name_is_not_taken_over(visitor: Client, sso: Provider, ada: User) -> None:
    sso.knows("u9", preferred_username="ada", email="other@example.com", email_verified=True)
    come_in(visitor, sso, "u9")
    assert SocialAccount.objects.get(uid="u9").user != ada


def test_who_is_switched_off_here_stays_out(visitor: Client, sso: Provider) -> None:
    sso.knows("u10", preferred_username="edsger", groups=[])
    come_in(visitor, sso, "u10")
    actions.deactivate_user(User.objects.get(username="edsger"))
    assert come_in(visitor, sso, "u10").url == "/sign-in/switched-off/"


def test_the_second_factor_is_asked_after_single_sign_on_too(visitor: Client, sso: Provider) -> None:
    ops = members.create_team("ops")
    GroupMapping.objects.create(group="sre", team=ops, role=Role.EDITOR)
    sso.knows("u11", preferred_username="donald")
    come_in(visitor, sso, "u11")
    TOTP.activate(User.objects.get(username="donald"), "JBSWY3DPEHPK3PXP")
    assert Authenticator.objects.count() == 1
    visitor.post("/sign-out/")
    sso.knows("u11", preferred_username="donald", groups=["sre"])
    assert come_in(visitor, sso, "u11").url == "/sign-in/second-factor/"
    assert visitor.get("/account/").status_code == 302
    assert role_of("donald", ops) is None
    assert visitor.post("/sign-in/second-factor/", {"code": code_of("JBSWY3DPEHPK3PXP")}).status_code == 302
    assert role_of("donald", ops) == "editor"


def test_a_refusal_leads_back_to_the_sign_in(visitor: Client, sso: Provider) -> None:
    sent = visitor.get("/sign-in/sso/").url
    back = urlsplit(sso.deny(sent))
    state = parse_qs(urlsplit(sent).query)["state"][0]  # this provider forgets to send it back with a refusal
    assert visitor.get(f"{back.path}?{back.query}&state={state}").url == "/sign-in/"


def test_a_provider_that_does_not_answer_is_said(visitor: Client, sso: Provider, settings: Settings) -> None:
    configure(settings, replace(settings.SINGLE_SIGN_ON, issuer=f"http://localhost:{free_port()}"))
    response = visitor.get("/sign-in/sso/")
    assert response.status_code == 502
    assert "did not sign you in" in response.content.decode()


@pytest.mark.parametrize("address", ["/sign-in/sso/", "/sign-in/sso/callback/?code=a&state=b"])
def test_without_a_provider_there_is_nothing(visitor: Client, address: str) -> None:
    assert visitor.get(address).status_code == 404
    assert "Sign in with" not in visitor.get("/sign-in/").content.decode()


def test_it_links_no_account_that_is_signed_in(visitor: Client, sso: Provider) -> None:
    assert visitor.get("/sign-in/sso/?process=connect").status_code == 404


GOOD = {
    "OIDC_ISSUER": "https://id.example.com/realms/main",
    "OIDC_CLIENT_ID": "orchestrator",
    "OIDC_CLIENT_SECRET": "s3cret",
}


def read(monkeypatch: pytest.MonkeyPatch, values: dict[str, str]) -> SingleSignOn | None:
    for name, value in values.items():
        monkeypatch.setenv(f"ORCHESTRATOR_{name}", value)
    return single_sign_on()


def test_the_environment_names_the_provider(monkeypatch: pytest.MonkeyPatch) -> None:
    assert read(monkeypatch, {}) is None
    more = {"OIDC_NAME": "Okta", "OIDC_GROUPS_CLAIM": "roles", "OIDC_SCOPES": "openid, email, groups"}
    found = read(monkeypatch, GOOD | more)
    assert found == SingleSignOn(*GOOD.values(), "Okta", "roles", ("openid", "email", "groups"))
    assert "s3cret" not in repr(found)


@pytest.mark.parametrize(
    ("changed", "named", "said"),
    [
        ({"OIDC_ISSUER": "id.example.com"}, "OIDC_ISSUER", "https"),
        ({"OIDC_ISSUER": "http://id.example.com"}, "OIDC_ISSUER", "https"),
        ({"OIDC_ISSUER": "https://ada:pw@id.example.com"}, "OIDC_ISSUER", "https"),
        ({"OIDC_ISSUER": "https://id.example.com:port"}, "OIDC_ISSUER", "https"),
        ({"OIDC_ISSUER": ""}, "OIDC_CLIENT_ID", "OIDC_ISSUER is not"),
        ({"OIDC_CLIENT_ID": " "}, "OIDC_CLIENT_ID", "is missing"),
        ({"OIDC_CLIENT_SECRET": ""}, "OIDC_CLIENT_SECRET", "is missing"),
        ({"OIDC_SCOPES": "profile"}, "OIDC_SCOPES", "openid is missing"),
    ],
)
def test_a_bad_value_is_named(monkeypatch: pytest.MonkeyPatch, changed: dict[str, str], named: str, said: str) -> None:
    with pytest.raises(ImproperlyConfigured) as caught:
        read(monkeypatch, GOOD | changed)
    assert f"ORCHESTRATOR_{named}" in str(caught.value)
    assert said in str(caught.value)
    assert "s3cret" not in str(caught.value)
    assert "pw" not in str(caught.value)
