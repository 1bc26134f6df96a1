"""How runs look in the API: snake_case, ids as text, times in UTC, durations in seconds."""

import logging
from datetime import datetime
from typing import Any

from django.utils import timezone
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from orchestrator.bodies import ReadSerializer
from runs.log_window import last_lines
from runs.models import Attempt, CrashCause, FlowRun, Log, ResourceSample, TaskRun, TaskRunAttempt


class ErrorSerializer(serializers.Serializer[Any]):
    """What ended a run: the exception's class, its message and the user's own traceback."""

    type = serializers.CharField()
    message = serializers.CharField()
    traceback = serializers.CharField()


@extend_schema_field(ErrorSerializer(allow_null=True))
class ErrorField(serializers.JSONField):
    """An error as it is kept; null when there was none."""


class _Timed(ReadSerializer):
    """Anything that starts and ends."""

    duration_seconds = serializers.SerializerMethodField(
        help_text="From its start to its end, or until now; null before its start."
    )

    def get_duration_seconds(self, row: Any) -> float | None:
        """Return the seconds from start to end."""
        return duration_seconds(row.start_time, row.end_time)


def duration_seconds(start: datetime | None, end: datetime | None) -> float | None:
    """Return the seconds from start to end, or until now; None before the start."""
    if start is None:
        return None
    return round(max(0.0, ((end or timezone.now()) - start).total_seconds()), 6)


class FlowRunSerializer(_Timed):
    """A flow run as lists show it. Reads `flow` and `deployment`: select them."""

    flow = serializers.CharField(source="flow.name", read_only=True)
    deployment = serializers.SerializerMethodField(help_text="flow-name/deployment-name; null for a script's run.")
    tags = serializers.ListField(child=serializers.CharField(), read_only=True)

    class Meta:
        model = FlowRun
        fields = (
            "id", "name", "flow", "deployment", "state_type", "state_name", "state_message", "start_time", "end_time",
            "created_at", "expected_start", "scheduled_for", "attempt", "tags", "trigger", "duration_seconds",
        )  # fmt: skip
        read_only_fields = fields

    def get_deployment(self, run: FlowRun) -> str | None:
        """Return the deployment's full name. Its flow is the run's."""
        return f"{run.flow.name}/{run.deployment.name}" if run.deployment else None


class AttemptSerializer(_Timed):
    """An attempt of a flow run."""

    infrastructure = serializers.DictField(
        read_only=True, allow_null=True, help_text="The block by which it executes, with the values used; null without."
    )
    error = ErrorField(read_only=True)
    source = serializers.DictField(read_only=True, help_text="Which code it runs; empty: nobody knows.")
    cause = serializers.ChoiceField(
        choices=[("", "None"), *CrashCause.choices], read_only=True, help_text="Why it crashed; empty if it did not."
    )

    class Meta:
        model = Attempt
        fields = (
            "number", "state_type", "state_name", "state_message", "error", "start_time", "end_time",
            "duration_seconds", "host", "pid", "source", "exit_code", "signal", "cause", "peak_memory_bytes",
            "cpu_seconds", "infrastructure",
        )  # fmt: skip
        read_only_fields = fields


class FlowRunDetailSerializer(FlowRunSerializer):
    """A flow run, inspected. Three queries more: attempts, task runs by state, work queue; its log if it crashed."""

    parameters = serializers.DictField(read_only=True)
    task_run_counts = serializers.SerializerMethodField(help_text="How many task runs are in each type of state.")
    error = ErrorField(read_only=True)
    attempts = AttemptSerializer(many=True, read_only=True)
    parent = serializers.UUIDField(source="parent_id", read_only=True, allow_null=True)
    rerun_of = serializers.UUIDField(source="rerun_of_id", read_only=True, allow_null=True)
    queue = serializers.CharField(source="queue.name", read_only=True, default=None, allow_null=True)
    last_log_lines = serializers.SerializerMethodField(help_text="Of a crashed run, as long as it is: the last six.")

    class Meta(FlowRunSerializer.Meta):
        fields = (
            *FlowRunSerializer.Meta.fields,
            "parameters", "task_run_counts", "error", "attempts", "parent", "rerun_of", "queue", "version",
            "entrypoint", "cancel_requested_at", "last_log_lines",
        )  # fmt: skip
        read_only_fields = fields

    def get_task_run_counts(self, run: FlowRun) -> dict[str, int]:
        """Return the number of task runs by type of state (index `task_run_counts`)."""
        return run.task_run_counts()

    def get_last_log_lines(self, run: FlowRun) -> list[str]:
        """Return the last lines of a crashed run's attempt; none of others."""
        return last_lines(run)


class TaskRunAttemptSerializer(_Timed):
    """An earlier attempt of a task run."""

    error = ErrorField(read_only=True)

    class Meta:
        model = TaskRunAttempt
        fields = (
            "number", "state_type", "state_name", "state_message", "error", "start_time", "end_time",
            "duration_seconds",
        )  # fmt: skip
        read_only_fields = fields


class TaskRunSerializer(_Timed):
    """A task run. Reads `earlier_attempts`: prefetch them."""

    tags = serializers.ListField(child=serializers.CharField(), read_only=True)
    inputs = serializers.DictField(child=serializers.ListField(child=serializers.CharField()), read_only=True)
    error = ErrorField(read_only=True)
    earlier_attempts = TaskRunAttemptSerializer(many=True, read_only=True)

    class Meta:
        model = TaskRun
        fields = (
            "id", "name", "task", "index", "state_type", "state_name", "state_message", "error", "attempt",
            "max_retries", "created_at", "start_time", "end_time", "next_attempt_at", "duration_seconds", "tags",
            "inputs", "subflow_run", "flow_attempt", "earlier_attempts",
        )  # fmt: skip
        read_only_fields = fields


class ResourceSampleSerializer(ReadSerializer):
    """What an attempt's processes used at a time, since the sample before."""

    class Meta:
        model = ResourceSample
        fields = ("time", "attempt", "cpu", "memory_bytes")
        read_only_fields = fields


class LogSerializer(ReadSerializer):
    """A log line, or a printed line (its logger is then `stdout` or `stderr`)."""

    task_run = serializers.UUIDField(source="task_run_id", read_only=True, allow_null=True)
    task_run_name = serializers.SerializerMethodField()
    level_name = serializers.SerializerMethodField()

    class Meta:
        model = Log
        fields = (
            "id", "time", "level", "level_name", "logger", "message", "task_run", "task_run_name", "attempt",
            "task_attempt",
        )  # fmt: skip
        read_only_fields = fields

    def get_task_run_name(self, log: Log) -> str | None:
        """Return the name of the task run, from the context's `task_run_names`."""
        return self.context.get("task_run_names", {}).get(log.task_run_id)

    def get_level_name(self, log: Log) -> str:
        """Return INFO, ERROR and so on."""
        return logging.getLevelName(log.level)
