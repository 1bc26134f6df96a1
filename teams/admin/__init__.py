"""Administration of people, and the administration itself: one way to sign in, one way to write.

The other apps take from here what every class of it has: `rights`, `verbs`, `deeds`, `links`.
"""

from typing import Any

from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from allauth.socialaccount.models import SocialAccount, SocialApp, SocialToken
from allauth.usersessions.models import UserSession
from django.contrib import admin
from django.contrib.auth.models import Group
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.http import urlencode

from orchestrator.administration import grouped
from teams.admin import invitations, log, people, tokens

__all__ = ["invitations", "log", "people", "tokens"]


def sign_in_first(request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
    """There is one way to sign in, and the administration uses it too."""
    if request.user.is_authenticated:
        raise PermissionDenied("The administration is open to people whom a site administrator made staff.")
    following = request.GET.get("next") or reverse("admin:index")
    return redirect(f"{reverse('sign-in')}?{urlencode({'next': following})}")


def own_password(request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
    """There is one page for one's own password."""
    return redirect("account-password")


def no_app_index(request: HttpRequest, app_label: str, extra_context: dict[str, Any] | None = None) -> HttpResponse:
    """What stands together is no app's: there is one index."""
    return redirect("admin:index")


def by_group(request: HttpRequest, app_label: str | None = None) -> list[Any]:
    """What the reader may see, by what people do."""
    return grouped(_by_app(request, app_label))


_by_app = admin.site.get_app_list
admin.site.get_app_list = by_group  # type: ignore[method-assign]
admin.site.app_index = no_app_index  # type: ignore[method-assign]
admin.site.login = sign_in_first  # type: ignore[method-assign]
admin.site.password_change = own_password  # type: ignore[method-assign]
admin.site.site_header = "Orchestrator"
admin.site.site_title = "Orchestrator"
admin.site.index_title = "Administration"
admin.site.disable_action("delete_selected")  # it knows no verbs
admin.site.unregister(Group)  # roles belong to memberships
for row in (Authenticator, EmailAddress, SocialAccount, SocialApp, SocialToken, UserSession):
    admin.site.unregister(row)  # the sign-in library's own; people have pages for what is theirs
