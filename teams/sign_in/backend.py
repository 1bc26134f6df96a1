"""Who may be signed in."""

from typing import Any

from allauth.account.auth_backends import AuthenticationBackend

from teams.models import User


def may_sign_in(user: User) -> bool:
    """Whether this is a person whose account is switched on: service accounts have tokens only."""
    return user.is_active and user.service_of_id is None


class PeopleBackend(AuthenticationBackend):
    """Signs in by user name or e-mail address, and password.

    Django asks it for the user of each request's session, so whoever is switched off is out with the next request.
    """

    def user_can_authenticate(self, user: Any) -> bool:
        """Whether this user may be signed in."""
        return may_sign_in(user)
