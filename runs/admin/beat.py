"""The rows of Celery's beat: the tick is the server's own, to look at; deployments have schedules instead."""

from contextlib import suppress

from django.contrib import admin
from django_celery_beat import models as beat

from teams.admin.rights import ReadOnlyAdmin

for _model in (
    beat.PeriodicTask,
    beat.CrontabSchedule,
    beat.IntervalSchedule,
    beat.SolarSchedule,
    beat.ClockedSchedule,
):
    with suppress(admin.sites.NotRegistered):
        admin.site.unregister(_model)


@admin.register(beat.PeriodicTask)
class PeriodicTaskAdmin(ReadOnlyAdmin):
    """What beat sends, and when it last did."""

    for_site = True
    list_display = ("name", "task", "interval", "enabled", "last_run_at", "total_run_count")
    list_select_related = ("interval",)
    list_filter = ("enabled",)
    search_fields = ("name", "task")
    ordering = ("name",)
    fields = ("name", "task", "interval", "enabled", "last_run_at", "total_run_count", "date_changed", "description")
