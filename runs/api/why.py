"""Why a run is not running, as the API tells it."""

from typing import Any

from rest_framework import serializers

from runs.api.slots import SlotHolderSerializer
from runs.gates import Holder
from runs.why import SlotWait, Why


class GateHolderSerializer(serializers.Serializer[Holder]):
    """A run that holds what is waited for."""

    id = serializers.UUIDField()
    name = serializers.CharField()
    since = serializers.DateTimeField(allow_null=True, help_text="When it began.")


class GateSerializer(serializers.Serializer[Any]):
    """One condition of a run's start."""

    name = serializers.CharField(
        help_text="process, time, pause, catchup, queue, queue-limit, deployment-limit, workers, places, turn, broker."
    )
    title = serializers.CharField()
    open = serializers.BooleanField(source="is_open")
    blocks = serializers.BooleanField(help_text="Whether the run cannot start while this is closed.")
    sentence = serializers.CharField()
    holders = GateHolderSerializer(many=True, help_text="What occupies a limit, the oldest first, at most 5.")
    at = serializers.DateTimeField(allow_null=True, help_text="When it opens by itself, where that is known.")


class WaitingTaskRunSerializer(serializers.Serializer[SlotWait]):
    """A task run that waits for a slot of a tag."""

    task_run = serializers.UUIDField()
    name = serializers.CharField()
    tag = serializers.CharField()
    limit = serializers.IntegerField()
    since = serializers.DateTimeField()
    position = serializers.IntegerField(help_text="In the line of that tag, from 1.")
    sentence = serializers.CharField()
    holders = SlotHolderSerializer(many=True, help_text="The oldest first, at most 3.")


class WhySerializer(serializers.Serializer[Why]):
    """The answer."""

    id = serializers.UUIDField(source="run.pk")
    name = serializers.CharField(source="run.name")
    state_type = serializers.CharField(source="run.state_type")
    state_name = serializers.CharField(source="run.state_name")
    waits = serializers.BooleanField(help_text="Whether it waits to be started; else `answer` says what it does.")
    answer = serializers.CharField(help_text="In one sentence or two.")
    blocked_by = serializers.SerializerMethodField(help_text="The name of the gate that blocks; null for none.")
    gates = GateSerializer(many=True, help_text="In the order in which it meets them; empty when it does not wait.")
    slots = WaitingTaskRunSerializer(many=True, help_text="Its task runs that wait for a slot, at most 20.")

    def get_blocked_by(self, found: Why) -> str | None:
        """Return the name of the gate that blocks."""
        return found.blocking.name if found.blocking else None
