"""Administration of people: users, teams, tokens. Changes go through `teams.actions`."""

from typing import Any

from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from allauth.socialaccount.models import SocialAccount, SocialApp, SocialToken
from allauth.usersessions.models import UserSession
from django.contrib import admin, messages
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group
from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import QuerySet
from django.forms import ModelForm
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.http import urlencode
from unfold.admin import ModelAdmin, TabularInline
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from teams import actions, audit, members
from teams.live import announce_rights
from teams.models import ApiToken, Membership, Team, User
from teams.rights import administers_site
from teams.sign_in import people


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
for row in (Authenticator, EmailAddress, SocialAccount, SocialApp, SocialToken, UserSession):
    admin.site.unregister(row)  # the sign-in library's own; people have pages for what is theirs


def save_memberships(request: HttpRequest, formset: Any) -> None:
    """Save a formset of memberships through the verbs; what they refuse is said, and the rest is kept."""
    formset.save(commit=False)
    kept = [*formset.new_objects, *(row for row, _ in formset.changed_objects)]
    for row in [*kept, *formset.deleted_objects]:
        try:
            if row in kept:
                members.set_role(row.team, row.user, row.role, user=request.user)
            else:
                members.remove_member(row.team, row.user, user=request.user)
        except ValidationError as error:
            messages.error(request, " ".join(error.messages))


class MembershipInline(TabularInline):
    """A user's teams, or a team's members."""

    model = Membership
    extra = 0
    autocomplete_fields = ("user", "team")

    def get_formset(self, request: HttpRequest, obj: Any = None, **options: Any) -> Any:
        """A row that is there keeps its user and team: to move somebody, delete it and add another."""
        made = super().get_formset(request, obj, **options)

        class Kept(made):  # type: ignore[valid-type,misc]
            def add_fields(self, form: ModelForm, index: int | None) -> None:
                super().add_fields(form, index)
                if form.instance.pk is not None:
                    form.fields["team" if self.fk.name == "user" else "user"].disabled = True

        return Kept


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
        """Make, deactivate and change users as the command line does: checked, and written down."""
        if change:
            before = User.objects.get(pk=obj.pk)
            active, obj.is_active = obj.is_active, before.is_active
            super().save_model(request, obj, form, change)
            said = [name for name in form.changed_data if name not in {"is_active", "password"}]
            changes = {name: (getattr(before, name, None), form.cleaned_data.get(name)) for name in said}
            if changes:
                announce_rights([obj])
                audit.record(request.user, "user.change", obj, changes)
            if active != before.is_active:
                act = actions.reactivate_user if active else actions.deactivate_user
                try:
                    act(obj, user=request.user)
                except ValidationError as error:
                    messages.error(request, " ".join(error.messages))
            if "email" in form.changed_data:
                people.keep_email(obj, is_proven=administers_site(request.user))
            return
        password = form.cleaned_data.get("password1") or None
        made = actions.create_user(obj.username, password=password, email=obj.email, user=request.user)
        obj.__dict__.update(made.__dict__)

    def save_formset(self, request: HttpRequest, form: ModelForm, formset: Any, change: bool) -> None:
        """Change memberships as the pages do."""
        save_memberships(request, formset)

    def has_delete_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        """Whoever leaves is made inactive: what they made keeps its author."""
        return False


@admin.register(Team)
class TeamAdmin(ModelAdmin):
    """Teams and their members."""

    list_display = ("name", "created_at")
    search_fields = ("name",)
    inlines = (MembershipInline,)

    def save_model(self, request: HttpRequest, obj: Team, form: ModelForm, change: bool) -> None:
        """Make and rename teams as the pages do."""
        if change:
            members.rename_team(Team.objects.get(pk=obj.pk), obj.name, user=request.user)
            return
        made = members.create_team(obj.name, user=request.user)
        obj.__dict__.update(made.__dict__)

    def save_formset(self, request: HttpRequest, form: ModelForm, formset: Any, change: bool) -> None:
        """Change memberships as the pages do."""
        save_memberships(request, formset)


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
        actions.revoke_token(obj, user=request.user)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[ApiToken]) -> None:
        """Revoke them."""
        for token in queryset:
            actions.revoke_token(token, user=request.user)
