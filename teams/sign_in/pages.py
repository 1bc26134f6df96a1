"""The pages of people who are not signed in yet: signing in, the one-time link, the second factor, a new password."""

from typing import Any

from allauth.account.views import LoginView, PasswordResetFromKeyView, PasswordResetView
from allauth.mfa.base.views import AuthenticateView
from allauth.socialaccount.providers.openid_connect import views as openid_connect
from allauth.usersessions.models import UserSession
from django.conf import settings
from django.contrib.auth import login, logout
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe
from requests import RequestException

from teams import audit
from teams.live import announce_rights
from teams.models import SignInLink
from teams.sign_in.adapters import sso_failed
from teams.sign_in.backend import may_sign_in
from teams.sign_in.sessions import list_session
from teams.sign_in.throttle import too_many

BACKEND = "teams.sign_in.backend.PeopleBackend"


class SignInPage(LoginView):
    """Sign in by user name or e-mail address, and password; what was wrong is answered with 422."""

    template_name = "teams/sign_in.html"

    def get_context_data(self, **values: Any) -> dict[str, Any]:
        """What the page offers beside the form."""
        following = self.get_next_url() or ""
        return {**super().get_context_data(**values), "sso": settings.SINGLE_SIGN_ON, "next": following}

    def form_invalid(self, form: Any) -> HttpResponse:
        """Show the form again."""
        wrong = "The name and the password do not belong together."
        return self.render_to_response(self.get_context_data(form=form, wrong=wrong), status=422)


class SecondFactorPage(AuthenticateView):
    """Ask for a code of the authenticator app, or a recovery code."""

    template_name = "teams/second_factor_asked.html"

    def form_invalid(self, form: Any) -> HttpResponse:
        """Show the form again, with 422; with 429 after too many wrong codes."""
        if form.has_error("code", "too_many_login_attempts"):
            return too_many(self.request, {"login_failed": f"mfa-auth-user-{self.stage.login.user.pk}"})
        return self.render_to_response(self.get_context_data(), status=422)


class ResetPage(PasswordResetView):
    """Ask for mail with a link that lets one choose a new password; without a mail server say what else to do."""

    template_name = "teams/password_reset.html"

    def get_context_data(self, **values: Any) -> dict[str, Any]:
        """Whether there is mail at all."""
        return {**super().get_context_data(**values), "with_mail": bool(settings.EMAIL_HOST)}

    def form_valid(self, form: Any) -> HttpResponse:
        """Send the mail, where there is an account with this address."""
        if not settings.EMAIL_HOST:
            return self.render_to_response(self.get_context_data(form=form), status=409)
        return super().form_valid(form)


class NewPasswordPage(PasswordResetFromKeyView):
    """Choose a new password, come from the link of the mail."""

    template_name = "teams/password_reset_key.html"

    def form_invalid(self, form: Any) -> HttpResponse:
        """Show the form again."""
        return self.render_to_response(self.get_context_data(form=form), status=422)


@never_cache
def sign_in_link(request: HttpRequest, code: str) -> HttpResponse:
    """Sign in by a one-time link; a link that was used says how to print a fresh one.

    It comes from the server's own terminal, so it asks for no second factor: it is how one gets in after losing it.
    """
    user = SignInLink.redeem(code) if request.method == "GET" else None
    if user is not None and may_sign_in(user):
        login(request, user, backend=BACKEND)
        list_session(request)
        audit.record(user, "user.sign_in", user, {"by": (None, "one-time link")})
        return redirect("home")
    if request.user.is_authenticated:
        return redirect("home")
    return render(request, "teams/link_used.html", status=410)


@require_POST
def sign_out(request: HttpRequest) -> HttpResponse:
    """Sign out."""
    UserSession.objects.filter(session_key=request.session.session_key).delete()
    if request.user.is_authenticated:
        announce_rights([request.user])  # of this session, what is open in other tabs; the other sessions look again
    logout(request)
    return redirect("sign-in")


def switched_off(request: HttpRequest) -> HttpResponse:
    """Say that this account may not come in."""
    return render(request, "teams/switched_off.html", status=403)


@never_cache
@require_safe
def sso(request: HttpRequest, provider_id: str) -> HttpResponse:
    """Go to the provider of single sign-on."""
    if settings.SINGLE_SIGN_ON is None or request.GET.get("process", "login") != "login":
        raise Http404
    return _asking(openid_connect.login, request, provider_id)


@never_cache
@require_safe
def sso_callback(request: HttpRequest, provider_id: str) -> HttpResponse:
    """Come back from the provider."""
    if settings.SINGLE_SIGN_ON is None:
        raise Http404
    return _asking(openid_connect.callback, request, provider_id)


def _asking(view: Any, request: HttpRequest, provider_id: str) -> HttpResponse:
    try:
        return view(request, provider_id)
    except (RequestException, KeyError, ValueError) as error:  # it does not answer, or not as a provider does
        return sso_failed(request, f"{type(error).__name__}: {error}")
