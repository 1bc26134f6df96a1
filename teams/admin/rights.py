"""Who may see and change what in the administration: what `teams.rights` says, and nothing else.

Every class of the administration has `RightsAdmin` or `RightsInline` below it. Django's own permissions play no part:
whoever is staff sees here the rows that their teams own or that are shared with them, and changes what their role lets
them. Each verb asks again.
"""

from collections.abc import Callable
from typing import Any, ClassVar

from django.contrib import admin
from django.contrib.admin.utils import get_fields_from_path, unquote
from django.db.models import Model, QuerySet
from django.forms import ModelChoiceField
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.html import strip_tags
from django.utils.safestring import mark_safe
from unfold.admin import ModelAdmin
from unfold.paginator import InfinitePage, InfinitePaginator

from teams.models import Team, User
from teams.rights import Level, administers_site
from teams.verbs import SECRETS


class SeenFilter(admin.RelatedFieldListFilter):
    """A filter by a related row, which offers those that the reader may see."""

    def field_choices(self, field: Any, request: HttpRequest, model_admin: Any) -> list[tuple[Any, str]]:
        """Return them by id, as the related model's own list orders them."""
        rows = rows_of(field.related_model, request.user)
        within = {"pk__in": rows.values("pk")} if rows is not None else {}
        ordering = self.field_admin_ordering(field, request, model_admin)
        choices: list[tuple[Any, str]] = field.get_choices(False, ordering=ordering, limit_choices_to=within)
        return choices


class _Rights:
    """What classes of models and of inlines share: the choices of their foreign keys."""

    to_add: ClassVar[Level | None] = Level.EDIT

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Return what the reader may see, in the list's order."""
        rows: QuerySet[Any] = self.rows_for(request.user)  # type: ignore[attr-defined]
        ordering = self.get_ordering(request)  # type: ignore[attr-defined]
        return rows.order_by(*ordering) if ordering else rows

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **options: Any) -> ModelChoiceField | None:
        """Offer the rows that the reader may see; of teams those in which they may make something."""
        model, row = db_field.related_model, getattr(request, "admin_row", None)
        rows = teams_at(request.user, self.to_add) if model is Team else rows_of(model, request.user)
        if rows is not None and getattr(row, "team_id", None) and hasattr(model, "team_id"):
            rows = rows.filter(team=row.team_id)  # type: ignore[union-attr]
        if rows is not None:
            options.setdefault("queryset", rows)
        field: ModelChoiceField | None = super().formfield_for_foreignkey(  # type: ignore[misc]
            db_field, request, **options
        )
        return field


class RightsAdmin(_Rights, ModelAdmin):
    """Rows that whoever is staff sees and changes as far as their rights go.

    Attributes:
        owner: The relation that leads to the row whose team and shares count; empty: the row's own do.
        for_site: Only administrators of the whole site see any.
        to_see: The level that it takes in some team to see the list at all.
        to_add, to_change, to_delete: The level that it takes on a row, or in the team that will own it; None: nobody.
    """

    list_per_page = 50
    show_facets = admin.ShowFacets.NEVER  # counts, a query for each choice
    owner: ClassVar[str] = ""
    for_site: ClassVar[bool] = False
    to_see: ClassVar[Level] = Level.READ
    to_change: ClassVar[Level | None] = Level.EDIT
    to_delete: ClassVar[Level | None] = Level.EDIT

    def rows_for(self, user: User) -> QuerySet[Any]:
        """Return the rows that somebody may see."""
        rows: Any = self.model._default_manager.all()
        if self.for_site:
            return rows if administers_site(user) else rows.none()
        if not self.owner:
            return rows.visible_to(user)
        owners: Any = self.model._meta.get_field(self.owner).related_model
        return rows if user.sees_everything else rows.filter(
            **{f"{self.owner}__in": owners._default_manager.visible_to(user)}
        )  # fmt: skip

    def level_of(self, user: User, row: Any) -> Level:
        """Return what somebody may do with a row."""
        return user.level_on(getattr(row, self.owner) if self.owner else row)

    def has_module_permission(self, request: HttpRequest) -> bool:
        """Whether it stands in the index."""
        return self.has_view_permission(request)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Whether the reader sees the list. A row that is not theirs is never found."""
        return self._may(request, self.to_see, None)

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Whether there is a team for which the reader may make one."""
        return self._may(request, self.to_add, None)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Whether the reader may change this row, or any."""
        return self._may(request, self.to_change, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Whether the reader may delete this row, or any."""
        return self._may(request, self.to_delete, obj)

    def has_run_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Whether the reader may run, cancel and answer."""
        return self._may(request, Level.RUN, obj)

    def has_admin_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Whether the reader administers it."""
        return self._may(request, Level.ADMIN, obj)

    def _may(self, request: HttpRequest, level: Level | None, obj: Any) -> bool:
        user: Any = request.user
        if level is None or not user.is_active or not user.is_staff:
            return False
        if self.for_site:
            return administers_site(user)
        if obj is None:
            return most(user) >= level
        row = obj if isinstance(obj, Model) else self.get_object(request, str(obj))
        return row is not None and self.level_of(user, row) >= level

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **options: Any) -> Any:
        """Return the form, whose choices are of the row's own team."""
        request.admin_row = obj  # type: ignore[attr-defined]
        return super().get_form(request, obj, change=change, **options)

    @property
    def readonly_preprocess_fields(self) -> dict[str, Callable[[str], str]]:
        """People are shown by their names: only site administrators have a list of them to follow a link to."""
        people = [field.name for field in self.model._meta.concrete_fields if field.related_model is User]
        return dict.fromkeys(people, lambda shown: mark_safe(strip_tags(shown)))

    def history_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> HttpResponse:
        """What was done to a row stands in the audit log."""
        same = {"subject_type__exact": self.opts.model_name, "subject_id__exact": unquote(object_id)}
        return redirect(reverse("admin:teams_auditentry_changelist", query=same))

    def log_addition(self, request: HttpRequest, object: Any, message: Any) -> None:
        """The verb has written it down."""

    def log_change(self, request: HttpRequest, object: Any, message: Any) -> None:
        """The verb has written it down."""

    def get_list_filter(self, request: HttpRequest) -> list[Any]:
        """Return the filters; those by a related row offer what the reader may see."""
        return [
            (one, SeenFilter) if isinstance(one, str) and get_fields_from_path(self.model, one)[-1].is_relation else one
            for one in super().get_list_filter(request)
        ]

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        """Nothing is found by guessing at a secret, nor at its digest."""
        return not SECRETS & set(lookup.split("__")) and super().lookup_allowed(lookup, value, request)


class UncountedPage(InfinitePage):
    """A page of a list that nobody counted."""

    def has_next(self) -> bool:
        """Whether there may be more: this one is full."""
        return len(self.object_list) == self.paginator.per_page and self.number < self.paginator.num_pages


class UncountedPaginator(InfinitePaginator):
    """Pages of a list that is never counted, so far as a database reads to them quickly; a filter narrows the rest."""

    count = 10_000

    def _get_page(self, *args: Any, **options: Any) -> UncountedPage:
        return UncountedPage(*args, **options)


class ReadOnlyAdmin(RightsAdmin):
    """Rows that only the server writes; in lists that are never counted."""

    to_add = to_change = to_delete = None
    show_full_result_count = False
    paginator = UncountedPaginator
    list_per_page = 30
    list_disable_select_all = True  # nobody knows how many there are


class RightsInline(_Rights):
    """Rows of a row, which whoever may change that one changes."""

    takes: ClassVar[Level] = Level.EDIT
    extra = 0

    def rows_for(self, user: User) -> QuerySet[Any]:
        """Return all: those of a row that the reader may see."""
        return self.model._default_manager.all()

    def _may(self, request: HttpRequest, obj: Any) -> bool:
        return obj is not None and request.user.level_on(obj) >= self.takes  # type: ignore[union-attr]

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Whoever sees the row sees them."""
        return True

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Whether the reader may add one."""
        return self._may(request, obj)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Whether the reader may change them."""
        return self._may(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Whether the reader may delete them."""
        return self._may(request, obj)


def most(user: User) -> Level:
    """Return the most that somebody may do anywhere: by a role, or by what is shared with them."""
    if user.sees_everything:
        return user.level_in(None)
    levels = [user.level_in(team) for team in user.team_ids]
    return max(levels + [level for shared in user.shares.values() for level in shared.values()], default=Level.NONE)


def teams_at(user: User, level: Level | None) -> QuerySet[Team]:
    """Return the teams in which somebody may do so much, alphabetical."""
    teams = Team.objects.visible_to(user).order_by("name")
    if user.sees_everything or level is None:
        return teams
    return teams.filter(pk__in=[team for team in user.team_ids if user.level_in(team) >= level])


def rows_of(model: type[Model], user: Any) -> QuerySet[Any] | None:
    """Return the rows of a model that somebody may see, as its own list has them; None: it has no list here."""
    registered = admin.site._registry.get(model)
    return registered.rows_for(user) if isinstance(registered, RightsAdmin) else None
