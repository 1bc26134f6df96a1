"""What follows from a sign-in and from changes of an account: the list of sessions, memberships, the audit log."""

from typing import Any

from allauth.account import signals as account
from allauth.mfa import signals as mfa
from allauth.socialaccount import signals as social
from django.conf import settings
from django.http import HttpRequest

from teams import audit
from teams.live import announce_rights
from teams.models import User, Via
from teams.sign_in.group_claims import apply_groups, groups_in
from teams.sign_in.people import prove_email
from teams.sign_in.sessions import end_sessions, list_session


def signed_in(request: HttpRequest, user: User, sociallogin: Any = None, **_: Any) -> None:
    """Somebody came in, by password or by single sign-on with the groups that it names."""

    list_session(request)
    by_sso = sociallogin is not None and settings.SINGLE_SIGN_ON is not None
    with audit.coming_from(audit.through(Via.SSO if by_sso else Via.PAGE)):
        audit.record(user, "user.sign_in", user, {"by": (None, "single sign-on" if by_sso else "password")})
    if by_sso:
        apply_groups(user, groups_in(sociallogin.account.extra_data, settings.SINGLE_SIGN_ON.groups_claim))


def password_changed(user: User, **_: Any) -> None:
    """A person gave themselves another password: what is open in their other sessions is over."""
    announce_rights([user])
    audit.record(user, "user.set_password", user, {"password": (audit.SECRET, audit.SECRET)})


def password_reset(user: User, **_: Any) -> None:
    """A person chose a new password by a link of a mail: the address is theirs, and other sessions are over."""

    end_sessions(user)
    prove_email(user)
    audit.record(user, "user.reset_password", user, {"password": (audit.SECRET, audit.SECRET)})


def second_factor_added(user: User, authenticator: Any, **_: Any) -> None:
    """A second factor or its recovery codes were set up."""
    audit.record(user, "user.add_second_factor", user, {"second factor": (None, str(authenticator.type))})


def second_factor_removed(user: User, authenticator: Any, **_: Any) -> None:
    """A second factor or its recovery codes were taken away."""
    audit.record(user, "user.remove_second_factor", user, {"second factor": (str(authenticator.type), None)})


def recovery_codes_renewed(user: User, **_: Any) -> None:
    """New recovery codes replaced the old ones."""
    audit.record(user, "user.renew_recovery_codes", user, {"recovery codes": (audit.SECRET, audit.SECRET)})


def sso_linked(sociallogin: Any, **_: Any) -> None:
    """An account that was here is signed in to by single sign-on from now on."""
    with audit.coming_from(audit.through(Via.SSO)):
        changes = {"single sign-on": (None, sociallogin.account.uid)}
        audit.record(sociallogin.user, "user.link_single_sign_on", sociallogin.user, changes)


def connect() -> None:
    """Have them called."""
    account.user_logged_in.connect(signed_in)
    account.password_changed.connect(password_changed)
    account.password_set.connect(password_changed)
    account.password_reset.connect(password_reset)
    mfa.authenticator_added.connect(second_factor_added)
    mfa.authenticator_removed.connect(second_factor_removed)
    mfa.authenticator_reset.connect(recovery_codes_renewed)
    social.social_account_added.connect(sso_linked)
