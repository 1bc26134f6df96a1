"""How deployments and schedules look in the API, and what they are made from."""

from datetime import datetime
from typing import Any

from django.utils import timezone
from rest_framework import serializers

from flows.models import Catchup, Deployment, Schedule, ScheduleKind
from flows.schedules import Spec
from orchestrator.bodies import ReadSerializer, StrictSerializer, UTCDateTimeField

NEXT_TIMES = 5
NAME = {"max_length": 200}


class SpecSerializer(StrictSerializer):
    """A schedule, as it is written."""

    kind = serializers.ChoiceField(choices=ScheduleKind.choices)
    expression = serializers.CharField(
        max_length=1000, help_text="`MO,WE 08:00`; seconds; five fields of cron; an RFC 5545 rule: as `kind` says."
    )
    timezone = serializers.CharField(default="UTC", max_length=64, help_text="Whose wall clock counts: Europe/Paris.")
    anchor = serializers.DateTimeField(default=None, allow_null=True, help_text="Intervals are counted from here.")
    catchup = serializers.ChoiceField(choices=Catchup.choices, default=Catchup.LATEST.value)
    parameters = serializers.DictField(default=dict, help_text="Added to the deployment's own.")
    active = serializers.BooleanField(default=True)


class SchedulePreviewSerializer(serializers.Serializer[Any]):
    """What a schedule means."""

    description = serializers.CharField(read_only=True, help_text="In plain words.")
    expression = serializers.CharField(read_only=True, help_text="In its normal form.")
    next_times = serializers.ListField(child=UTCDateTimeField(), read_only=True)


class ScheduleSerializer(ReadSerializer):
    """A schedule of a deployment. Reads the deployment: have it at hand."""

    description = serializers.SerializerMethodField(help_text="In plain words.")
    next_times = serializers.SerializerMethodField(
        help_text="The next five; none while it or its deployment is paused."
    )
    parameters = serializers.DictField(read_only=True)

    class Meta:
        model = Schedule
        fields = (
            "id", "kind", "expression", "timezone", "anchor", "active", "catchup", "parameters", "description",
            "next_times",
        )  # fmt: skip
        read_only_fields = fields

    def get_description(self, schedule: Schedule) -> str:
        """Return the schedule in plain words."""
        return Spec.of(schedule).describe()

    def get_next_times(self, schedule: Schedule) -> list[datetime]:
        """Return the next times at which it will make a run."""
        if not schedule.active or schedule.deployment.paused:
            return []
        return next_times(Spec.of(schedule))


class DeploymentSerializer(ReadSerializer):
    """A deployment. Reads `flow`, `queue` and `schedules`: select and prefetch them."""

    name = serializers.CharField(source="full_name", read_only=True, help_text="flow-name/deployment-name")
    flow = serializers.CharField(source="flow.name", read_only=True)
    queue = serializers.CharField(source="queue.name", read_only=True)
    tags = serializers.ListField(child=serializers.CharField(), read_only=True)
    schedules = ScheduleSerializer(many=True, read_only=True)
    parameters = serializers.DictField(read_only=True)
    parameter_schema = serializers.DictField(read_only=True, help_text="JSON schema, from the flow's annotations.")

    class Meta:
        model = Deployment
        fields = (
            "id", "name", "flow", "paused", "tags", "queue", "schedules", "parameters", "parameter_schema",
            "entrypoint", "directory", "version", "description", "created_at", "updated_at",
        )  # fmt: skip
        read_only_fields = fields


class DeclarationSerializer(StrictSerializer):
    """What the author of a deployment says about it."""

    flow = serializers.CharField(**NAME, help_text="The flow's name.")
    name = serializers.CharField(**NAME, help_text="The deployment's own name.")
    entrypoint = serializers.CharField(max_length=1000, help_text="path/to/file.py:function or package.module:function")
    directory = serializers.CharField(max_length=1000, required=False, allow_blank=True)
    description = serializers.CharField(required=False, allow_blank=True)
    version = serializers.CharField(max_length=200, required=False, allow_blank=True)
    parameters = serializers.DictField(required=False)
    parameter_schema = serializers.DictField(required=False)
    tags = serializers.ListField(child=serializers.CharField(max_length=200), required=False)
    queue = serializers.CharField(max_length=100, required=False)
    paused = serializers.BooleanField(required=False, help_text="Whether a new one starts paused.")
    schedules = SpecSerializer(many=True, required=False, help_text="Left out: those that are there stay.")


class DeclaredDeploymentSerializer(DeploymentSerializer):
    """The deployment, what declaring it changed and what it kept."""

    changes = serializers.DictField(read_only=True, help_text="field → [before, now]")
    kept = serializers.ListField(
        child=serializers.CharField(), read_only=True, help_text="Fields that were set elsewhere, and stay so."
    )

    class Meta(DeploymentSerializer.Meta):
        fields = (*DeploymentSerializer.Meta.fields, "changes", "kept")
        read_only_fields = fields


class DeploymentChangesSerializer(StrictSerializer):
    """What a person may change about a deployment."""

    name = serializers.CharField(**NAME, required=False, help_text="The deployment's own name.")
    description = serializers.CharField(required=False, allow_blank=True)
    parameters = serializers.DictField(required=False)
    tags = serializers.ListField(child=serializers.CharField(max_length=200), required=False)
    queue = serializers.CharField(max_length=100, required=False)
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


def next_times(spec: Spec) -> list[datetime]:
    """Return the next five times (UTC) of a schedule; none of one that cannot be read any more."""
    try:
        return spec.next_times(timezone.now(), NEXT_TIMES)
    except (ValueError, KeyError, OSError):
        return []
