"""The second factor: set up, asked for, replaced by a recovery code, switched off."""

import pytest
from allauth.mfa.models import Authenticator
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.totp.internal.auth import format_hotp_value, hotp_value, yield_hotp_counters_from_time
from allauth.mfa.utils import decrypt
from django.core.cache import cache
from django.test import Client

from teams.models import AuditEntry, SignInLink, User
from tests.teams.conftest import PASSWORD

pytestmark = pytest.mark.django_db
ASKED = "/sign-in/second-factor/"


def code_of(secret: str) -> str:
    """What an authenticator app with this key shows now."""
    counters = list(yield_hotp_counters_from_time())
    return format_hotp_value(hotp_value(secret, counters[len(counters) // 2]))


def sign_in(client: Client) -> str:
    return client.post("/sign-in/", {"login": "ada", "password": PASSWORD}).url


def set_up(client: Client) -> str:
    """Switch it on through the pages, signed in. Returns the key."""
    page = client.get("/account/second-factor/set-up/")
    assert page.url.startswith("/account/again/")
    assert client.post(page.url, {"password": "wrong"}).status_code == 422
    assert client.post(page.url, {"password": PASSWORD}).url == "/account/second-factor/set-up/"
    secret = client.get("/account/second-factor/set-up/").context["form"].secret
    assert client.post("/account/second-factor/set-up/", {"code": "000000"}).status_code == 422
    response = client.post("/account/second-factor/set-up/", {"code": code_of(secret)})
    assert response.url == "/account/second-factor/codes/"
    return secret


@pytest.mark.django_db(transaction=True)
def test_it_is_asked_for_at_sign_in_once_it_is_set_up(visitor: Client, ada: User) -> None:
    sign_in(visitor)
    secret = set_up(visitor)
    assert secret not in str(Authenticator.objects.get(type="totp").data)
    visitor.post("/sign-out/")
    assert sign_in(visitor) == ASKED
    assert visitor.get("/account/").status_code == 302
    wrong = visitor.post(ASKED, {"code": "123456"})
    assert (wrong.status_code, "Incorrect code" in wrong.content.decode()) == (422, True)
    cache.clear()
    assert visitor.post(ASKED, {"code": code_of(secret)}).status_code == 302
    assert visitor.get("/account/").status_code == 200
    verbs = set(AuditEntry.objects.filter(actor=ada).values_list("verb", flat=True))
    assert {"user.sign_in", "user.add_second_factor"} <= verbs


def test_a_code_works_once(visitor: Client, ada: User) -> None:
    sign_in(visitor)
    code = code_of(set_up(visitor))
    visitor.post("/sign-out/")
    sign_in(visitor)
    visitor.post(ASKED, {"code": code})
    visitor.post("/sign-out/")
    sign_in(visitor)
    assert visitor.post(ASKED, {"code": code}).status_code == 422


def test_a_recovery_code_signs_in_once(visitor: Client, ada: User) -> None:
    sign_in(visitor)
    set_up(visitor)
    shown = visitor.get("/account/second-factor/codes/").context["unused_codes"]
    assert len(shown) == 10
    for status in (302, 422):
        visitor.post("/sign-out/")
        sign_in(visitor)
        assert visitor.post(ASKED, {"code": shown[0]}).status_code == status
    wrapped = RecoveryCodes(Authenticator.objects.get(type="recovery_codes"))
    assert len(wrapped.get_unused_codes()) == 9


def test_new_recovery_codes_replace_the_old_ones(visitor: Client, ada: User) -> None:
    sign_in(visitor)
    set_up(visitor)
    before = visitor.get("/account/second-factor/codes/").context["unused_codes"]
    assert visitor.get("/account/second-factor/codes/new/").status_code == 405
    assert visitor.post("/account/second-factor/codes/new/").url == "/account/second-factor/codes/"
    after = visitor.get("/account/second-factor/codes/").context["unused_codes"]
    assert not set(before) & set(after)


def test_too_many_wrong_codes_have_to_wait(visitor: Client, ada: User) -> None:
    sign_in(visitor)
    set_up(visitor)
    visitor.post("/sign-out/")
    cache.clear()
    sign_in(visitor)
    statuses = [visitor.post(ASKED, {"code": f"10000{number}"}).status_code for number in range(6)]
    assert statuses == [422] * 5 + [429]


def test_switching_it_off_takes_a_proof_and_then_the_password_is_enough(visitor: Client, ada: User) -> None:
    sign_in(visitor)
    set_up(visitor)
    visitor.post("/sign-out/")
    cache.clear()
    sign_in(visitor)
    visitor.post(ASKED, {"code": code_of(decrypt(Authenticator.objects.get(type="totp").data["secret"]))})
    assert visitor.post("/account/second-factor/remove/").url.startswith("/account/again/")
    assert Authenticator.objects.count() == 2
    visitor.post("/account/again/?next=/account/second-factor/remove/", {"password": PASSWORD})
    visitor.post("/account/second-factor/remove/")
    assert not Authenticator.objects.exists()
    visitor.post("/sign-out/")
    assert sign_in(visitor) == "/"


def test_a_one_time_link_of_the_server_gets_one_in_without_the_phone(visitor: Client, ada: User) -> None:
    sign_in(visitor)
    set_up(visitor)
    visitor.post("/sign-out/")
    assert visitor.get(f"/sign-in/{SignInLink.issue(ada)}/").url == "/"
    assert visitor.get("/account/").status_code == 200
