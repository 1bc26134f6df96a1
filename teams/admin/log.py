"""The audit log in the administration: read only, of the teams that one administers."""

import json
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from teams import reads
from teams.admin.links import to_list
from teams.admin.rights import ReadOnlyAdmin
from teams.models import AuditEntry, User
from teams.rights import Level


class VerbFilter(admin.SimpleListFilter):
    """What was done to which kind of thing. The kinds are those of the verbs: nothing is counted."""

    title = "of"
    parameter_name = "of"
    _KINDS = (
        "calendar", "concurrency_limit", "deployment", "destination", "flow", "flow_run", "message",
        "notification_policy", "schedule", "service_account", "team", "token", "user", "work_queue",
    )  # fmt: skip

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Every kind."""
        return [(kind, kind.replace("_", " ").capitalize()) for kind in self._KINDS]

    def queryset(self, request: HttpRequest, queryset: QuerySet[AuditEntry]) -> QuerySet[AuditEntry]:
        """Keep what was done to it."""
        return queryset.filter(verb__startswith=f"{self.value()}.") if self.value() else queryset


@admin.register(AuditEntry)
class AuditEntryAdmin(ReadOnlyAdmin):
    """Who did what to which object, from where, and what changed."""

    to_see = Level.ADMIN
    list_display = ("when", "actor_name", "verb", "subject", "what_changed", "via", "address", "team")
    list_select_related = ("team",)
    list_filter = (VerbFilter, "via", "team", "at")
    search_fields = ("verb", "actor_name")  # as `get_search_results` has it
    search_help_text = "A whole verb (deployment.pause) or user name."
    ordering = ("-id",)
    fields = (
        "when", "actor_name", "verb", "subject", "subject_type", "subject_id", "changed", "via", "token", "address",
        "team",
    )  # fmt: skip
    readonly_fields = fields

    def rows_for(self, user: User) -> QuerySet[AuditEntry]:
        """The entries of the teams that the reader administers; all for a site administrator."""
        return reads.entries_for(user)

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        """Also by who did it: the page of a user leads here."""
        return lookup == "actor__id__exact" or super().lookup_allowed(lookup, value, request)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[AuditEntry], search_term: str
    ) -> tuple[QuerySet[AuditEntry], bool]:
        """Find a verb, which has a point in it, or what a person did (index `audit_actor`)."""
        term = search_term.strip()
        if not term:
            return queryset, False
        people = list(User.objects.filter(username=term).values_list("pk", flat=True))
        found = queryset.filter(actor__in=people) if people or "." not in term else queryset.filter(verb=term)
        return found, False

    @admin.display(description="when", ordering="-id")
    def when(self, entry: AuditEntry) -> str:
        """To the second, in the reader's zone."""
        return f"{timezone.localtime(entry.at):%Y-%m-%d %H:%M:%S}"

    @admin.display(description="object")
    def subject(self, entry: AuditEntry) -> SafeString:
        """Its name, which leads to all that was done to it."""
        same = {"subject_type__exact": entry.subject_type, "subject_id__exact": entry.subject_id}
        return to_list("teams_auditentry", entry.subject_name[:60] or "?", **same)

    @admin.display(description="changed")
    def what_changed(self, entry: AuditEntry) -> str:
        """The names of the fields."""
        return ", ".join(entry.changes)[:60]

    @admin.display(description="what changed")
    def changed(self, entry: AuditEntry) -> SafeString:
        """Each field, before and after."""
        return format_html('<pre class="admin-json">{}</pre>', json.dumps(entry.changes, indent=2, ensure_ascii=False))
