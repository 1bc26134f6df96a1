"""Administration of business calendars; their own pages show what is off."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.utils.safestring import SafeString

from flows import calendar_actions
from flows.models import Calendar
from runs import actions as verbs
from teams.admin.deeds import Deed
from teams.admin.links import to_list, to_page
from teams.admin.verbs import VerbAdmin


@admin.register(Calendar)
class CalendarAdmin(VerbAdmin):
    """Business calendars."""

    list_display = ("name", "team", "words", "schedules", "updated_at", "page")
    list_select_related = ("team",)
    list_filter = ("team", "country")
    search_fields = ("name",)
    ordering = ("name", "id")
    fields = ("team", "name", "weekend", "country", "subdivision", "days_off", "working_days")
    actions = ("delete",)
    delete = Deed(
        "Delete", calendar_actions.delete_calendar, "deleted", needs="delete", is_dangerous=True,
        follows="One that a schedule has stays.",
    )  # fmt: skip

    @admin.display(description="days off")
    def words(self, calendar: Calendar) -> str:
        """Its days off, in plain words."""
        return calendar.value.describe()

    @admin.display(description="schedules")
    def schedules(self, calendar: Calendar) -> SafeString:
        """A link to the schedules that have it."""
        return to_list("flows_schedule", "Schedules", calendar__id__exact=calendar.pk)

    @admin.display(description="page")
    def page(self, calendar: Calendar) -> SafeString:
        """A link to its page."""
        return to_page("calendar", calendar.pk)

    def get_readonly_fields(self, request: HttpRequest, obj: Calendar | None = None) -> tuple[str, ...]:
        """A calendar stays with its team."""
        return ("team",) if obj else ()

    def make(self, row: Calendar, typed: dict[str, Any], user: Any) -> Calendar:
        """Make a calendar."""
        typed.pop("team")
        return calendar_actions.create_calendar(row.team, user=user, **typed)

    def change(self, row: Calendar, typed: dict[str, Any], user: Any) -> Calendar:
        """Change what was changed."""
        return verbs.change_calendar(row, user=user, **typed)
