"""Administration of people: users, teams, tokens. Changes go through `teams.actions`."""

from typing import Any

from django.contrib import admin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.forms import ModelForm
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.http import urlencode
from unfold.admin import ModelAdmin, TabularInline
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from teams import actions
from teams.models import ApiToken, Membership, Team, User


def sign_in_first(request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
    """There is one way to sign in, and the administration uses it too."""
    if request.user.is_authenticated:
        raise PermissionDenied
    following = request.GET.get("next") or reverse("admin:index")
    return redirect(f"{reverse('sign-in')}?{urlencode({'next': following})}")


admin.site.login = sign_in_first  # type: ignore[method-assign]
admin.site.site_header = "Orchestrator"
admin.site.site_title = "Orchestrator"
admin.site.index_title = "Administration"
admin.site.unregister(Group)  # roles belong to memberships


class MembershipInline(TabularInline):
    """A user's teams, or a team's members."""

    model = Membership
    extra = 0
    autocomplete_fields = ("user", "team")


@admin.register(User)
class UserAdmin(DjangoUserAdmin, ModelAdmin):
    """People."""

    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm
    list_display = ("username", "email", "is_active", "is_staff", "last_login")
    list_filter = ("is_active", "is_staff")
    readonly_fields = ("last_login", "date_joined")
    inlines = (MembershipInline,)
    fieldsets = (
        (None, {"fields": ("username", "password", "email", "first_name", "last_name", "time_zone")}),
        ("May", {"fields": ("is_active", "is_staff", "is_superuser")}),
        ("When", {"fields": ("last_login", "date_joined")}),
    )

    def get_inlines(self, request: HttpRequest, obj: User | None) -> tuple[type[TabularInline], ...]:
        """A new user is made a member of the default team; others are added after that."""
        return self.inlines if obj else ()

    def save_model(self, request: HttpRequest, obj: User, form: ModelForm, change: bool) -> None:
        """Make users through the verb that the command line uses."""
        if change:
            super().save_model(request, obj, form, change)
            return
        made = actions.create_user(obj.username, password=form.cleaned_data.get("password1") or None, email=obj.email)
        obj.__dict__.update(made.__dict__)

    def has_delete_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        """Whoever leaves is made inactive: what they made keeps its author."""
        return False


@admin.register(Team)
class TeamAdmin(ModelAdmin):
    """Teams and their members."""

    list_display = ("name", "created_at")
    search_fields = ("name",)
    inlines = (MembershipInline,)


@admin.register(ApiToken)
class ApiTokenAdmin(ModelAdmin):
    """Tokens; they are made by `orchestrator token create`, which shows the secret once."""

    list_display = ("name", "prefix", "user", "team", "created_at", "expires_at", "last_used_at")
    list_select_related = ("user", "team")
    search_fields = ("name", "prefix")

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Their secret could not be shown here."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: ApiToken | None = None) -> bool:
        """Nothing of a token changes."""
        return False

    def delete_model(self, request: HttpRequest, obj: ApiToken) -> None:
        """Revoke it."""
        actions.revoke_token(obj)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[ApiToken]) -> None:
        """Revoke them."""
        for token in queryset:
            actions.revoke_token(token)
