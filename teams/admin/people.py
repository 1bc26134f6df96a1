"""Administration of people: users and teams, and who is in them. Site administrators alone see these."""

from typing import Any, ClassVar

from django import forms
from django.contrib import admin
from django.contrib.auth import update_session_auth_hash
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.core.exceptions import ValidationError
from django.forms import ModelForm
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.decorators import method_decorator
from django.utils.safestring import SafeString
from django.views.decorators.debug import sensitive_post_parameters
from unfold.admin import TabularInline
from unfold.forms import UserChangeForm, UserCreationForm
from unfold.widgets import UnfoldAdminPasswordWidget

from teams import actions, members
from teams.admin.deeds import Deed
from teams.admin.links import to_list, to_page
from teams.admin.rights import RightsInline
from teams.admin.verbs import VerbAdmin
from teams.models import Membership, Team, User
from teams.rights import Level


class MembershipInline(RightsInline, TabularInline):
    """A user's teams, or a team's members."""

    model = Membership
    takes = Level.ADMIN
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


def save_memberships(request: HttpRequest, formset: Any) -> None:
    """Save a formset of memberships through the verbs. Raises ValidationError, Refused."""
    formset.save(commit=False)
    for row in [*formset.new_objects, *(row for row, _ in formset.changed_objects)]:
        members.set_role(row.team, row.user, row.role, user=request.user)
    for row in formset.deleted_objects:
        members.remove_member(row.team, row.user, user=request.user)


class PasswordForm(forms.Form):
    """A new password, twice."""

    password = forms.CharField(
        strip=False, label="New password", widget=UnfoldAdminPasswordWidget({"autocomplete": "new-password"})
    )
    again = forms.CharField(
        strip=False, label="Once more", widget=UnfoldAdminPasswordWidget({"autocomplete": "new-password"})
    )

    def clean(self) -> dict[str, Any]:
        """Both are the same."""
        if self.cleaned_data.get("password") != self.cleaned_data.pop("again", None):
            raise ValidationError({"again": "The two passwords differ."})
        return self.cleaned_data


@admin.register(User)
class UserAdmin(VerbAdmin, DjangoUserAdmin):
    """People and service accounts. Whoever leaves is deactivated: what they made keeps its author."""

    for_site = True
    to_delete = None
    form = UserChangeForm
    add_form = UserCreationForm
    list_display = ("username", "email", "service_of", "is_active", "is_staff", "site_admin", "last_login", "tokens")
    list_select_related = ("service_of",)
    list_filter = ("is_active", "is_staff", "is_superuser", ("service_of", admin.EmptyFieldListFilter), "teams")
    search_fields = ("username", "email", "first_name", "last_name")
    ordering = ("username",)
    filter_horizontal = ()
    readonly_fields = ("is_active", "service_of", "last_login", "date_joined", "did", "tokens")
    inlines = (MembershipInline,)
    fieldsets = (
        (None, {"fields": ("username", "password", "email", "first_name", "last_name", "time_zone")}),
        ("May", {"fields": ("is_active", "is_staff", "is_superuser", "service_of")}),
        ("More", {"fields": ("last_login", "date_joined", "tokens", "did")}),
    )
    add_fieldsets = DjangoUserAdmin.add_fieldsets

    deactivate = Deed(
        "Deactivate", actions.deactivate_user, "deactivated", is_dangerous=True,
        follows="They are signed out everywhere at once, and their tokens stop. What they made stays.",
    )  # fmt: skip
    reactivate = Deed(
        "Reactivate", actions.reactivate_user, "let in again",
        follows="They can sign in again, with the roles and the tokens that they have.",
    )  # fmt: skip
    remove_second_factor = Deed(
        "Remove second factor", actions.remove_second_factor, "without a second factor now", is_dangerous=True,
        follows="Until they set one up again they sign in by password alone. Be sure that it is they who ask.",
    )  # fmt: skip
    set_password = Deed(
        "Set a password", actions.set_password, "given a new password",
        follows="Sessions that were begun with the old one end.", form=lambda rows, user, typed: PasswordForm(typed),
    )  # fmt: skip
    actions = actions_detail = ("deactivate", "reactivate", "remove_second_factor")

    @admin.display(description="site admin", boolean=True, ordering="is_superuser")
    def site_admin(self, person: User) -> bool:
        """Whether they administer the whole site."""
        return person.is_superuser

    @admin.display(description="tokens")
    def tokens(self, person: User) -> SafeString:
        """A link to their tokens."""
        return to_list("teams_apitoken", "Tokens", user__id__exact=person.pk)

    @admin.display(description="audit log")
    def did(self, person: User) -> SafeString:
        """A link to what they did."""
        return to_list("teams_auditentry", "What they did", actor__id__exact=person.pk)

    def get_inlines(self, request: HttpRequest, obj: User | None) -> tuple[Any, ...]:
        """A new user is made a member of the default team; others are added after that."""
        return self.inlines if obj else ()

    def make(self, row: User, typed: dict[str, Any], user: Any) -> User:
        """Make a user."""
        password = typed.get("password1") or None
        return actions.create_user(row.username, password=password, email=row.email, user=user)

    def change(self, row: User, typed: dict[str, Any], user: Any) -> User:
        """Change what was changed, each by its verb."""
        standing = {name: typed.pop(name) for name in ("is_staff", "is_superuser") if name in typed}
        typed.pop("password", None)
        if typed:
            row = actions.change_user(row, user=user, **typed)
        if standing:
            row = actions.set_standing(row, user=user, **standing)
        return row

    def save_formset(self, request: HttpRequest, form: ModelForm, formset: Any, change: bool) -> None:
        """Change memberships as the pages do."""
        save_memberships(request, formset)

    @method_decorator(sensitive_post_parameters())
    def user_change_password(self, request: HttpRequest, id: str, form_url: str = "") -> HttpResponse:
        """Ask for a new password and set it; whoever sets their own stays signed in."""
        answer: HttpResponse = self.set_password(request, id)  # type: ignore[operator,call-arg,arg-type]
        if str(request.user.pk) == id and answer.status_code == 302:
            update_session_auth_hash(request, User.objects.get(pk=id))
        return answer


@admin.register(Team)
class TeamAdmin(VerbAdmin):
    """Teams and their members."""

    for_site = True
    to_delete = None
    list_display = ("name", "created_at", "page")
    list_filter = ("created_at",)
    search_fields = ("name",)
    ordering = ("name",)
    fields = ("name",)
    inlines: ClassVar[Any] = (MembershipInline,)

    @admin.display(description="page")
    def page(self, team: Team) -> SafeString:
        """A link to its page."""
        return to_page("team", team.pk)

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        """Show a team; to whoever administers no site its page, as far as that is theirs to see."""
        if not self.has_view_permission(request):
            return redirect("team", object_id)
        return super().change_view(request, object_id, form_url, extra_context)

    def get_inlines(self, request: HttpRequest, obj: Team | None) -> tuple[Any, ...]:
        """Whoever makes a team is its first member; others are added after that."""
        return self.inlines if obj else ()

    def make(self, row: Team, typed: dict[str, Any], user: Any) -> Team:
        """Make a team."""
        return members.create_team(row.name, user=user)

    def change(self, row: Team, typed: dict[str, Any], user: Any) -> Team:
        """Call it otherwise."""
        return members.rename_team(row, typed.get("name", row.name), user=user)

    def save_formset(self, request: HttpRequest, form: ModelForm, formset: Any, change: bool) -> None:
        """Change memberships as the pages do."""
        save_memberships(request, formset)
