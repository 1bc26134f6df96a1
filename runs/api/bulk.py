"""REST: one verb for many runs, chosen by a filter."""

from typing import Any, Final

from django.http import QueryDict
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from orchestrator.api_views import ApiView
from orchestrator.bodies import StrictSerializer
from runs import bulk_verbs
from runs.api.access import visible_flow_runs
from runs.api.filters import FlowRunFilter
from runs.models import FlowRunQuerySet

FILTERS: Final = tuple(FlowRunFilter.base_filters)
ANY_TIME: Final = {"state", "name", "id_prefix", "parent", "until"}  # filters that ask for upcoming runs too


class BulkSerializer(StrictSerializer):
    """What is to be done to which runs."""

    verb = serializers.ChoiceField(choices=list(bulk_verbs.VERBS))
    filter = serializers.DictField(
        help_text=f"As the list of runs takes them, one at least: {', '.join(FILTERS)}. A value, or a list of values."
    )
    dry_run = serializers.BooleanField(required=False, default=False, help_text="Only count what matches.")
    after = serializers.CharField(
        required=False, allow_null=True, max_length=100, help_text="`next` of the answer before."
    )
    key = serializers.CharField(
        required=False, max_length=100, help_text="For rerun: the same in all calls of one go, so that none doubles."
    )


class RefusalSerializer(serializers.Serializer[Any]):
    """A run that was left as it is."""

    id = serializers.UUIDField()
    name = serializers.CharField()
    reason = serializers.CharField()


class BulkAnswerSerializer(serializers.Serializer[Any]):
    """The answer: `count` and `more` of a dry run, else the others."""

    count = serializers.IntegerField(required=False, help_text=f"How many match, up to {bulk_verbs.MAX_COUNT:,}.")
    more = serializers.BooleanField(required=False, help_text="Whether more match than were counted.")
    done = serializers.IntegerField(required=False)
    refused = RefusalSerializer(many=True, required=False)
    made = serializers.ListField(child=serializers.UUIDField(), required=False, help_text="The new runs of a rerun.")
    next = serializers.CharField(
        required=False, allow_null=True, help_text="To be sent as `after`; null when all were met."
    )


class BulkView(ApiView):
    """Cancel, retry, rerun or delete all runs that match a filter."""

    own_transactions = frozenset({"post"})

    @extend_schema(summary="Do something to many runs", request=BulkSerializer, responses=BulkAnswerSerializer)
    def post(self, request: Request) -> Response:
        """Count with `dry_run`, then call until `next` is null.

        A call does at most 200 runs, newest first, each in a transaction of its own; runs that refuse are listed.
        """
        body = BulkSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        said = body.validated_data
        runs = chosen(visible_flow_runs(request), said["filter"])
        if said["dry_run"]:
            found = bulk_verbs.count(runs)
            most = bulk_verbs.MAX_COUNT
            return Response({"count": min(found, most), "more": found > most})
        user: Any = request.user
        outcome = bulk_verbs.apply(said["verb"], runs, user=user, after=said.get("after"), key=said.get("key", ""))
        return Response(bulk_verbs.as_json(outcome))


def chosen(runs: FlowRunQuerySet, given: dict[str, Any]) -> FlowRunQuerySet:
    """Return the runs that a filter chooses, as the list of runs would.

    Raises:
        ValidationError: By `filter.<name>`; where nothing is said at all, since that would mean every run.
    """
    data = QueryDict(mutable=True)
    for name, value in given.items():
        if name not in FILTERS:
            raise ValidationError({f"filter.{name}": [f"There is no such filter. There are {', '.join(FILTERS)}."]})
        values = [str(one) for one in value] if isinstance(value, list) else [str(value)]
        if kept := [one for one in values if one.strip()]:
            data.setlist(name, kept)
    if not data:
        raise ValidationError({"filter": ["Say which runs: one filter at least."]})
    narrowed = FlowRunFilter(data, queryset=runs)
    if not narrowed.form.is_valid():
        raise ValidationError({f"filter.{name}": list(errors) for name, errors in narrowed.form.errors.items()})
    found: Any = narrowed.qs
    return found if ANY_TIME & data.keys() else found.without_upcoming(timezone.now())
