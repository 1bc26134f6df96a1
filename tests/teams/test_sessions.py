"""One's own account: sessions that are listed and ended, name and address."""

import time

import pytest
from allauth.account.models import EmailAddress
from allauth.usersessions.models import UserSession
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from teams import actions
from teams.models import AuditEntry, User
from teams.sign_in.sessions import SEEN, device
from tests.teams.conftest import PASSWORD

pytestmark = pytest.mark.django_db
PHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 Version/18.0 Safari/604.1"


def signed_in(user_agent: str = PHONE, login: str = "ada") -> Client:
    client = Client(headers={"host": "localhost", "user-agent": user_agent})
    assert client.post("/sign-in/", {"login": login, "password": PASSWORD}).status_code == 302
    return client


def test_sessions_are_listed_with_device_address_and_last_use(visitor: Client, ada: User) -> None:
    signed_in()
    visitor.post("/sign-in/", {"login": "ada", "password": PASSWORD})
    page = visitor.get("/account/sessions/")
    shown = {session["device"]: session for session in page.context["sessions"]}
    assert set(shown) == {"Firefox on Linux", "Safari on iPhone"}
    assert shown["Firefox on Linux"]["is_current"]
    assert {session["address"] for session in shown.values()} == {"127.0.0.1"}
    assert "last seen" in page.content.decode()


def test_one_is_signed_out_there(visitor: Client, ada: User) -> None:
    phone = signed_in()
    visitor.post("/sign-in/", {"login": "ada", "password": PASSWORD})
    theirs = UserSession.objects.get(session_key=phone.session.session_key)
    assert visitor.post(f"/account/sessions/{theirs.pk}/end/").url == "/account/sessions/"
    assert phone.get("/account/").status_code == 302
    assert visitor.get("/account/").status_code == 200
    assert AuditEntry.objects.get(verb="user.end_session").changes == {"session": ["Safari on iPhone", None]}


def test_one_is_signed_out_everywhere_else(visitor: Client, ada: User) -> None:
    others = [signed_in(), signed_in("curl/8.0")]
    visitor.post("/sign-in/", {"login": "ada", "password": PASSWORD})
    visitor.post("/account/sessions/end-others/")
    assert [client.get("/account/").status_code for client in others] == [302, 302]
    assert visitor.get("/account/").status_code == 200


def test_nobody_ends_the_session_of_another(visitor: Client, ada: User) -> None:
    actions.create_user("bob", password=PASSWORD)
    hers = signed_in()
    bob = signed_in(login="bob")
    session = UserSession.objects.get(user=ada)
    assert bob.post(f"/account/sessions/{session.pk}/end/").status_code == 404
    assert visitor.post(f"/account/sessions/{session.pk}/end/").status_code == 302
    assert hers.get("/account/").status_code == 200


def test_last_use_is_noted_once_a_minute(ada: User) -> None:
    phone = signed_in()
    before = UserSession.objects.get(user=ada)
    with CaptureQueriesContext(connection) as asked:
        phone.get("/preferences/", headers={"user-agent": "curl/8.0"})
    assert [query["sql"] for query in asked if not query["sql"].startswith(("SELECT", "(SELECT"))] == []
    unchanged = UserSession.objects.get(user=ada)
    assert (unchanged.last_seen_at, unchanged.user_agent) == (before.last_seen_at, PHONE)
    session = phone.session
    session[SEEN] = int(time.time()) - 61
    session.save()
    phone.get("/preferences/", headers={"user-agent": "curl/8.0"})
    noted = UserSession.objects.get(user=ada)
    assert noted.last_seen_at > before.last_seen_at
    assert noted.user_agent == "curl/8.0"


@pytest.mark.parametrize(
    ("user_agent", "said"),
    [
        (PHONE, "Safari on iPhone"),
        ("Mozilla/5.0 (Windows NT 10.0) AppleWebKit Chrome/140.0 Safari/537.36 Edg/140.0", "Edge on Windows"),
        ("Mozilla/5.0 (Linux; Android 15) Chrome/140.0 Mobile Safari/537.36", "Chrome on Android"),
        ("curl/8.0", "curl"),
        ("", "An unnamed browser"),
    ],
)
def test_devices_are_told_in_words(user_agent: str, said: str) -> None:
    assert device(user_agent) == said


def test_name_and_address_are_changed_the_address_only_with_the_password(visitor: Client, ada: User) -> None:
    visitor.post("/sign-in/", {"login": "ada", "password": PASSWORD})
    names = {"first_name": "Ada", "last_name": "Lovelace"}
    assert visitor.post("/account/", {**names, "email": "ada@example.com"}).url == "/account/"
    assert User.objects.get(pk=ada.pk).get_full_name() == "Ada Lovelace"
    asked = visitor.post("/account/", {**names, "email": "Ada@New.example.com"})
    assert asked.url.startswith("/account/again/")
    assert User.objects.get(pk=ada.pk).email == "ada@example.com"
    assert visitor.post(asked.url, {"password": PASSWORD}).url == "/account/"
    assert User.objects.get(pk=ada.pk).email == "ada@new.example.com"
    kept = EmailAddress.objects.get(user=ada)
    assert (kept.email, kept.verified) == ("ada@new.example.com", False)
    verbs = list(AuditEntry.objects.filter(verb="user.set_profile").order_by("id").values_list("changes", flat=True))
    assert verbs[1] == {"email": ["ada@example.com", "ada@new.example.com"]}


def test_an_address_of_somebody_else_is_refused(visitor: Client, ada: User) -> None:
    lone = actions.create_user("lone")
    visitor.force_login(lone)
    response = visitor.post("/account/", {"first_name": "", "last_name": "", "email": "ADA@example.com"})
    assert response.status_code == 422
    assert "Somebody else has this address" in response.content.decode()


def test_pages_of_the_account_need_a_sign_in(visitor: Client) -> None:
    for page in ("", "password/", "password/first/", "second-factor/", "second-factor/set-up/", "second-factor/remove/",
                 "second-factor/codes/", "sessions/", "again/", "again/code/"):  # fmt: skip
        response = visitor.get(f"/account/{page}")
        assert response.url.startswith("/sign-in/"), page
    for page in ("sessions/1/end/", "sessions/end-others/", "second-factor/codes/new/"):
        assert visitor.post(f"/account/{page}").url.startswith("/sign-in/"), page
