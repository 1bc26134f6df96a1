"""Why a run is not running is told by the code that decides."""

import random
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db import transaction
from django.utils import timezone

from flows.models import Deployment, Flow, Schedule, WorkQueue
from orchestrator.sdk.ids import uuid7
from orchestrator.sdk.states import StateType
from runs import broker_probe, claims
from runs.clock import database_now
from runs.models import Attempt, ConcurrencyLimit, FlowRun, Slot, Worker
from runs.why import Why, why
from teams.models import Team

Make = Callable[..., FlowRun]
SEEDS = 80  # situations
STATES = [StateType.SCHEDULED] * 6 + [StateType.PENDING, StateType.RUNNING, StateType.PAUSED, StateType.COMPLETED]


@pytest.fixture(autouse=True)
def reachable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broker_probe, "is_reachable", lambda: True)


@pytest.fixture
def queue(db: None) -> WorkQueue:
    return WorkQueue.default(Team.default())


@pytest.fixture
def deployment(queue: WorkQueue) -> Deployment:
    flow = Flow.objects.create(team=queue.team, name="etl")
    return Deployment.objects.create(team=queue.team, flow=flow, name="nightly", entrypoint="etl.py:etl", queue=queue)


@pytest.fixture
def make_run(deployment: Deployment) -> Make:
    def make(**fields: object) -> FlowRun:
        now = database_now()
        values = {"queue": deployment.queue, "deployment": deployment, "name": "r", "expected_start": now, **fields}
        return FlowRun.objects.create(team=deployment.team, flow=deployment.flow, state_time=now, **values)

    return make


def make_worker(**fields: object) -> Worker:
    now = database_now()
    values = {"name": "w", "host": "h", "pid": 1, "places": 2, "started_at": now, "heartbeat_at": now, **fields}
    return Worker.objects.create(**values)


def asked(run: FlowRun) -> Why:
    return why(FlowRun.objects.select_related("flow", "deployment", "schedule", "queue").get(pk=run.pk))


def blocking(run: FlowRun) -> str | None:
    found = asked(run).blocking
    return found and found.name


# The property: nothing blocks exactly what a claim takes


class _Situation:
    """A random state of the world: queues, deployments, schedules, runs, and one worker."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.now = database_now()
        self.team = Team.default()
        flow = Flow.objects.create(team=self.team, name=f"flow-{seed}")
        pick = self.random.choice
        self.queues = WorkQueue.objects.bulk_create(
            WorkQueue(
                team=self.team,
                name=f"q{n}",
                paused=pick([False, False, False, True]),
                limit=pick([None, 1, 2]),
                priority=n % 2,
            )
            for n in range(3)
        )
        self.deployments = Deployment.objects.bulk_create(
            Deployment(
                team=self.team,
                flow=flow,
                name=f"d{n}",
                slug=f"d{n}",
                entrypoint="x.py:x",
                queue=pick(self.queues),
                paused=pick([False, True]),
                limit=pick([None, 1, 2]),
                collision=pick(["wait", "cancel"]),
            )
            for n in range(3)
        )
        self.schedules: list[Schedule] = []
        runs = [self._run(flow) for _ in range(self.random.randrange(1, 9))]
        Schedule.objects.bulk_create(self.schedules)
        self.runs = FlowRun.objects.bulk_create(runs)
        self.worker = self._worker()

    def _run(self, flow: Flow) -> FlowRun:
        pick = self.random.choice
        deployment = pick([None, *self.deployments])
        state = pick(STATES)
        due = self.now + timedelta(seconds=pick([-3600, -100, -10, -1, 0, 60]))
        schedule = None
        if deployment and pick([False, True]):
            tick_at = pick([None, due - timedelta(hours=1), due + timedelta(hours=1)])
            schedule = Schedule(deployment=deployment, kind="cron", expression="* * * * *", tick_at=tick_at)
            self.schedules.append(schedule)
        leased = state in (StateType.PENDING, StateType.RUNNING) or (
            state == StateType.SCHEDULED and pick([0, 0, 0, 1])
        )
        return FlowRun(
            team=self.team,
            flow=flow,
            deployment=deployment,
            schedule=schedule,
            scheduled_for=due if schedule else None,
            queue=pick([None, *self.queues * 5]),
            name="r",
            state_type=state,
            state_time=self.now,
            expected_start=due,
            priority=pick([0, 0, 1]),
            attempt=pick([0, 1]) if state == StateType.SCHEDULED else 1,
            lease_expires_at=self.now + timedelta(seconds=20) if leased else None,
        )

    def _worker(self) -> Worker:
        pick = self.random.choice
        served = self.random.sample([str(queue.pk) for queue in self.queues], pick([0, 0, 1, 2]))
        silent = timedelta(seconds=pick([0] * 9 + [100]))
        team = pick([None, None, None, self.team, self.team, Team.objects.get_or_create(name="other")[0]])
        worker = make_worker(places=1, queues=served, team=team, heartbeat_at=self.now - silent)
        for run in self.runs:
            if run.lease_expires_at and run.state_type != StateType.SCHEDULED and pick([False, False, False, True]):
                Attempt.objects.create(
                    flow_run=run, number=run.attempt, worker=worker, journal=uuid7(), created_at=self.now
                )
        return worker

    def claims(self) -> set[object]:
        """What the worker would take now; taken back again."""
        silent = self.now - self.worker.heartbeat_at > timedelta(seconds=30)
        busy = self.worker.attempts.count() >= self.worker.places
        if silent or busy:
            return set()
        taken = set()
        with transaction.atomic():
            claim = claims.claim(self.worker, self.now)
            if claim is not None:
                taken.add(claim.run.pk)
            transaction.set_rollback(True)
        return taken


@pytest.mark.database
@pytest.mark.django_db
def test_nothing_blocks_exactly_what_a_claim_takes() -> None:
    blockers: set[str] = set()
    taken = 0
    WorkQueue.objects.all().delete()
    for seed in range(SEEDS):
        with transaction.atomic():
            situation = _Situation(seed)
            waiting = [run for run in situation.runs if run.state_type == StateType.SCHEDULED]
            answers = {run.pk: why(run, situation.now) for run in waiting}
            free = {pk for pk, answer in answers.items() if answer.blocking is None}
            assert free == situation.claims(), seed
            blockers |= {answer.blocking.name for answer in answers.values() if answer.blocking}
            taken += len(free)
            transaction.set_rollback(True)
    # the situations were worth something: each gate blocked somewhere, and runs were taken
    row = {"process", "time", "catchup", "queue"}
    assert blockers == row | {"queue-limit", "deployment-limit", "workers", "places", "turn"}
    assert taken > 10


# What it says


def test_each_gate_says_what_it_waits_for(make_run: Make, queue: WorkQueue, deployment: Deployment) -> None:
    run = make_run()
    assert blocking(run) == "workers"
    assert "orchestrator server start" in asked(run).answer
    assert "orchestrator worker start --queue default" in asked(run).answer
    other = make_worker(queues=[str(uuid7())])
    assert blocking(run) == "workers"
    assert "and none ever did. Start one: orchestrator worker start --queue default" in asked(run).answer
    other.delete()
    make_worker()
    assert asked(run).blocking is None
    assert "within a second" in asked(run).answer
    holder = make_run(name="swift-otter", state_type=StateType.RUNNING, attempt=1)
    WorkQueue.objects.update(limit=1)
    found = asked(run).blocking
    assert found is not None
    assert (found.name, [one.name for one in found.holders]) == ("queue-limit", ["swift-otter"])
    assert found.holders[0].id == holder.pk
    WorkQueue.objects.update(limit=None, paused=True)
    assert (
        asked(run).answer
        == f"Its work queue “{queue.name}” is paused. Resume it: orchestrator work-queue resume default."
    )
    WorkQueue.objects.update(paused=False)
    Deployment.objects.update(limit=1, collision="cancel")
    assert "It is cancelled when a worker comes to it" in asked(run).answer


def test_a_run_that_does_not_wait_is_told_of_too(make_run: Make) -> None:
    start = timezone.now() - timedelta(minutes=3)
    assert asked(make_run(state_type="RUNNING", start_time=start, attempt=1)).answer == "It has been running for 3 m."
    ended = asked(make_run(state_type="COMPLETED", state_name="Completed", end_time=start))
    assert (ended.waits, ended.answer) == (False, "It ended 3 m ago and is Completed.")
    assert "waited to be resumed" in asked(make_run(state_type="PAUSED", state_name="Paused")).answer
    claimed = make_run(state_type="PENDING", attempt=1, lease_expires_at=timezone.now() + timedelta(seconds=7))
    worker = make_worker(heartbeat_at=timezone.now() - timedelta(seconds=13))
    Attempt.objects.create(flow_run=claimed, number=1, worker=worker, created_at=start)
    assert "Worker w on h has had it" in asked(claimed).answer
    assert "has been silent for 13" in asked(claimed).answer


def test_task_runs_that_wait_for_a_slot_are_told_with_holders(make_run: Make) -> None:
    run = make_run(state_type="RUNNING", attempt=1)
    limit = ConcurrencyLimit.objects.create(team=run.team, tag="prod-database", limit=1)
    now = timezone.now()
    for name, granted in (("load", now), ("first", None), ("second", None)):
        of = run if name != "load" else make_run(name="other", state_type="RUNNING", attempt=1)
        Slot.objects.create(
            limit=limit, flow_run=of, task_run=uuid7(), task_name=name, asked_at=now, granted_at=granted
        )
    found = asked(run)
    assert [(wait.name, wait.position) for wait in found.slots] == [("first", 1), ("second", 2)]
    assert found.answer.endswith("2 task runs wait for a slot.")
    assert found.slots[1].sentence == (
        "“second” is number 2 in line for “prod-database”, which allows 1 task run at once; held by “load” of other."
    )


def test_a_broker_that_is_away_blocks_nothing(make_run: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broker_probe, "is_reachable", lambda: False)
    make_worker()
    found = asked(make_run())
    assert found.blocking is None
    assert [gate.name for gate in found.gates if not gate.is_open] == ["broker"]
