"""Requests that nobody would write, made by schemathesis from the OpenAPI document, and checks of their answers."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID

import schemathesis
from django.core.signals import request_finished, request_started
from django.db import close_old_connections, transaction
from django.utils import timezone
from drf_spectacular.generators import SchemaGenerator
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi import checks

from flows.models import Block, Calendar, Deployment, Flow, Schedule, WorkQueue
from notifications.models import Delivery, Destination, Mute, Policy
from orchestrator.encryption import Secret
from orchestrator.openapi import Described
from orchestrator.sdk.ids import uuid7
from orchestrator.sdk.states import StateType
from runs.models import Attempt, ConcurrencyLimit, FlowRun, Log, TaskRun, Worker
from teams.models import ApiToken, Membership, Role, Team, User

assert Described  # registers the ways to sign in

SEED = 20_261_129
CHECKS = [
    schemathesis.checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
    checks.response_headers_conformance,
]
ELSEWHERE = {"/api/slots/stream/", "/api/calls/stream/"}  # served beside Django, and 501 in it
UNKNOWN = UUID("01a20520-ec8c-7ebc-9556-01dc5825feab")


@schemathesis.serializer("application/x-ndjson")
def _as_lines(_context: Any, value: Any) -> Any:
    return value if isinstance(value, bytes) else json.dumps(value).encode()


@schemathesis.serializer("application/vnd.orchestrator.snapshot")
def _as_bytes(_context: Any, value: Any) -> Any:
    return value if isinstance(value, bytes) else str(value).encode()


@dataclass(slots=True)
class Stage:
    """A team with one of everything: tokens by role, and the ids that addresses are filled with."""

    tokens: dict[str, str] = field(default_factory=dict)
    ids: dict[str, list[Any]] = field(default_factory=dict)

    def ids_for(self, path: str, name: str) -> list[Any]:
        """The ids that exist for a part of an address such as /api/calendars/{id}/."""
        return self.ids.get(path.split(f"/{{{name}}}")[0].rsplit("/", 1)[1], [])


def set_stage() -> Stage:
    """Make the rows."""
    stage, now = Stage(), timezone.now()
    team = Team.objects.create(name="fuzzed")
    tokens, members = [], []
    for role in Role.values:
        person = User.objects.create_user(role)
        members.append(Membership.objects.create(user=person, team=team, role=role))
        token, stage.tokens[role] = ApiToken.issue(name=role, user=person, team=team)
        tokens.append(token)
    robot = User.objects.create_user("robot", service_of=team)
    flow = Flow.objects.create(team=team, name="etl_job")
    queue, spare = WorkQueue.default(team), WorkQueue.objects.create(team=team, name="spare")
    calendar = Calendar.objects.create(team=team, name="french", country="FR", weekend=["SA", "SU"])
    properties = {"limit": {"type": "integer"}, "day": {"type": "string", "format": "date"}}
    deployment = Deployment.objects.create(
        team=team, flow=flow, name="nightly", entrypoint="etl.py:etl_job", directory="/srv", queue=queue,
        parameters={"limit": 5}, parameter_schema={"type": "object", "properties": properties},
    )  # fmt: skip
    schedule = Schedule.objects.create(
        deployment=deployment, kind="cron", expression="0 8 * * *", calendar=calendar, parameters={"limit": 6}
    )
    runs = [_run(team, flow, deployment, queue, type_) for type_ in (*StateType, None)]
    Attempt.objects.create(
        flow_run=runs[0], number=1, state_type="FAILED", state_name="Failed", created_at=now,
        error={"type": "ValueError", "message": "no", "traceback": "…"},
    )  # fmt: skip
    task_run = TaskRun.objects.create(
        id=uuid7(),
        flow_run=runs[0],
        name="extract-0",
        task="extract",
        state_type="COMPLETED",
        state_name="Completed",
        created_at=now,
    )
    Log.objects.create(
        id=uuid7(), flow_run=runs[0], task_run_id=task_run.pk, time=now, level=20, logger="stdout", message="hello"
    )
    limit = ConcurrencyLimit.objects.create(team=team, tag="database", limit=1)
    block = Block.objects.create(team=team, type="process", name="small", values={"memory_mb": 512})
    worker = Worker.objects.create(team=team, name="w", host="h", pid=1, places=2, started_at=now, heartbeat_at=now)
    destination = Destination.objects.create(
        team=team, name="ops", kind="webhook", summary="https://127.0.0.1/…",
        config=Secret.of({"url": "https://127.0.0.1:9/", "secret": "whsec_" + "A" * 32}),
    )  # fmt: skip
    policy = Policy.objects.create(team=team, name="failures", events=["FAILED"])
    policy.destinations.add(destination)
    delivery = Delivery.objects.create(
        team=team,
        policy=policy,
        destination=destination,
        flow_run=runs[0],
        attempt=1,
        event="FAILED",
        occurred_at=now,
        subject=deployment.pk,
    )
    Mute.objects.create(deployment=deployment, until=timezone.now() + timedelta(days=1))
    stage.ids = {
        "flows": [flow.pk], "deployments": [deployment.pk], "work-queues": [queue.pk, spare.pk],
        "calendars": [calendar.pk], "schedules": [schedule.pk], "flow-runs": [run.pk for run in runs],
        "concurrency-limits": [limit.pk], "blocks": [block.pk],
        "workers": [worker.pk], "destinations": [destination.pk],
        "notification-policies": [policy.pk], "deliveries": [delivery.pk], "mutes": [deployment.pk],
        "slots": [task_run.pk], "teams": [team.pk], "members": [member.pk for member in members],
        "users": [member.user_id for member in members], "service-accounts": [robot.pk],
        "tokens": [token.pk for token in tokens],
    }  # fmt: skip
    return stage


def _run(team: Team, flow: Flow, deployment: Deployment, queue: WorkQueue, type_: StateType | None) -> FlowRun:
    now = timezone.now()
    kind = type_ or StateType.COMPLETED
    return FlowRun.objects.create(
        team=team, flow=flow, deployment=deployment if type_ else None, queue=queue if type_ else None, name="calm-owl",
        state_type=kind, state_name=kind.capitalize(), attempt=1, expected_start=now, start_time=now, state_time=now,
    )  # fmt: skip


@contextmanager
def kept_connection() -> Iterator[None]:
    """Let requests within use the test's own connection, in its transaction."""
    signals = (request_started, request_finished)
    for signal in signals:
        signal.disconnect(close_old_connections)
    try:
        yield
    finally:
        for signal in signals:
            signal.connect(close_old_connections)


def document() -> Any:
    """The description of the API, as schemathesis reads it."""
    return schemathesis.openapi.from_dict(SchemaGenerator().get_schema(request=None, public=True))


def operations(schema: Any, group: str = "") -> Iterator[Any]:
    """The calls of the document, of those below one address where it is given."""
    for result in schema.get_all_operations():
        operation = result.ok()
        if operation.path not in ELSEWHERE and (not group or operation.path.split("/")[2] == group):
            yield operation


def tried(operation: Any, stage: Stage, app: Any, cases: int) -> int:
    """Send `cases` requests of a call, valid ones and others, by tokens of every role in turn; return how many.

    What each writes is rolled back. Raises the failure of the first answer that is not as the document says.
    """
    sent = 0
    known = {parameter.name: stage.ids_for(operation.path, parameter.name) for parameter in operation.path_parameters}
    which = st.sampled_from([0, 1, 2, 3, 4, None])

    def send(case: Any, role: str, nth: int | None, fill: bool) -> None:
        nonlocal sent
        sent += 1
        if fill:
            case.path_parameters = {
                name: str(UNKNOWN if nth is None or not ids else ids[nth % len(ids)]) for name, ids in known.items()
            }
        for name in [name for name in case.headers or () if name.lower() == "host"]:
            del case.headers[name]  # a host that is not this site's is refused before the API is asked
        with transaction.atomic():
            response = case.call(app=app, headers={"Authorization": f"Bearer {stage.tokens[role]}"})
            transaction.set_rollback(True)
        case.validate_response(response, checks=CHECKS)

    for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
        strategy = operation.as_strategy(generation_mode=mode)
        fill = st.booleans() if mode is GenerationMode.NEGATIVE else st.just(True)
        run = given(strategy, st.sampled_from(sorted(stage.tokens)), which, fill)(send)
        run = settings(
            max_examples=cases // 2, database=None, deadline=None, phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )(seed(SEED)(run))  # fmt: skip
        try:
            run()
        except Unsatisfiable:  # nothing of it can be wrong
            assert mode is GenerationMode.NEGATIVE
    return sent
