"""The page of an invitation: join its team with the account that one has, or with a new one."""

from typing import Any

from allauth.account.utils import perform_login
from django.conf import settings
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.decorators import method_decorator
from django.views import View
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters

from teams import members
from teams.models import Invitation, User
from teams.sign_in import people


@method_decorator(never_cache, name="dispatch")
@method_decorator(sensitive_post_parameters("password"), name="dispatch")
class InvitationPage(View):
    """Whoever has the link may use it once; it can be withdrawn, and expires."""

    def get(self, request: HttpRequest, code: str) -> HttpResponse:
        """Say into which team it leads, and offer the ways to join."""
        invitation = members.open_invitation(code)
        return self._gone() if invitation is None else self._page(invitation, {})

    def post(self, request: HttpRequest, code: str) -> HttpResponse:
        """Join: who is signed in as they are, others with a new account."""
        invitation = members.open_invitation(code)
        if invitation is None:
            return self._gone()
        if request.user.is_authenticated:
            try:
                members.accept(code, request.user)
            except ValidationError:
                return self._gone()
            messages.success(request, f"You are a member of {invitation.team} now.")
            return redirect("home")
        name = request.POST.get("name", "").strip()
        try:
            user = _join_as_new(invitation, code, name, request.POST.get("password", ""))
        except ValidationError as error:
            return self._page(invitation, {"name": name, "wrong": error.message_dict}, status=422)
        return perform_login(request, user, email_verification="none", redirect_url=reverse("home"))

    def _page(self, invitation: Invitation, values: dict[str, Any], status: int = 200) -> HttpResponse:
        context = {"invitation": invitation, "sso": settings.SINGLE_SIGN_ON, "next": self.request.path, **values}
        return render(self.request, "teams/invitation.html", context, status=status)

    def _gone(self) -> HttpResponse:
        return render(self.request, "teams/invitation_gone.html", status=410)


def _join_as_new(invitation: Invitation, code: str, name: str, password: str) -> User:
    """Make an account and redeem the invitation, both or neither. Raises ValidationError (`username`, `password`)."""
    email = invitation.email.lower()
    if User.objects.filter(email__iexact=email).exists():
        email = ""  # it is somebody's already: whoever holds the link has not shown that it is theirs
    with transaction.atomic():
        user = people.new_user(name, password=password, email=email)
        try:
            members.accept(code, user)
        except ValidationError as error:
            raise ValidationError({"username": error.messages}) from None
    return user
