"""Changing one's password, and choosing a new one by mail."""

import re
from collections.abc import Iterator

import pytest
from allauth.account.models import EmailAddress
from django.test import Client
from pytest_django import Settings

from teams import actions
from teams.models import ApiToken, AuditEntry, Team, User
from tests.notifications.receiving import Mailbox
from tests.teams.conftest import PASSWORD

pytestmark = pytest.mark.django_db
NEW = "three-otters-by-noon"
RESET = "/sign-in/new-password/"


@pytest.fixture
def mailbox(settings: Settings) -> Iterator[Mailbox]:
    """A mail server that takes what the site sends."""
    box = Mailbox()
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT, settings.EMAIL_USE_TLS = "127.0.0.1", box.port, False
    yield box
    box.close()


def sign_in(client: Client, password: str = PASSWORD, login: str = "ada") -> int:
    return client.post("/sign-in/", {"login": login, "password": password}).status_code


def link_in(mailbox: Mailbox) -> str:
    found = re.search(r"https?://[^/]+(/sign-in/new-password/\S+)", mailbox.wait(1)[-1].get_content())
    assert found is not None
    return found[1]


def test_changing_it_takes_the_old_one_and_ends_other_sessions(visitor: Client, ada: User) -> None:
    elsewhere = Client(headers={"host": "localhost"})
    sign_in(elsewhere)
    sign_in(visitor)
    page = "/account/password/"
    change = {"oldpassword": "wrong", "password1": NEW, "password2": NEW}
    assert visitor.post(page, change).status_code == 422
    assert visitor.post(page, change | {"oldpassword": PASSWORD, "password2": "other"}).status_code == 422
    assert (
        visitor.post(page, change | {"oldpassword": PASSWORD, "password1": "12345", "password2": "12345"}).status_code
        == 422
    )
    assert visitor.post(page, change | {"oldpassword": PASSWORD}).url == page
    assert visitor.get("/account/").status_code == 200
    assert elsewhere.get("/account/").status_code == 302
    ada.refresh_from_db()
    assert ada.check_password(NEW)
    entry = AuditEntry.objects.get(verb="user.set_password")
    assert NEW not in str(entry.changes)


def test_who_has_none_sets_one(visitor: Client) -> None:
    user = actions.create_user("linker")
    visitor.force_login(user)
    assert visitor.get("/account/password/").url == "/account/password/first/"
    visitor.post("/account/password/first/", {"password1": NEW, "password2": NEW})
    user.refresh_from_db()
    assert user.check_password(NEW)


def test_without_mail_the_page_says_what_to_do(visitor: Client, ada: User) -> None:
    for response in (visitor.get(RESET), visitor.post(RESET, {"email": "ada@example.com"})):
        assert "orchestrator user set-password" in response.content.decode()
        assert "sends no mail" in response.content.decode()
    assert response.status_code == 409


def test_a_mailed_link_sets_it_once(visitor: Client, ada: User, mailbox: Mailbox) -> None:
    sign_in(visitor)
    EmailAddress.objects.update(verified=False)
    ApiToken.issue(name="of who wrote the address down", user=ada, team=Team.default())
    stranger = Client(headers={"host": "localhost"})
    assert stranger.post(RESET, {"email": "ADA@example.com"}).url == f"{RESET}sent/"
    assert mailbox.envelopes[0].rcpt_tos == ["ada@example.com"]
    path = link_in(mailbox)
    form = stranger.get(path, follow=True)
    address = form.request["PATH_INFO"]
    assert "set-password" in address
    assert stranger.post(address, {"password1": NEW, "password2": "other"}).status_code == 422
    assert stranger.post(address, {"password1": NEW, "password2": NEW}).url == f"{RESET}done/"
    assert visitor.get("/account/").status_code == 302
    assert sign_in(visitor, NEW) == 302
    assert "was used, or is too old" in stranger.get(path).content.decode()
    assert AuditEntry.objects.filter(verb="user.reset_password", subject_name="ada").count() == 1
    assert EmailAddress.objects.get(user=ada).verified
    assert not ada.api_tokens.exists()


def test_the_answer_does_not_tell_whether_there_is_an_account(visitor: Client, ada: User, mailbox: Mailbox) -> None:
    answers = [visitor.post(RESET, {"email": email}) for email in ("nobody@example.com", "ada@example.com")]
    assert [(answer.status_code, answer.url) for answer in answers] == [(302, f"{RESET}sent/")] * 2
    mailbox.wait(1)
    assert [envelope.rcpt_tos for envelope in mailbox.envelopes] == [["ada@example.com"]]


def test_a_mail_server_that_refuses_changes_nothing_of_the_answer(
    visitor: Client, ada: User, mailbox: Mailbox, caplog: pytest.LogCaptureFixture
) -> None:
    mailbox.refusal = "550 No such user"
    assert visitor.post(RESET, {"email": "ada@example.com"}).url == f"{RESET}sent/"
    assert "could not be sent" in caplog.text


def test_the_link_names_the_known_address_of_the_site(
    visitor: Client, ada: User, mailbox: Mailbox, settings: Settings
) -> None:
    settings.EXTERNAL_URL = "https://runs.example.com"
    visitor.post(RESET, {"email": "ada@example.com"})
    assert f"https://runs.example.com{link_in(mailbox)}" in mailbox.mails[0].get_content()


def test_mails_are_limited(visitor: Client, ada: User, mailbox: Mailbox) -> None:
    answers = [visitor.post(RESET, {"email": "ada@example.com"}) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [302, 302, 302, 429]
    assert 500 < int(answers[3]["Retry-After"]) <= 600
    assert "Wait 10 minutes" in answers[3].content.decode()
