"""Verbs on users and tokens."""

from datetime import timedelta

import pytest
from django.core.exceptions import ValidationError
from django.utils import timezone

from teams import actions
from teams.models import ApiToken, Membership, Role, Team, User, fingerprint

PASSWORD = "seven-herons-at-dawn"

pytestmark = pytest.mark.django_db


def test_user_joins_a_team_and_can_sign_in() -> None:
    user = actions.create_user("ann", password=PASSWORD, role=Role.VIEWER)
    assert user.check_password(PASSWORD)
    assert not user.is_superuser
    membership = Membership.objects.get(user=user)
    assert (membership.team, membership.role) == (Team.default(), Role.VIEWER)


def test_administrator_administers_the_team_too() -> None:
    user = actions.create_user("root", is_admin=True)
    assert not user.has_usable_password()
    assert user.is_superuser
    assert user.is_staff
    assert Membership.objects.get(user=user).role == Role.ADMIN


@pytest.mark.parametrize(
    ("username", "password", "field"),
    [
        ("ann", PASSWORD, "username"),
        ("", PASSWORD, "username"),
        ("a b", PASSWORD, "username"),
        ("bob", "bob", "password"),
    ],
)
def test_what_cannot_be_a_user_is_named(username: str, password: str, field: str) -> None:
    actions.create_user("ann")
    with pytest.raises(ValidationError) as caught:
        actions.create_user(username, password=password)
    assert list(caught.value.message_dict) == [field]
    assert User.objects.count() == 1


def test_weak_password_is_refused_and_the_old_one_stays() -> None:
    user = actions.create_user("ann", password=PASSWORD)
    with pytest.raises(ValidationError, match="too short"):
        actions.set_password(user, "x1y2")
    user.refresh_from_db()
    assert user.check_password(PASSWORD)
    actions.set_password(user, "nine-otters-at-noon")
    user.refresh_from_db()
    assert user.check_password("nine-otters-at-noon")


def test_token_is_stored_as_its_fingerprint() -> None:
    user = actions.create_user("ann")
    token, secret = actions.create_token("ci", user)
    assert token.digest == fingerprint(secret)
    assert secret not in vars(token).values()
    assert token.team == Team.default()
    actions.revoke_token(token)
    actions.revoke_token(token)
    assert not ApiToken.objects.exists()


def test_token_needs_a_name_a_team_of_the_user_and_a_time_to_come() -> None:
    user = actions.create_user("ann")
    other = Team.objects.create(name="other")
    for name, options, field in [
        (" ", {}, "name"),
        ("ci", {"team": other}, "team"),
        ("ci", {"expires_at": timezone.now() - timedelta(seconds=1)}, "expires_at"),
    ]:
        with pytest.raises(ValidationError) as caught:
            actions.create_token(name, user, **options)
        assert list(caught.value.message_dict) == [field]


def test_user_without_a_team_is_told_what_to_do() -> None:
    loner = User.objects.create_user("loner")
    with pytest.raises(ValidationError, match="in no team yet"):
        actions.create_token("ci", loner)
