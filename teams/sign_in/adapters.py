"""What django-allauth asks this site: who may come in, by which address, and what is told where."""

import logging
from smtplib import SMTPException
from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from allauth.account.internal.flows.reauthentication import get_reauthentication_flows
from allauth.account.internal.userkit import filter_users_by_email
from allauth.account.models import EmailAddress
from allauth.core import context
from allauth.core.exceptions import ImmediateHttpResponse
from allauth.core.internal import ratelimit
from allauth.mfa.adapter import DefaultMFAAdapter
from allauth.socialaccount.adapter import DefaultSocialAccountAdapter, _build_apps_from_settings
from allauth.socialaccount.models import SocialLogin
from allauth.socialaccount.providers.base.constants import AuthError
from django.conf import settings
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse

from orchestrator.encryption import decrypt, encrypt
from teams import audit
from teams.addresses import NO_ADDRESS, client_address
from teams.models import User, Via
from teams.sign_in.backend import may_sign_in
from teams.sign_in.throttle import too_many

_log = logging.getLogger(__name__)


class PeopleAdapter(DefaultAccountAdapter):
    """Signing in by password."""

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        """Nobody signs up."""
        return False

    def get_client_ip(self, request: HttpRequest) -> str:
        """By this address attempts are counted."""
        return client_address(request) or NO_ADDRESS

    def pre_authenticate(self, request: HttpRequest, **credentials: Any) -> None:
        """Refuse to try a password where too many were tried, from this address or for this account."""
        key = self._get_login_attempts_cache_key(request, **credentials)
        self._login_failed_rl_usage = ratelimit.consume(request, app="allauth.account", action="login_failed", key=key)
        if not self._login_failed_rl_usage:
            raise ImmediateHttpResponse(too_many(request, {"login_failed": key}))

    def _get_login_attempts_cache_key(self, request: HttpRequest, **credentials: Any) -> str:
        """Name and e-mail address of an account count together; a name that nobody has, by itself."""
        email, name = credentials.get("email", ""), credentials.get("username", "")
        found = (filter_users_by_email(email) if email else []) or list(User.objects.filter(username__iexact=name)[:2])
        return f"user {found[0].pk}" if len(found) == 1 else (email or name).lower()

    def pre_login(self, request: HttpRequest, user: Any, **options: Any) -> HttpResponse | None:
        """Stop whoever may not come in, by whichever way they proved who they are."""
        if not may_sign_in(user):
            return self.respond_user_inactive(request, user)
        return super().pre_login(request, user, **options)

    def is_reauthentication_required(self, *, app: str, **options: Any) -> bool:
        """Ask again for what a person has; who has neither password nor second factor can prove nothing."""
        return super().is_reauthentication_required(app=app, **options) and bool(
            get_reauthentication_flows(context.request.user)
        )

    def get_password_change_redirect_url(self, request: HttpRequest) -> str:
        """Stay where the password was changed, which says so."""
        return reverse("account-password")

    def get_reset_password_from_key_url(self, key: str) -> str:
        """Write the address of the site that is known, not one that the request may have made up."""
        address = super().get_reset_password_from_key_url(key)
        path = address.split(self.request.get_host(), 1)[-1]
        return f"{settings.EXTERNAL_URL}{path}" if settings.EXTERNAL_URL else address

    def send_mail(self, template_prefix: str, email: str, context: dict[str, Any]) -> None:
        """Send; what fails is logged only: the page must not tell whether there was an account to write to."""
        try:
            super().send_mail(template_prefix, email, context)
        except (OSError, SMTPException) as error:
            _log.error("Mail to reset a password could not be sent: %s", error)


class SecondFactorAdapter(DefaultMFAAdapter):
    """Second factors: their secrets are encrypted at rest, with the site's secret key."""

    def encrypt(self, text: str) -> str:
        """Return a secret as it is stored."""
        return encrypt(text)

    def decrypt(self, encrypted_text: str) -> str:
        """Return a stored secret."""
        return str(decrypt(encrypted_text))


class SingleSignOnAdapter(DefaultSocialAccountAdapter):
    """Single sign-on: whose account it is, and what happens when the provider fails."""

    def list_apps(self, request: HttpRequest, provider: Any = None, client_id: Any = None) -> list[Any]:
        """Only the environment names providers: none of the database's rows is read."""
        found = _build_apps_from_settings(provider=provider, client_id=client_id)
        return [app for apps in found.values() for app in apps]

    def is_open_for_signup(self, request: HttpRequest, sociallogin: SocialLogin) -> bool:
        """Whom the provider lets in has an account here."""
        return True

    def authenticate_by_email(self, sociallogin: SocialLogin) -> tuple[Any, str] | None:
        """Find the account with an address that both sides know to be this person's."""
        for address in sociallogin.email_addresses:
            known = EmailAddress.objects.filter(email=address.email.lower(), verified=True, user__service_of=None)
            if address.verified and (found := known.select_related("user").first()):
                return found.user, found.email
        return None

    def pre_social_login(self, request: HttpRequest, sociallogin: SocialLogin) -> None:
        """Refuse to make a second account with an address that somebody has: the rightful one can be joined."""
        if sociallogin.is_existing:
            return
        for address in sociallogin.email_addresses:
            if filter_users_by_email(address.email):
                values = {"email": address.email, "is_proven": address.verified, "with_mail": bool(settings.EMAIL_HOST)}
                raise ImmediateHttpResponse(render(request, "teams/sso_taken.html", values, status=409))

    def save_user(self, request: HttpRequest, sociallogin: SocialLogin, form: Any = None) -> Any:
        """Make the account of somebody who came for the first time."""
        with transaction.atomic(), audit.coming_from(audit.through(Via.SSO)):
            user = super().save_user(request, sociallogin, form)
            audit.record(None, "user.create", user, {"username": (None, user.username), "email": (None, user.email)})
        return user

    def on_authentication_error(
        self, request: HttpRequest, provider: Any, error: Any = None, exception: Any = None, extra_context: Any = None
    ) -> None:
        """Say that it failed; what the provider said stands in the log."""
        if error == AuthError.CANCELLED:
            raise ImmediateHttpResponse(redirect("sign-in"))
        said = exception or request.GET.get("error_description") or request.GET.get("error") or "the link is too old"
        raise ImmediateHttpResponse(sso_failed(request, said))


def sso_failed(request: HttpRequest, said: object) -> HttpResponse:
    """Answer that single sign-on does not work now, and log why."""
    _log.warning("Single sign-on failed: %s", str(said)[:500])
    return render(request, "teams/sso_failed.html", {"sso": settings.SINGLE_SIGN_ON}, status=502)
