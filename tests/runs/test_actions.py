"""Verbs on runs and deployments: what they change, refuse and announce."""

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import close_old_connections, connections
from django.utils import timezone

from flows.declarations import Declaration
from flows.models import Deployment, Flow, WorkQueue
from flows.schedules import Spec
from orchestrator.sdk.states import FINAL, StateType
from runs import actions, claims
from runs.models import FlowRun, Trigger, Worker
from teams.actions import create_user
from teams.models import Team, User

SCHEMA = {
    "type": "object",
    "properties": {"day": {"type": "integer"}, "carrier": {"type": "string"}},
    "required": ["day"],
}


@pytest.fixture
def bells(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Any]]:
    rung: list[tuple[str, Any]] = []
    monkeypatch.setattr("runs.bells.send", lambda queue, at=None: rung.append((queue, at)))
    monkeypatch.setattr("runs.bells.send_cancel", lambda run_id: rung.append(("cancel", run_id)))
    return rung


@pytest.fixture
def announced(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    ids: list[Any] = []
    monkeypatch.setattr("runs.live.announce", ids.extend)
    return ids


@pytest.fixture
def deployment(db: None, bells: list[Any], announced: list[Any]) -> Deployment:
    return declare(parameters={"day": 1}, tags=["a"], version="1", parameter_schema=SCHEMA)[0]


@pytest.fixture
def user(db: None) -> User:
    """An editor of the default team."""
    return create_user("ann")


@pytest.fixture
def commit(django_capture_on_commit_callbacks: Any) -> Callable[[], Any]:
    return lambda: django_capture_on_commit_callbacks(execute=True)


def declare(**fields: Any) -> tuple[Deployment, dict[str, Any]]:
    declaration = Declaration(**{"flow_name": "etl", "name": "nightly", "entrypoint": "etl.py:etl", **fields})
    return actions.deploy(team=Team.default(), user=None, declaration=declaration)


def run_of(deployment: Deployment, **options: Any) -> FlowRun:
    return actions.create_flow_run(deployment, trigger=Trigger.PERSON, **options)[0]


def move(run: FlowRun, state: StateType, **fields: Any) -> None:
    FlowRun.objects.filter(pk=run.pk).update(state_type=state, state_name=state.capitalize(), **fields)


def conflict(call: Callable[[], object]) -> str:
    with pytest.raises(ValidationError) as caught:
        call()
    assert caught.value.code == actions.CONFLICT
    return str(caught.value.messages[0])


# Create


def test_run_takes_over_what_its_deployment_says(
    deployment: Deployment, user: User, bells: list[Any], announced: list[Any], commit: Callable[[], Any]
) -> None:
    with commit():
        run, created = actions.create_flow_run(
            deployment, parameters={"carrier": "AA"}, trigger=Trigger.API, user=user, tags=["b", "a"]
        )
    run.refresh_from_db()
    assert created
    assert (run.state_type, run.state_name, run.trigger) == ("SCHEDULED", "Scheduled", "api")
    assert (run.parameters, run.tags, run.version) == ({"day": 1, "carrier": "AA"}, ["a", "b"], "1")
    assert (run.flow, run.queue, run.team, run.created_by) == (
        deployment.flow,
        deployment.queue,
        deployment.team,
        user,
    )
    assert run in FlowRun.objects.eligible(timezone.now())
    assert bells == [(deployment.queue.celery_queue, None)]
    assert announced == [run.pk]


def test_run_for_later_is_not_due_now(deployment: Deployment, bells: list[Any], commit: Callable[[], Any]) -> None:
    later = timezone.now() + timedelta(hours=1)
    with commit():
        run = run_of(deployment, expected_start=later, name="my own")
    assert (run.name, run.expected_start) == ("my own", later)
    assert run not in FlowRun.objects.eligible(timezone.now())
    assert bells == [(deployment.queue.celery_queue, later)]


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"day": "x"}, "parameters.day"),
        ({"dya": 1}, "parameters.dya"),
        ([1], "parameters"),
        ({"carrier": 1}, "parameters.carrier"),
    ],
)
def test_wrong_parameters_make_no_run(deployment: Deployment, given: Any, field: str) -> None:
    with pytest.raises(ValidationError) as caught:
        run_of(deployment, parameters=given)
    assert list(caught.value.message_dict) == [field]
    assert not FlowRun.objects.exists()


def test_missing_parameter_is_named(deployment: Deployment) -> None:
    Deployment.objects.update(parameters={})
    deployment.refresh_from_db()
    with pytest.raises(ValidationError, match="“day” is required"):
        run_of(deployment)


def test_same_key_makes_one_run(deployment: Deployment, bells: list[Any], commit: Callable[[], Any]) -> None:
    with commit():
        first = actions.create_flow_run(deployment, trigger=Trigger.API, idempotency_key="k")
        again = actions.create_flow_run(deployment, trigger=Trigger.API, idempotency_key="k", parameters={"day": 9})
    assert again == (first[0], False)
    assert len(bells) == 1
    other, _ = declare(name="other")
    with pytest.raises(ValidationError, match="another deployment"):
        actions.create_flow_run(other, trigger=Trigger.API, idempotency_key="k")
    for wrong in ("", "x" * 201, "a\nb"):
        with pytest.raises(ValidationError, match="printable"):
            actions.create_flow_run(deployment, trigger=Trigger.API, idempotency_key=wrong)


@pytest.mark.django_db(transaction=True)
def test_same_key_at_once_makes_one_run(deployment: Deployment) -> None:
    results = in_threads(6, lambda: actions.create_flow_run(deployment, trigger=Trigger.API, idempotency_key="k"))
    runs = {run.pk for run, _ in results}
    assert len(runs) == 1 == FlowRun.objects.count()
    assert sum(created for _, created in results) == 1


def test_paused_deployment_can_be_run_by_hand(deployment: Deployment) -> None:
    actions.pause_deployment(deployment)
    assert run_of(deployment).state_type == "SCHEDULED"


# Cancel


def test_waiting_run_is_cancelled_at_once(
    deployment: Deployment, user: User, announced: list[Any], bells: list[Any], commit: Callable[[], Any]
) -> None:
    run = run_of(deployment)
    with commit():
        cancelled = actions.cancel_flow_run(run, user=user)
    assert (cancelled.state_type, cancelled.state_name) == ("CANCELLED", "Cancelled")
    assert cancelled.state_message == "Cancelled by ann while it waited."
    assert cancelled.end_time is not None
    assert cancelled.revision == run.revision + 1
    assert (announced, bells) == ([run.pk], [])


@pytest.mark.parametrize("state", [StateType.PENDING, StateType.RUNNING])
def test_run_that_a_process_has_is_asked_to_stop(
    deployment: Deployment, state: StateType, bells: list[Any], announced: list[Any], commit: Callable[[], Any]
) -> None:
    run = run_of(deployment)
    move(run, state, attempt=1, lease_expires_at=timezone.now())
    with commit():
        asked = actions.cancel_flow_run(run)
    assert (asked.state_type, asked.end_time) == ("CANCELLING", None)
    assert asked.cancel_requested_at is not None
    assert asked.lease_expires_at is not None
    assert (bells, announced) == ([("cancel", run.pk)], [run.pk])
    with commit():
        assert actions.cancel_flow_run(run).revision == asked.revision, "asking twice changes nothing"
    assert bells == [("cancel", run.pk)] * 2


def test_run_between_its_own_attempts_is_asked_not_ended(deployment: Deployment) -> None:
    run = run_of(deployment)
    move(run, StateType.SCHEDULED, attempt=1, lease_expires_at=timezone.now())
    assert actions.cancel_flow_run(run).state_type == "CANCELLING"


@pytest.mark.parametrize("state", sorted(FINAL))
def test_ended_run_is_not_cancelled(deployment: Deployment, state: StateType) -> None:
    run = run_of(deployment)
    move(run, state)
    assert "has ended" in conflict(lambda: actions.cancel_flow_run(run))


@pytest.mark.django_db(transaction=True)
def test_cancel_and_claim_at_once_leave_one_truth(deployment: Deployment) -> None:
    now = timezone.now()
    worker = Worker.objects.create(name="w", host="h", pid=1, places=4, started_at=now, heartbeat_at=now)
    for _ in range(8):
        run = run_of(deployment)
        works = iter([lambda: claims.claim(worker), lambda run=run: actions.cancel_flow_run(run)])
        lock = threading.Lock()

        def work(works: Any = works, lock: Any = lock) -> object:
            with lock:
                mine = next(works)
            return mine()

        in_threads(2, work)
        run.refresh_from_db()
        claimed = run.attempts.exists()
        assert run.state_type == ("CANCELLING" if claimed else "CANCELLED")
        move(run, StateType.CANCELLED)


# Retry and rerun


@pytest.mark.parametrize("state", [StateType.FAILED, StateType.CRASHED, StateType.CANCELLED])
def test_retry_continues_the_same_run(
    deployment: Deployment,
    user: User,
    state: StateType,
    bells: list[Any],
    announced: list[Any],
    commit: Callable[[], Any],
) -> None:
    now = timezone.now()
    worker = Worker.objects.create(name="w", host="h", pid=1, places=4, started_at=now, heartbeat_at=now)
    run = run_of(deployment)
    first = claims.claim(worker)
    move(run, state, end_time=now, error={"type": "E"}, ended_by="run", cancel_requested_at=now, lease_expires_at=None)
    with commit():
        retried = actions.retry_flow_run(run, user=user)
    assert (retried.state_type, retried.state_name) == ("SCHEDULED", "AwaitingRetry")
    assert retried.state_message == "Retried by ann."
    assert (retried.end_time, retried.error, retried.cancel_requested_at, retried.attempt) == (None, None, None, 1)
    assert bells == [(deployment.queue.celery_queue, None)]
    assert announced == [run.pk]
    second = claims.claim(worker)
    assert second is not None
    assert (second.run.pk, second.attempt.number) == (first.run.pk, 2)


@pytest.mark.parametrize("state", [StateType.COMPLETED, StateType.RUNNING, StateType.SCHEDULED, StateType.CANCELLING])
def test_only_what_did_not_complete_is_retried(deployment: Deployment, state: StateType) -> None:
    run = run_of(deployment)
    move(run, state)
    assert "only one that did not complete" in conflict(lambda: actions.retry_flow_run(run))


def test_rerun_is_a_new_run_with_the_same_parameters(deployment: Deployment, user: User) -> None:
    run = run_of(deployment, parameters={"day": 7}, tags=["x"])
    move(run, StateType.COMPLETED)
    new = actions.rerun_flow_run(run, user=user)
    assert new.pk != run.pk
    assert (new.rerun_of, new.trigger, new.parameters, new.tags) == (run, "rerun", {"day": 7}, ["a", "x"])
    assert (new.state_type, new.attempt, new.created_by) == ("SCHEDULED", 0, user)
    assert new.name != run.name


def test_rerun_says_when_the_flow_takes_other_parameters_now(deployment: Deployment) -> None:
    run = run_of(deployment)
    declare(parameters={}, parameter_schema={"type": "object", "properties": {}})
    with pytest.raises(ValidationError, match="no parameter “day”"):
        actions.rerun_flow_run(run)


@pytest.mark.parametrize("verb", [actions.retry_flow_run, actions.rerun_flow_run])
def test_script_runs_are_started_by_their_script_alone(deployment: Deployment, verb: Callable[..., object]) -> None:
    run = run_of(deployment)
    move(run, StateType.FAILED, deployment=None, trigger=Trigger.SCRIPT, entrypoint="etl.py:etl")
    assert "orchestrator deploy etl.py:etl --name NAME" in conflict(lambda: verb(run))
    FlowRun.objects.update(trigger=Trigger.SUBFLOW)
    assert "called by another run" in conflict(lambda: verb(run))
    FlowRun.objects.update(trigger=Trigger.API)
    assert "was deleted" in conflict(lambda: verb(run))


@pytest.mark.django_db(transaction=True)
def test_retry_twice_at_once_is_one_retry(deployment: Deployment) -> None:
    run = run_of(deployment)
    move(run, StateType.FAILED, attempt=1)
    results = in_threads(4, lambda: actions.retry_flow_run(run))
    assert sum(isinstance(result, FlowRun) for result in results) == 1
    assert sum(isinstance(result, ValidationError) for result in results) == 3
    run.refresh_from_db()
    assert run.revision == 1


# Deploy: the three-way comparison


def test_first_deploy_makes_all_and_says_that_it_is_new(db: None) -> None:
    deployment, changes = declare(
        parameters={"day": 1}, queue="heavy", tags=["b", "b", " "], schedules=[Spec("cron", "@daily")]
    )
    assert changes["name"] == [None, "nightly"]
    assert changes["queue"] == [None, "heavy"]
    assert deployment.full_name == "etl/nightly"
    assert deployment.tags == ["b"]
    assert deployment.schedules.get().expression == "0 0 * * *"
    assert deployment.runs.count() == 5
    assert WorkQueue.objects.filter(name="heavy").exists()


def test_same_deploy_again_changes_nothing(db: None) -> None:
    said: dict[str, Any] = {"parameters": {"day": 1}, "tags": ["b", "b"], "schedules": [Spec("cron", "@daily")]}
    deployment, _ = declare(**said)
    runs = set(deployment.runs.values_list("pk", flat=True))
    again, changes = declare(**said)
    assert (again, changes) == (deployment, {})
    assert set(deployment.runs.values_list("pk", flat=True)) == runs, "upcoming runs were made anew for nothing"


def test_deploy_keeps_what_was_set_in_the_browser_and_takes_what_its_author_changed(db: None) -> None:
    said: dict[str, Any] = {
        "parameters": {"day": 1, "carrier": "AA", "gone": 1},
        "description": "old",
        "tags": ["a"],
        "schedules": [Spec("cron", "0 2 * * *")],
    }
    deployment, _ = declare(**said)
    actions.update_deployment(
        deployment, parameters={"day": 9, "carrier": "UA", "mine": 3}, description="browser", tags=["z"]
    )
    actions.set_schedules(deployment, [Spec("cron", "0 7 * * *")])
    same, changes = declare(**said)
    assert changes == {}
    assert (same.parameters, same.tags) == ({"day": 9, "carrier": "UA", "mine": 3}, ["z"])
    assert same.schedules.get().expression == "0 7 * * *"

    said |= {"parameters": {"day": 2, "carrier": "AA"}, "description": "new", "schedules": [Spec("cron", "0 3 * * *")]}
    newer, changes = declare(**said)
    assert newer.parameters == {"day": 2, "carrier": "UA", "mine": 3}, "one changed, one kept, one of the browser's own"
    assert (newer.description, newer.tags) == ("new", ["z"])
    assert newer.schedules.get().expression == "0 3 * * *"
    assert set(changes) == {"parameters", "description", "schedules"}
    assert changes["description"] == ["browser", "new"]


def test_deploy_that_says_nothing_of_schedules_leaves_them(db: None) -> None:
    deployment, _ = declare(schedules=[Spec("cron", "@daily")])
    declare(description="changed")
    assert deployment.schedules.count() == 1
    declare(schedules=[Spec("cron", "@daily")])
    assert deployment.schedules.count() == 1
    declare(schedules=[])
    assert deployment.schedules.count() == 0
    assert deployment.runs.count() == 0


def test_parameter_that_the_flow_no_longer_takes_goes(deployment: Deployment) -> None:
    actions.update_deployment(deployment, parameters={"day": 4, "carrier": "UA"})
    schema = {"type": "object", "properties": {"day": {"type": "integer"}}}
    newer, changes = declare(parameters={"day": 1}, parameter_schema=schema, tags=["a"], version="1")
    assert newer.parameters == {"day": 4}
    assert changes["parameters"] == [{"day": 4, "carrier": "UA"}, {"day": 4}]


def test_names_are_alike_with_underscore_and_dash(db: None) -> None:
    deployment, _ = declare(flow_name="my_flow", name="every-night")
    again, changes = declare(flow_name="my-flow", name="every_night")
    assert (again, changes) == (deployment, {})
    assert (Flow.objects.count(), again.full_name) == (1, "my_flow/every-night")


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"name": ""}, "name"),
        ({"name": "a/b"}, "name"),
        ({"flow_name": "x" * 201}, "flow_name"),
        ({"entrypoint": "etl.py"}, "entrypoint"),
        ({"tags": "a"}, "tags"),
        ({"queue": ""}, "queue"),
        ({"version": 3}, "version"),
        ({"parameters": {"day": "x"}, "parameter_schema": SCHEMA}, "parameters.day"),
        ({"parameter_schema": {"type": "what"}}, "parameter_schema"),
        ({"schedules": [Spec("cron", "@daily"), Spec("cron", "* *")]}, "schedules.1.expression"),
        ({"schedules": [Spec("cron", "@daily")], "parameter_schema": SCHEMA}, "parameters.day"),
    ],
)
def test_wrong_declaration_names_its_field_and_leaves_nothing(db: None, fields: dict[str, Any], field: str) -> None:
    with pytest.raises(ValidationError) as caught:
        declare(**fields)
    assert list(caught.value.message_dict) == [field]
    assert not Deployment.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_deploys_at_once_make_one_deployment() -> None:
    Team.default()
    results = in_threads(5, lambda: declare(schedules=[Spec("cron", "@hourly")]))
    assert not [result for result in results if isinstance(result, Exception)]
    assert sum("name" in changes for _, changes in results) == 1
    deployment = Deployment.objects.get()
    assert deployment.schedules.count() == 1
    assert deployment.runs.count() == 5


# Other verbs on deployments


def test_duplicate_has_other_parameters_and_its_schedules_at_rest(deployment: Deployment) -> None:
    actions.set_schedules(deployment, [Spec("cron", "@daily", "Europe/Paris")])
    copy = actions.duplicate_deployment(deployment, name="by-day", parameters={"day": 5})
    assert (copy.full_name, copy.parameters, copy.declared) == ("etl/by-day", {"day": 5}, {})
    schedule = copy.schedules.get()
    assert (Spec.of(schedule).describe(), schedule.active) == ("every day at 00:00, Europe/Paris", False)
    assert not copy.runs.exists()
    actions.change_schedule(schedule, active=True)
    assert copy.runs.count() == 5
    with pytest.raises(ValidationError, match="already"):
        actions.duplicate_deployment(deployment, name="by_day")
    with pytest.raises(ValidationError) as caught:
        actions.duplicate_deployment(deployment, name="third", parameters={"day": "x"})
    assert list(caught.value.message_dict) == ["parameters.day"]


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"parameters": {"day": "x"}}, "parameters.day"),
        ({"paused": True}, "paused"),
        ({"name": "other"}, "name"),
        ({"queue": " "}, "queue"),
        ({"tags": [1]}, "tags"),
        ({"description": None}, "description"),
    ],
)
def test_wrong_change_names_its_field(deployment: Deployment, changes: dict[str, Any], field: str) -> None:
    declare(name="other")
    with pytest.raises(ValidationError) as caught:
        actions.update_deployment(deployment, **changes)
    assert list(caught.value.message_dict) == [field]


def test_schedule_is_refused_while_a_required_parameter_has_no_value(deployment: Deployment) -> None:
    Deployment.objects.update(parameters={})
    with pytest.raises(ValidationError, match="“day” is required"):
        actions.add_schedule(deployment, Spec("cron", "@daily"))
    actions.add_schedule(deployment, Spec("cron", "@daily", parameters={"day": 3}))
    with pytest.raises(ValidationError) as caught:
        actions.change_schedule(deployment.schedules.get(), parameters={"day": "x"})
    assert list(caught.value.message_dict) == ["parameters.day"]


def test_deleted_deployment_cancels_what_waits_and_leaves_what_runs(deployment: Deployment) -> None:
    waits, runs = run_of(deployment), run_of(deployment)
    move(runs, StateType.RUNNING, attempt=1, lease_expires_at=timezone.now())
    actions.delete_deployment(deployment)
    waits.refresh_from_db()
    runs.refresh_from_db()
    assert (waits.state_name, waits.state_message) == ("Cancelled", "Its deployment was deleted before it started.")
    assert (runs.state_type, runs.deployment) == ("RUNNING", None)


def test_broken_live_pages_undo_nothing(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch, commit: Callable[[], Any]
) -> None:
    def broken(ids: Any) -> None:
        raise ConnectionError("no broker")

    monkeypatch.setattr("runs.live.announce", broken)
    with commit():
        run = run_of(deployment)
    assert FlowRun.objects.filter(pk=run.pk).exists()


def in_threads(count: int, work: Callable[[], Any]) -> list[Any]:
    """Call the work in several threads at the same moment, each over a connection of its own."""
    start = threading.Barrier(count)
    results: list[Any] = []

    def call() -> None:
        close_old_connections()
        start.wait()
        try:
            results.append(work())
        except Exception as error:
            results.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=call) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results
