"""What requests about notifications are made of."""

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from notifications.events import Event
from notifications.models import MAX_LOG_LINES
from notifications.policy_fields import MAX_BURST, MAX_LONG_RUNNING
from orchestrator.bodies import StrictSerializer

MAX_SECONDS = 10**9  # a date so far ahead can still be written; the verb says what is too long


@extend_schema_field(serializers.ChoiceField(choices=Event.choices))
class EventField(serializers.CharField):
    """An event; the verb says which there are."""


class WordsField(serializers.ListField):
    """A list of names, patterns or tags."""

    def __init__(self, **options: Any) -> None:
        super().__init__(child=serializers.CharField(max_length=500), max_length=100, **options)


class NewDestinationSerializer(StrictSerializer):
    """What a destination is made from."""

    name = serializers.CharField(max_length=100, required=False, allow_blank=True, help_text="Else one is made up.")
    kind = serializers.CharField(
        max_length=16,
        required=False,
        help_text="slack, email, webhook or apprise; left out, `address` begins with it: `slack:https://…`.",
    )
    address = serializers.CharField(max_length=4000, write_only=True, help_text="Encrypted at rest, never answered.")
    secret = serializers.CharField(
        max_length=500,
        required=False,
        allow_blank=True,
        write_only=True,
        help_text="A webhook's own signing secret; left out, one is made and answered once.",
    )


class DestinationChangesSerializer(StrictSerializer):
    """What may be changed of a destination."""

    name = serializers.CharField(max_length=100, required=False)
    address = serializers.CharField(max_length=4000, required=False, write_only=True)
    secret = serializers.CharField(max_length=500, required=False, write_only=True)


class _PolicyFieldsSerializer(StrictSerializer):
    """What a policy watches, and what it says. Empty lists match everything."""

    events = serializers.ListField(
        child=EventField(max_length=32), max_length=100, required=False, help_text="Left out: FAILED and CRASHED."
    )
    flows = WordsField(required=False, help_text="Names or patterns (`etl-*`) of flows.")
    deployments = WordsField(required=False, help_text="flow-name/deployment-name, or patterns of it.")
    tags = WordsField(required=False, help_text="A run with one of them.")
    message = serializers.CharField(
        required=False, allow_blank=True, trim_whitespace=False, help_text="The text's template; empty: the usual text."
    )
    log_lines = serializers.IntegerField(
        min_value=0, max_value=MAX_LOG_LINES, required=False, help_text="How many of the last log lines to add."
    )
    timezone = serializers.CharField(
        max_length=64, required=False, allow_blank=True, help_text="Times are told in it; empty: the server's."
    )
    long_running_seconds = serializers.IntegerField(
        min_value=1,
        max_value=MAX_LONG_RUNNING,
        required=False,
        allow_null=True,
        help_text="Long-running from here on; null: three times the usual.",
    )


class NewPolicySerializer(_PolicyFieldsSerializer):
    """What a policy is made from."""

    name = serializers.CharField(max_length=100, required=False, allow_blank=True, help_text="Else one is made up.")
    destinations = WordsField(
        help_text="Each the id or name of a destination, or an address such as `slack:https://…`, which makes one."
    )
    burst_limit = serializers.IntegerField(
        min_value=1, max_value=MAX_BURST, required=False, help_text="More messages in a minute than this become one."
    )


class PolicyChangesSerializer(NewPolicySerializer):
    """What may be changed of a policy: only the fields that are given."""

    name = serializers.CharField(max_length=100, required=False)
    destinations = WordsField(required=False, help_text="Instead of those that it has.")


class PreviewSerializer(_PolicyFieldsSerializer):
    """Of which policy the text is wanted, with what is given beside it instead; and for which run."""

    policy = serializers.UUIDField(required=False, help_text="Left out, one that has only what is given here.")
    flow_run = serializers.UUIDField(required=False, help_text="A past run; left out, the newest that it matches.")


class TestedRunSerializer(StrictSerializer):
    """With which run a policy is tried."""

    flow_run = serializers.UUIDField(required=False, help_text="A past run; left out, the newest that it matches.")


class NewMuteSerializer(StrictSerializer):
    """Which deployment is muted, and until when."""

    deployment = serializers.CharField(max_length=500, help_text="flow-name/deployment-name, or its id.")
    seconds = serializers.IntegerField(min_value=1, max_value=MAX_SECONDS, required=False, help_text="For so long")
    until = serializers.DateTimeField(required=False, help_text="or until then.")
    reason = serializers.CharField(max_length=200, required=False, allow_blank=True)

    def validate(self, values: dict[str, Any]) -> dict[str, Any]:
        """One of `seconds` and `until`, not both."""
        if ("seconds" in values) == ("until" in values):
            raise serializers.ValidationError({"seconds": ["Say for how long: either `seconds` or `until`."]})
        return values


def valid(kind: type[StrictSerializer], data: Any) -> Any:
    """Return the values of a request's body. Raises ValidationError by field."""
    serializer = kind(data=data)
    serializer.is_valid(raise_exception=True)
    return serializer.validated_data
