"""How deployments and schedules look in the API, and what they are made from."""

from datetime import datetime
from typing import Any

from django.utils import timezone
from rest_framework import serializers

from flows import time_limits
from flows.actions import MAX_CRASH_RETRIES, MAX_LIMIT
from flows.models import (
    Catchup,
    Collision,
    Deployment,
    Isolation,
    OnDayOff,
    OnOverrun,
    Schedule,
    ScheduleKind,
)
from flows.schedules import MAX_CATCHUP_SECONDS, Spec
from orchestrator.bodies import ReadSerializer, StrictSerializer, UTCDateTimeField
from orchestrator.sdk.infrastructure.in_worker import InWorker
from orchestrator.sdk.runners import kinds

NEXT_TIMES = 5
MAX_APPLIED = 200
MAX_NEXT_TIMES = 100
NAME = {"max_length": 200}
CRASH_RETRIES: Any = {
    "required": False,
    "min_value": 0,
    "max_value": MAX_CRASH_RETRIES,
    "help_text": "How many times in a row a run that crashed is run again.",
}
TASK_RUNNER: Any = {
    "required": False,
    "allow_blank": True,
    "max_length": kinds.MAX_LENGTH,
    "help_text": "Where submitted tasks of its runs execute, whatever their code says: "
    f"{', '.join(kinds.KINDS)}, or with an argument, as in `processes:4`. Empty: as the code says.",
}
LIMIT: Any = {
    "required": False, "allow_null": True, "min_value": 1, "max_value": MAX_LIMIT,
    "help_text": "Runs in progress at once.",
}  # fmt: skip
COLLISION: Any = {
    "choices": Collision.choices, "required": False,
    "help_text": "What becomes of a run that comes while the limit is reached.",
}  # fmt: skip
_SECONDS: Any = {"required": False, "allow_null": True, "min_value": 1, "max_value": time_limits.MAX_SECONDS}
ISOLATION = "An older way to choose the infrastructure: `process`, or `worker` for `in-worker`."
INFRASTRUCTURE: Any = {
    "required": False,
    "allow_blank": True,
    "max_length": 100,
    "help_text": "Where its runs execute: the name of a block, `process` for each in a process of its own, or"
    f" `in-worker`. {InWorker.risk}",
}
OVERRIDES: Any = {"required": False, "help_text": "Values instead of the block's, of fields that the block opens."}

SOURCE = (
    "Where the code is: `kind` is `snapshot` (with its `hash`), `path` (on the worker), `git` (with `url` and `ref`) or"
    " `image`; left out: a path. Of a snapshot and a repository, `directory` and `entrypoint` are relative to the root,"
    " and `environment` is the file of it that says what it needs."
)


class SpecSerializer(StrictSerializer):
    """A schedule, as it is written."""

    kind = serializers.ChoiceField(choices=ScheduleKind.choices)
    expression = serializers.CharField(
        max_length=1000, help_text="`MO,WE 08:00`; seconds; five fields of cron; an RFC 5545 rule: as `kind` says."
    )
    timezone = serializers.CharField(default="UTC", max_length=64, help_text="Whose wall clock counts: Europe/Paris.")
    anchor = serializers.DateTimeField(default=None, allow_null=True, help_text="Intervals are counted from here.")
    starts_at = serializers.DateTimeField(default=None, allow_null=True, help_text="No time before this.")
    ends_at = serializers.DateTimeField(default=None, allow_null=True, help_text="No time after this.")
    calendar = serializers.CharField(
        default="", allow_blank=True, max_length=100, help_text="The name of the calendar whose days off count."
    )
    holidays = serializers.CharField(
        required=False,
        allow_blank=True,
        max_length=200,
        help_text="Instead of `calendar`: the country whose holidays are days off, FR or US-CA. A calendar of them is"
        " made where there is none.",
    )
    skip_weekends = serializers.BooleanField(
        required=False, help_text="Instead of `calendar`, with `holidays` or alone: weekends are days off."
    )
    on_day_off = serializers.ChoiceField(choices=OnDayOff.choices, default=OnDayOff.SKIP.value)
    catchup = serializers.ChoiceField(choices=Catchup.choices, default=Catchup.LATEST.value)
    catchup_seconds = serializers.IntegerField(
        default=None,
        allow_null=True,
        min_value=1,
        max_value=MAX_CATCHUP_SECONDS,
        help_text="Times missed longer ago than this are not run.",
    )
    parameters = serializers.DictField(default=dict, help_text="Added to the deployment's own.")
    active = serializers.BooleanField(default=True)


class TriedScheduleSerializer(SpecSerializer):
    """A schedule to try out, and how much of it to show."""

    count = serializers.IntegerField(
        default=NEXT_TIMES, min_value=1, max_value=MAX_NEXT_TIMES, help_text="How many of its next times."
    )
    year = serializers.BooleanField(default=False, help_text="Whether to show its year ahead.")


class ScheduledDaySerializer(serializers.Serializer[Any]):
    """A day of a schedule's year ahead."""

    date = serializers.DateField(read_only=True, help_text="On the schedule's own clock.")
    runs = serializers.IntegerField(read_only=True, help_text="How often it runs; counted to 100.")
    moved_here = serializers.IntegerField(read_only=True, help_text="How many of them were moved from days off.")
    left_out = serializers.IntegerField(
        read_only=True, help_text="On a day off: times that are moved away or left out."
    )
    day_off = serializers.CharField(read_only=True, allow_null=True, help_text="What the day off is called.")


class SchedulePreviewSerializer(serializers.Serializer[Any]):
    """What a schedule means."""

    description = serializers.CharField(read_only=True, help_text="In plain words.")
    expression = serializers.CharField(read_only=True, help_text="In its normal form.")
    next_times = serializers.ListField(child=UTCDateTimeField(), read_only=True)
    year = ScheduledDaySerializer(
        many=True, read_only=True, allow_null=True, help_text="Where it was asked for: this month and the next eleven."
    )


class BackfillRequestSerializer(StrictSerializer):
    """A window of the past."""

    start = serializers.DateTimeField(help_text="The first instant of the window.")
    end = serializers.DateTimeField(default=None, allow_null=True, help_text="The last; now by default.")
    schedule = serializers.UUIDField(
        default=None, allow_null=True, help_text="The one that it is about; else those that are switched on."
    )
    dry_run = serializers.BooleanField(default=False, help_text="Only say what would be made.")


class BackfillSerializer(serializers.Serializer[Any]):
    """What a backfill made, or would make."""

    count = serializers.IntegerField(read_only=True, help_text="How many times have no run yet; at most 1,000 a call.")
    there = serializers.IntegerField(read_only=True, help_text="How many have theirs already.")
    more_from = UTCDateTimeField(
        read_only=True, allow_null=True, help_text="The first time that was too much for one call; call again."
    )
    times = serializers.ListField(child=UTCDateTimeField(), read_only=True, help_text="Oldest first.")
    tag = serializers.CharField(
        read_only=True, help_text="The tag of the runs that were made, by which they are found and undone."
    )
    flow_runs = serializers.ListField(
        child=serializers.UUIDField(), read_only=True, help_text="The runs that were made, in the order of their times."
    )


class UndoSerializer(StrictSerializer):
    """Which backfill to undo."""

    tag = serializers.CharField(max_length=200, help_text="As the backfill answered it.")


class UndoneSerializer(serializers.Serializer[Any]):
    """What undoing a backfill did."""

    count = serializers.IntegerField(read_only=True, help_text="How many runs had not begun, and are left out now.")


class ScheduleSerializer(ReadSerializer):
    """A schedule of a deployment. Reads the deployment and the calendar: have them at hand."""

    description = serializers.SerializerMethodField(help_text="In plain words.")
    next_times = serializers.SerializerMethodField(
        help_text="The next five; none while it or its deployment is paused."
    )
    calendar = serializers.SerializerMethodField(help_text="The name of its calendar; empty without one.")
    parameters = serializers.DictField(read_only=True)

    class Meta:
        model = Schedule
        fields = (
            "id", "kind", "expression", "timezone", "anchor", "starts_at", "ends_at", "calendar", "on_day_off",
            "active", "catchup", "catchup_seconds", "parameters", "description", "next_times",
        )  # fmt: skip
        read_only_fields = fields

    def get_calendar(self, schedule: Schedule) -> str:
        """Return the name of the calendar."""
        return schedule.calendar.name if schedule.calendar_id else ""

    def get_description(self, schedule: Schedule) -> str:
        """Return the schedule in plain words."""
        return Spec.of(schedule).describe()

    def get_next_times(self, schedule: Schedule) -> list[datetime]:
        """Return the next times at which it will make a run."""
        if not schedule.active or schedule.deployment.paused:
            return []
        return next_times(Spec.of(schedule))


class DeploymentSerializer(ReadSerializer):
    """A deployment. Reads `flow`, `queue`, `infrastructure` and `schedules`: select and prefetch them."""

    name = serializers.CharField(source="full_name", read_only=True, help_text="flow-name/deployment-name")
    flow = serializers.CharField(source="flow.name", read_only=True)
    queue = serializers.CharField(source="queue.name", read_only=True)
    infrastructure = serializers.CharField(
        source="infrastructure_name", read_only=True, help_text="Where its runs execute: a block's name, or `process`."
    )
    infrastructure_overrides = serializers.DictField(read_only=True, help_text="Values instead of the block's.")
    isolation = serializers.ChoiceField(
        choices=Isolation.choices, read_only=True, help_text="Its infrastructure by the older names."
    )
    tags = serializers.ListField(child=serializers.CharField(), read_only=True)
    schedules = ScheduleSerializer(many=True, read_only=True)
    parameters = serializers.DictField(read_only=True)
    source = serializers.DictField(read_only=True, help_text=SOURCE)
    parameter_schema = serializers.DictField(read_only=True, help_text="JSON schema, from the flow's annotations.")

    class Meta:
        model = Deployment
        fields = (
            "id", "name", "flow", "paused", "tags", "queue", "schedules", "parameters", "parameter_schema",
            "entrypoint", "directory", "source", "version", "description", "project", "limit", "collision",
            "infrastructure", "infrastructure_overrides", "isolation",
            "crash_retries", "task_runner", *time_limits.DEFAULTS, "created_at", "updated_at",
        )  # fmt: skip
        read_only_fields = fields


class TimeLimitsSerializer(StrictSerializer):
    """When a deployment's runs are late, overrun or miss their deadline, and what follows."""

    late_after_seconds = serializers.IntegerField(
        **_SECONDS, help_text="A run that has not begun this long after its time is Late; null: the server's setting."
    )
    expected_seconds = serializers.IntegerField(
        **_SECONDS, help_text="How long a run should take at most, from the start of its attempt; null: not watched."
    )
    on_overrun = serializers.ChoiceField(
        choices=OnOverrun.choices, required=False, help_text="What becomes of a run that takes longer."
    )
    deadline_seconds = serializers.IntegerField(
        **_SECONDS, help_text="When a run should have ended, counted from its time; null: not watched."
    )
    on_deadline = serializers.ChoiceField(
        choices=OnOverrun.choices, required=False, help_text="What becomes of a run that has not ended by then."
    )


class DeclarationSerializer(TimeLimitsSerializer):
    """What the author of a deployment says about it."""

    flow = serializers.CharField(**NAME, help_text="The flow's name.")
    name = serializers.CharField(**NAME, help_text="The deployment's own name.")
    entrypoint = serializers.CharField(max_length=1000, help_text="path/to/file.py:function or package.module:function")
    directory = serializers.CharField(max_length=1000, required=False, allow_blank=True)
    source = serializers.DictField(required=False, help_text=SOURCE)
    description = serializers.CharField(required=False, allow_blank=True)
    version = serializers.CharField(max_length=200, required=False, allow_blank=True)
    parameters = serializers.DictField(required=False)
    parameter_schema = serializers.DictField(required=False)
    tags = serializers.ListField(child=serializers.CharField(max_length=200), required=False)
    queue = serializers.CharField(max_length=100, required=False)
    infrastructure = serializers.CharField(**INFRASTRUCTURE)
    infrastructure_overrides = serializers.DictField(**OVERRIDES)
    isolation = serializers.ChoiceField(choices=Isolation.choices, required=False, help_text=ISOLATION)
    crash_retries = serializers.IntegerField(**CRASH_RETRIES)
    task_runner = serializers.CharField(**TASK_RUNNER)
    limit = serializers.IntegerField(**LIMIT)
    collision = serializers.ChoiceField(**COLLISION)
    paused = serializers.BooleanField(required=False, help_text="Whether a new one starts paused.")
    schedules = SpecSerializer(many=True, required=False, help_text="Left out: those that are there stay.")


class ApplySerializer(StrictSerializer):
    """What a file of declarations says: all of a project's deployments."""

    project = serializers.CharField(**NAME, help_text="By what name deployments of this file are known.")
    deployments = DeclarationSerializer(many=True, max_length=MAX_APPLIED)
    prune = serializers.BooleanField(default=False, help_text="Delete those of the project that it names no more.")
    dry_run = serializers.BooleanField(default=False, help_text="Only say what would change.")


class AppliedDeploymentSerializer(serializers.Serializer[Any]):
    """What became, or would become, of a deployment."""

    id = serializers.UUIDField(allow_null=True, help_text="Null for one that a dry run would make.")
    name = serializers.CharField(help_text="flow-name/deployment-name")
    action = serializers.ChoiceField(choices=["create", "update", "keep", "delete", "abandon"], help_text=(
        "`delete` with `prune`; without it one that is named no more is `abandon`ed: it stays as it is."))  # fmt: skip
    changes = serializers.DictField(help_text="field → [before, now]")
    kept = serializers.ListField(
        child=serializers.CharField(), help_text="Fields that were set elsewhere, and stay so."
    )


class AppliedSerializer(serializers.Serializer[Any]):
    """What a file of declarations changed, or would change."""

    dry_run = serializers.BooleanField()
    deployments = AppliedDeploymentSerializer(many=True)


class DeclaredDeploymentSerializer(DeploymentSerializer):
    """The deployment, what declaring it changed and what it kept."""

    changes = serializers.DictField(read_only=True, help_text="field → [before, now]")
    kept = serializers.ListField(
        child=serializers.CharField(), read_only=True, help_text="Fields that were set elsewhere, and stay so."
    )

    class Meta(DeploymentSerializer.Meta):
        fields = (*DeploymentSerializer.Meta.fields, "changes", "kept")
        read_only_fields = fields


class DeploymentChangesSerializer(TimeLimitsSerializer):
    """What a person may change about a deployment."""

    name = serializers.CharField(**NAME, required=False, help_text="The deployment's own name.")
    description = serializers.CharField(required=False, allow_blank=True)
    parameters = serializers.DictField(required=False)
    tags = serializers.ListField(child=serializers.CharField(max_length=200), required=False)
    queue = serializers.CharField(max_length=100, required=False)
    limit = serializers.IntegerField(**LIMIT)
    collision = serializers.ChoiceField(**COLLISION)
    infrastructure = serializers.CharField(**INFRASTRUCTURE)
    infrastructure_overrides = serializers.DictField(**OVERRIDES)
    isolation = serializers.ChoiceField(choices=Isolation.choices, required=False, help_text=ISOLATION)
    crash_retries = serializers.IntegerField(**CRASH_RETRIES)
    task_runner = serializers.CharField(**TASK_RUNNER)
    paused = serializers.BooleanField(required=False)


class DuplicateSerializer(StrictSerializer):
    """What a copy of a deployment is called, and which parameters it has instead."""

    name = serializers.CharField(**NAME, help_text="The copy's own name.")
    parameters = serializers.DictField(required=False, help_text="Only those that differ.")


class NewFlowRunSerializer(StrictSerializer):
    """What a run is made with; everything may be left out."""

    parameters = serializers.DictField(required=False, help_text="Only those that differ from the deployment's.")
    name = serializers.CharField(**NAME, required=False, allow_null=True, help_text="Else one is made up.")
    tags = serializers.ListField(child=serializers.CharField(max_length=200), required=False)
    expected_start = serializers.DateTimeField(required=False, allow_null=True, help_text="Else now.")
    infrastructure_overrides = serializers.DictField(**OVERRIDES)


def next_times(spec: Spec) -> list[datetime]:
    """Return the next five times (UTC) of a schedule; none of one that cannot be read any more."""
    try:
        return spec.next_times(timezone.now(), NEXT_TIMES)
    except (ValueError, KeyError, OSError):
        return []
