"""Signing in and out, and how a person likes the pages."""

from typing import Any
from zoneinfo import available_timezones

from django.conf import settings
from django.contrib import messages
from django.contrib.auth import authenticate, login, logout
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_POST

from teams.models import SignInLink, User

THEMES = {"": "As the system says", "light": "Light", "dark": "Dark"}
BACKEND = "django.contrib.auth.backends.ModelBackend"
COOKIE_SECONDS = 365 * 24 * 3600


@never_cache
@sensitive_post_parameters("password")
def sign_in(request: HttpRequest) -> HttpResponse:
    """Sign in by user name or e-mail address, and password."""
    following = _following(request)
    if request.user.is_authenticated:
        return redirect(following)
    name = request.POST.get("name", "").strip()
    context: dict[str, Any] = {"name": name, "next": following}
    if request.method == "POST":
        user = _user_of(request, name, request.POST.get("password", ""))
        if user is not None:
            login(request, user)
            return redirect(following)
        context["wrong"] = "The name and the password do not belong together."
        return render(request, "teams/sign_in.html", context, status=422)
    return render(request, "teams/sign_in.html", context)


@never_cache
def sign_in_link(request: HttpRequest, code: str) -> HttpResponse:
    """Sign in by a one-time link; a link that was used says how to print a fresh one."""
    user = SignInLink.redeem(code) if request.method == "GET" else None
    if user is not None and user.is_active:
        login(request, user, backend=BACKEND)
        return redirect("home")
    if request.user.is_authenticated:
        return redirect("home")
    return render(request, "teams/link_used.html", status=410)


@require_POST
def sign_out(request: HttpRequest) -> HttpResponse:
    """Sign out."""
    logout(request)
    return redirect("sign-in")


@login_required
def preferences(request: HttpRequest) -> HttpResponse:
    """Choose the theme (kept in this browser) and the time zone (kept with the user)."""
    if request.method == "POST":
        theme, zone = request.POST.get("theme", ""), request.POST.get("time_zone", "").strip()
        if zone and zone not in available_timezones():
            wrong = f"“{zone}” is no time zone. Choose one of the list, or leave it empty for the browser's."
            return render(request, "teams/preferences.html", _choices(theme, zone, wrong), status=422)
        User.objects.filter(pk=request.user.pk).update(time_zone=zone)
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
        "themes": THEMES,
        "theme": theme if theme in THEMES else "",
        "time_zone": zone,
        "wrong": wrong,
        "zones": sorted(zone for zone in available_timezones() if "/" in zone and not zone.startswith("Etc/")),
    }


def _user_of(request: HttpRequest, name: str, password: str) -> User | None:
    """The person whose name (or e-mail address, where it is one person's) and password these are."""
    if "@" in name and not User.objects.filter(username=name).exists():
        found = User.objects.filter(email__iexact=name).values_list("username", flat=True)[:2]
        name = found[0] if len(found) == 1 else name
    return authenticate(request, username=name, password=password)


def _following(request: HttpRequest) -> str:
    """Where to go after signing in: a page of this site."""
    address = request.POST.get("next") or request.GET.get("next") or "/"
    return address if url_has_allowed_host_and_scheme(address, {request.get_host()}, request.is_secure()) else "/"
