"""How notifications look in the API. No secret is in any of it but `shown_once`."""

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from notifications.content import Content
from notifications.events import Event
from notifications.models import Delivery, Destination, Message, Mute, Policy
from notifications.transports import Answer
from orchestrator.bodies import ReadSerializer, UTCDateTimeField


class DestinationNameSerializer(ReadSerializer):
    """A destination, named."""

    class Meta:
        model = Destination
        fields = ("id", "name", "kind", "summary")
        read_only_fields = fields


class DestinationSerializer(DestinationNameSerializer):
    """A destination and how it does. Reads `policies`: prefetch them."""

    paused = serializers.SerializerMethodField(help_text="Nothing is sent there; what comes waits.")
    policies = serializers.SlugRelatedField("name", many=True, read_only=True)

    class Meta(DestinationNameSerializer.Meta):
        fields = (
            *DestinationNameSerializer.Meta.fields,
            "paused", "paused_at", "gave_up", "failures", "failing_since", "retry_at", "last_answer", "last_answer_at",
            "policies", "created_at",
        )  # fmt: skip
        read_only_fields = fields

    def get_paused(self, destination: Destination) -> bool:
        """Return whether it is paused."""
        return destination.paused_at is not None


class MadeDestinationSerializer(DestinationSerializer):
    """A destination as it is answered when it is made or given another secret."""

    shown_once = serializers.CharField(
        read_only=True, help_text="A webhook's signing secret, where one was made. It is not shown again."
    )

    class Meta(DestinationSerializer.Meta):
        fields = (*DestinationSerializer.Meta.fields, "shown_once")
        read_only_fields = fields


class PolicySerializer(ReadSerializer):
    """A policy. Reads `destinations`: prefetch them."""

    events = serializers.ListField(child=serializers.ChoiceField(choices=Event.choices), read_only=True)
    destinations = serializers.SerializerMethodField()
    flows = serializers.ListField(child=serializers.CharField(), read_only=True)
    deployments = serializers.ListField(child=serializers.CharField(), read_only=True)
    tags = serializers.ListField(child=serializers.CharField(), read_only=True)

    class Meta:
        model = Policy
        fields = (
            "id", "name", "events", "flows", "deployments", "tags", "destinations", "message", "log_lines", "timezone",
            "burst_limit", "long_running_seconds", "paused", "created_at", "updated_at",
        )  # fmt: skip
        read_only_fields = fields

    @extend_schema_field(DestinationNameSerializer(many=True))
    def get_destinations(self, policy: Policy) -> Any:
        """Return where it tells, by name."""
        there = sorted(policy.destinations.all(), key=lambda destination: destination.name)
        return DestinationNameSerializer(there, many=True).data


class ShownOnceSerializer(serializers.Serializer[Any]):
    """The signing secret of a destination that was made along."""

    destination = serializers.CharField(read_only=True, help_text="Its name.")
    secret = serializers.CharField(read_only=True, help_text="It is not shown again.")


class MadePolicySerializer(PolicySerializer):
    """A policy as it is answered when it is made or changed."""

    shown_once = ShownOnceSerializer(many=True, read_only=True, help_text="Of the destinations that were made along.")

    class Meta(PolicySerializer.Meta):
        fields = (*PolicySerializer.Meta.fields, "shown_once")
        read_only_fields = fields


class AnswerSerializer(serializers.Serializer[Any]):
    """What a service said to a message."""

    ok = serializers.BooleanField(read_only=True, help_text="It took the message.")
    text = serializers.CharField(read_only=True, help_text="In its own words, with the status.")


class PolicyAnswerSerializer(AnswerSerializer):
    """What one of a policy's destinations said."""

    destination = DestinationNameSerializer(read_only=True)


class TriedSerializer(AnswerSerializer):
    """What a service said to one try."""

    at = serializers.DateTimeField(read_only=True)
    seconds = serializers.FloatField(read_only=True, help_text="How long the service took.")


class ItemSerializer(serializers.Serializer[Any]):
    """A line of a message about several events."""

    text = serializers.CharField(read_only=True)
    count = serializers.IntegerField(read_only=True)
    url = serializers.CharField(read_only=True)


class ContentSerializer(serializers.Serializer[Any]):
    """What a message says, whichever way it goes."""

    event = serializers.CharField(read_only=True)
    tone = serializers.ChoiceField(choices=("bad", "warning", "good", "neutral"), read_only=True)
    title = serializers.CharField(read_only=True)
    text = serializers.CharField(read_only=True)
    log_lines = serializers.ListField(child=serializers.CharField(), read_only=True)
    items = ItemSerializer(many=True, read_only=True)
    url = serializers.CharField(read_only=True)
    url_label = serializers.CharField(read_only=True)
    time = serializers.CharField(read_only=True, help_text="When the event was, in UTC.")


class MessageNameSerializer(ReadSerializer):
    """What was sent, in short."""

    class Meta:
        model = Message
        fields = ("id", "kind", "count", "state", "tries", "created_at", "sent_at")
        read_only_fields = fields


class MessageSerializer(MessageNameSerializer):
    """What was sent and what the service said."""

    answers = TriedSerializer(many=True, read_only=True, help_text="Oldest first.")
    title = serializers.SerializerMethodField()
    text = serializers.SerializerMethodField()

    class Meta(MessageNameSerializer.Meta):
        fields = (*MessageNameSerializer.Meta.fields, "title", "text", "answers")
        read_only_fields = fields

    def get_title(self, message: Message) -> str:
        """Return the line that stands above it."""
        return str(message.content.get("title", ""))

    def get_text(self, message: Message) -> str:
        """Return what it says."""
        return str(message.content.get("text", ""))


class PolicyNameSerializer(ReadSerializer):
    """A policy, named."""

    class Meta:
        model = Policy
        fields = ("id", "name")
        read_only_fields = fields


class ToldRunSerializer(serializers.Serializer[Any]):
    """The run that a delivery is about."""

    id = serializers.UUIDField(read_only=True)
    name = serializers.CharField(read_only=True)
    flow = serializers.CharField(source="flow.name", read_only=True)
    deployment = serializers.SerializerMethodField(help_text="flow-name/deployment-name; null for a script's run.")

    def get_deployment(self, run: Any) -> str | None:
        """Return the deployment's full name. Its flow is the run's."""
        return f"{run.flow.name}/{run.deployment.name}" if run.deployment else None


class DeliverySerializer(ReadSerializer):
    """A delivery as lists show it. Reads its policy, destination, run and message: select them."""

    status = serializers.ChoiceField(choices=Delivery.Status.choices, read_only=True)
    policy = PolicyNameSerializer(read_only=True, allow_null=True)
    destination = DestinationNameSerializer(read_only=True, allow_null=True)
    flow_run = ToldRunSerializer(read_only=True)
    message = MessageNameSerializer(read_only=True, allow_null=True)
    held_for = serializers.ChoiceField(
        choices=[("", "Nothing"), *Delivery.Held.choices], read_only=True, help_text="With what it is gathered."
    )
    last_answer = serializers.SerializerMethodField(help_text="What the service said last.")

    class Meta:
        model = Delivery
        fields = (
            "id", "event", "status", "policy", "destination", "flow_run", "attempt", "occurred_at", "state_name",
            "reason", "muted", "held_for", "due_at", "created_at", "last_answer", "message",
        )  # fmt: skip
        read_only_fields = fields

    def get_last_answer(self, delivery: Delivery) -> str:
        """Return the text of the last try's answer; empty where nothing was tried yet."""
        answers = delivery.message.answers if delivery.message else []
        return str(answers[-1].get("text", "")) if answers else ""


class DeliveryDetailSerializer(DeliverySerializer):
    """A delivery with what was sent and every answer to it."""

    message = MessageSerializer(read_only=True, allow_null=True)


class MuteSerializer(ReadSerializer):
    """A deployment that is muted. Reads the deployment with its flow, and who muted it: select them."""

    deployment = serializers.SerializerMethodField(help_text="Its id and its name, flow-name/deployment-name.")
    by = serializers.CharField(source="created_by.username", read_only=True, default=None, allow_null=True)
    until = UTCDateTimeField(read_only=True)

    class Meta:
        model = Mute
        fields = ("deployment", "until", "reason", "created_at", "by")
        read_only_fields = fields

    @extend_schema_field(
        {"type": "object", "properties": {"id": {"type": "string", "format": "uuid"}, "name": {"type": "string"}}}
    )
    def get_deployment(self, mute: Mute) -> dict[str, str]:
        """Return the deployment, named."""
        return {"id": str(mute.deployment_id), "name": mute.deployment.full_name}


def of_answer(answer: Answer) -> dict[str, Any]:
    """Return a service's answer as it is shown."""
    return {"ok": answer.ok, "text": answer.text}


def of_content(content: Content) -> dict[str, Any]:
    """Return a message's content as it is shown."""
    return dict(ContentSerializer(content).data)
