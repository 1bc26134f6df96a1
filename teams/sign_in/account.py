"""The pages of one's own account: profile, password, second factor, sessions, preferences."""

from typing import Any
from zoneinfo import available_timezones

from allauth.account.internal.flows.reauthentication import raise_if_reauthentication_required
from allauth.account.models import EmailAddress
from allauth.account.views import PasswordChangeView, PasswordSetView, ReauthenticateView
from allauth.mfa.base.views import ReauthenticateView as SecondFactorReauthenticateView
from allauth.mfa.models import Authenticator
from allauth.mfa.recovery_codes.views import GenerateRecoveryCodesView, ViewRecoveryCodesView
from allauth.mfa.totp.views import ActivateTOTPView, DeactivateTOTPView
from allauth.socialaccount.models import SocialAccount
from allauth.usersessions.models import UserSession
from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.decorators import method_decorator
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST

from teams import audit
from teams.live import announce_rights
from teams.models import Membership, User
from teams.sign_in import people, sessions

THEMES = {"": "As the system says", "light": "Light", "dark": "Dark"}
COOKIE_SECONDS = 365 * 24 * 3600


class _Again:
    """Shows a form that was not right again, with 422."""

    def form_invalid(self: Any, form: Any) -> HttpResponse:
        return self.render_to_response(self.get_context_data(form=form), status=422)


@login_required
def profile(request: HttpRequest) -> HttpResponse:
    """Show who one is here, and change name and e-mail address; for the address one's password is asked again."""
    user: User = request.user
    values = {name: getattr(user, name) for name in ("first_name", "last_name", "email")}
    wrong: dict[str, list[str]] = {}
    if request.method == "POST":
        values = {name: request.POST.get(name, "").strip() for name in values}
        if values["email"].lower() != user.email.lower():
            raise_if_reauthentication_required(request, app="allauth.account")
        try:
            people.set_profile(user, **values)
        except ValidationError as error:
            wrong = error.message_dict
        else:
            messages.success(request, "Saved.")
            return redirect("account")
    context = {
        "tab": "profile",
        "values": values,
        "wrong": wrong,
        "memberships": Membership.objects.filter(user=user).select_related("team").order_by("team__name"),
        "is_proven": EmailAddress.objects.filter(user=user, email=user.email.lower(), verified=True).exists(),
        "sso": settings.SINGLE_SIGN_ON,
        "is_linked": SocialAccount.objects.filter(user=user).exists(),
    }
    return render(request, "teams/account/profile.html", context, status=422 if wrong else 200)


class PasswordPage(_Again, PasswordChangeView):
    """Change one's password; other sessions end."""

    template_name = "teams/account/password.html"
    extra_context = {"tab": "password", "has_password": True}


class FirstPasswordPage(_Again, PasswordSetView):
    """Give oneself a password, coming from a link or from single sign-on."""

    template_name = "teams/account/password.html"
    extra_context = {"tab": "password", "has_password": False}


class AskedAgainPage(_Again, ReauthenticateView):
    """Ask for the password again before something that a borrowed browser must not do."""

    template_name = "teams/account/asked_again.html"
    extra_context = {"by": "password"}


class CodeAskedAgainPage(_Again, SecondFactorReauthenticateView):
    """Ask for a code instead."""

    template_name = "teams/account/asked_again.html"
    extra_context = {"by": "code"}


@login_required
def second_factor(request: HttpRequest) -> HttpResponse:
    """Whether the second factor is on, and how many recovery codes are left."""
    kinds = {row.type: row.wrap() for row in Authenticator.objects.filter(user=request.user)}
    codes = kinds.get(Authenticator.Type.RECOVERY_CODES)
    context = {
        "tab": "second-factor",
        "totp": kinds.get(Authenticator.Type.TOTP),
        "codes_left": len(codes.get_unused_codes()) if codes else 0,
    }
    return render(request, "teams/account/second_factor.html", context)


@method_decorator(login_required, name="dispatch")
@method_decorator(never_cache, name="dispatch")
class SetUpSecondFactorPage(_Again, ActivateTOTPView):
    """Show the key for the authenticator app and switch the second factor on with the first code of it."""

    template_name = "teams/account/second_factor_set_up.html"
    extra_context = {"tab": "second-factor"}


class RemoveSecondFactorPage(DeactivateTOTPView):
    """Switch the second factor off."""

    template_name = "teams/account/second_factor_remove.html"
    extra_context = {"tab": "second-factor"}


class RecoveryCodesPage(ViewRecoveryCodesView):
    """The recovery codes that are left."""

    template_name = "teams/account/recovery_codes.html"
    extra_context = {"tab": "second-factor"}


@method_decorator(login_required, name="dispatch")
@method_decorator(require_POST, name="dispatch")
class RenewRecoveryCodes(GenerateRecoveryCodesView):
    """New recovery codes; the old ones no longer work. Without a second factor there are none."""

    def form_invalid(self, form: Any) -> HttpResponse:
        """Lead to where the second factor is set up."""
        return redirect("mfa_index")


@login_required
def session_list(request: HttpRequest) -> HttpResponse:
    """List where one is signed in."""
    current = request.session.session_key
    found = [sessions.described(session, current) for session in sessions.sessions_of(request.user)]
    others = sum(not session["is_current"] for session in found)
    return render(request, "teams/account/sessions.html", {"tab": "sessions", "sessions": found, "others": others})


@login_required
@require_POST
def end_session(request: HttpRequest, session_id: int) -> HttpResponse:
    """Sign out there."""
    session = get_object_or_404(UserSession, pk=session_id, user=request.user)
    name, is_own = sessions.device(session.user_agent), session.session_key == request.session.session_key
    session.end()
    announce_rights([request.user])
    audit.record(request.user, "user.end_session", request.user, {"session": (name, None)})
    if is_own:
        request.session.flush()
        return redirect("sign-in")
    messages.success(request, f"Signed out: {name}.")
    return redirect("account-sessions")


@login_required
@require_POST
def end_other_sessions(request: HttpRequest) -> HttpResponse:
    """Sign out everywhere else."""
    ended = sessions.end_sessions(request.user, but=request.session.session_key)
    audit.record(request.user, "user.end_session", request.user, {"sessions": (ended + 1, 1)})
    messages.success(request, "Signed out everywhere else.")
    return redirect("account-sessions")


@login_required
def preferences(request: HttpRequest) -> HttpResponse:
    """Choose the theme (kept in this browser) and the time zone (kept with the user)."""
    if request.method == "POST":
        theme, zone = request.POST.get("theme", ""), request.POST.get("time_zone", "").strip()
        if zone and zone not in available_timezones():
            wrong = f"“{zone}” is no time zone. Choose one of the list, or leave it empty for the browser's."
            return render(request, "teams/preferences.html", _choices(theme, zone, wrong), status=422)
        if zone != request.user.time_zone:
            User.objects.filter(pk=request.user.pk).update(time_zone=zone)
            audit.record(request.user, "user.change", request.user, {"time_zone": (request.user.time_zone, zone)})
        messages.success(request, "Saved.")
        response = redirect("preferences")
        if theme in THEMES and theme:
            response.set_cookie("theme", theme, COOKIE_SECONDS, samesite="Lax", secure=settings.SECURE)
        else:
            response.delete_cookie("theme", samesite="Lax")
        return response
    return render(request, "teams/preferences.html", _choices(request.COOKIES.get("theme", ""), request.user.time_zone))


def _choices(theme: str, zone: str, wrong: str = "") -> dict[str, Any]:
    return {
        "tab": "preferences",
        "themes": THEMES,
        "theme": theme if theme in THEMES else "",
        "time_zone": zone,
        "wrong": wrong,
        "zones": sorted(zone for zone in available_timezones() if "/" in zone and not zone.startswith("Etc/")),
    }
