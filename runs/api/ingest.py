"""Where scripts and workers on other machines bring their journals."""

from datetime import timedelta
from typing import Any

from django.db import transaction
from django.db.models import Q
from drf_spectacular.utils import OpenApiTypes, extend_schema, inline_serializer
from rest_framework import serializers
from rest_framework.exceptions import ValidationError
from rest_framework.parsers import BaseParser
from rest_framework.request import Request
from rest_framework.response import Response

from orchestrator.api_views import ApiView
from orchestrator.bodies import read_bounded
from orchestrator.sdk.causes import CANCELLED, LEASE_LOST
from orchestrator.sdk.states import StateType
from runs import bounds
from runs.api.access import visible_flow_runs
from runs.authentication import FactTokenAuthentication
from runs.clock import database_now
from runs.ingest import MAX_REQUEST_BYTES, Outcome, ingest, parse_batch
from runs.loading import UnusableBatch
from runs.models import FINAL_TYPES, Attempt, FlowRun
from teams.acting import acting_team
from teams.authentication import InProcessAuthentication, TokenAuthentication

#: A script that ships its journal calls every 10 s even when it has nothing to say (`orchestrator.sdk.shipper`).
SHIPPED_LEASE = timedelta(seconds=30)


class NdjsonParser(BaseParser):
    """Lines of JSON, handed on as they came."""

    media_type = "application/x-ndjson"

    def parse(self, stream: Any, media_type: str | None = None, parser_context: dict[str, Any] | None = None) -> bytes:
        """Return the body. Raises TooLarge."""
        return read_bounded(stream, MAX_REQUEST_BYTES)


class IngestView(ApiView):
    """Facts of one journal; the same ones twice change nothing."""

    authentication_classes = [FactTokenAuthentication, TokenAuthentication, InProcessAuthentication]
    parser_classes = [NdjsonParser]
    own_keys = unrated = frozenset({"post"})

    @extend_schema(
        summary="Bring in facts of a journal",
        description="The journal's header, then lines of it, each a JSON object; `orchestrator.sdk.events` is the"
        " format. A run's own token may speak of that run and its subflows, up to a day after its end. The header alone"
        " says that the script still lives.",
        request={"application/x-ndjson": OpenApiTypes.STR},
        responses=inline_serializer(
            "IngestOutcome",
            {
                "sequence": serializers.IntegerField(help_text="The number of the last fact that was taken."),
                "taken": serializers.IntegerField(),
                "repeated": serializers.IntegerField(),
                "rejected": serializers.IntegerField(),
                "stop": serializers.CharField(
                    required=False, help_text="To a run: it was ended, or runs again, and has to end. Why."
                ),
            },
        ),
    )
    def post(self, request: Request) -> Response:
        """Take a batch; answer how far this journal has been brought in."""
        if not isinstance(request.data, bytes):
            raise ValidationError("The body is empty.")
        try:
            batch = parse_batch(request.data)
            if isinstance(request.auth, Attempt):
                run = request.auth.flow_run
                _check_journal(request, batch.header.journal)
                outcome = ingest(batch, team=run.team, within=run.pk)
            else:
                outcome = ingest(batch, team=acting_team(request))
        except UnusableBatch as error:
            raise ValidationError(str(error), code="unusable_batch") from None
        _keep_alive(batch.header.journal)
        return Response({**_answer(outcome), **_order(request, batch.header.journal)})


def _answer(outcome: Outcome) -> dict[str, int]:
    return {name: getattr(outcome, name) for name in ("sequence", "taken", "repeated", "rejected")}


def _order(request: Request, journal: str) -> dict[str, str]:
    """Tell a run that asks by its own token to end, where the server decided so and no worker may be there to tell it.

    What a worker, or its silence, said of the run is no decision: the run's own word outweighs it. One query; another
    where the run has retried within its process.
    """
    attempt = request.auth
    if not isinstance(attempt, Attempt) or str(attempt.journal) != journal:
        return {}
    run = FlowRun.objects.only("state_type", "ended_by", "attempt").filter(pk=attempt.flow_run_id).first()
    if run is None:
        return {"stop": LEASE_LOST}
    attempt.flow_run = run
    if run.is_final and not run.ended_by:
        return {"stop": CANCELLED if run.state_type == StateType.CANCELLED else LEASE_LOST}
    return {} if run.is_final or attempt.is_current() else {"stop": LEASE_LOST}


def _check_journal(request: Request, journal: str) -> None:
    """Raise UnusableBatch where a run's token brings the journal of a run that it may not speak of.

    A query where it is not the journal of the token's own attempt.
    """
    if str(request.auth.journal) == journal:
        return
    others = Attempt.objects.filter(journal=bounds.uuid_hex(journal) or request.auth.journal)
    others = others.exclude(flow_run__in=visible_flow_runs(request))
    if others.exists():
        raise UnusableBatch(f"Journal {journal} belongs to another run.")


def _keep_alive(journal: str) -> None:
    """Extend the leases of the runs that this journal's process is in, where no worker does, or needs to.

    Queries and locks: the runs' rows, locked in the order of their ids as everywhere, and one UPDATE.
    """
    alone = Q(worker__isnull=True) | Q(outlives_worker__isnull=False)
    here = Attempt.objects.filter(alone, journal=journal).exclude(state_type__in=FINAL_TYPES)
    running = FlowRun.objects.exclude(state_type__in=[*FINAL_TYPES, StateType.SCHEDULED])
    with transaction.atomic():
        locked = running.filter(pk__in=here.values("flow_run")).order_by("pk").select_for_update()
        ids = list(locked.values_list("pk", flat=True))
        if ids:
            FlowRun.objects.filter(pk__in=ids).update(lease_expires_at=database_now() + SHIPPED_LEASE)
