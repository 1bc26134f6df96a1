"""What will run, runs and ran. Facts about runs are written by `runs.ingest` alone, decisions by verbs in `actions`."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import ClassVar
from uuid import UUID

from django.conf import settings
from django.db import models
from django.db.models import JSONField, Q, Value
from django.db.models.expressions import RawSQL

from flows.models import Deployment, Flow, OwnedQuerySet, Schedule, WorkQueue
from orchestrator.sdk.ids import uuid7
from orchestrator.sdk.states import ACTIVE, FINAL, NAMES, StateType
from teams.models import Team, User

STATE_TYPES = [(type_.value, type_.value.capitalize()) for type_ in StateType]
FINAL_TYPES = sorted(type_.value for type_ in FINAL)
ACTIVE_TYPES = sorted(type_.value for type_ in ACTIVE)
assert all(NAMES[type_] for type_ in StateType)
# A run in one of these is in progress: it counts against the limits of its queue and of its deployment.
OCCUPYING_TYPES = sorted({*ACTIVE_TYPES, StateType.PENDING.value, StateType.PAUSED.value})
OPEN_TYPES = sorted(type_.value for type_ in StateType if type_ not in FINAL)
# A schedule's time that no tick looked at for this long was missed: its policy decides what runs (`runs.scheduling`).
MISSED_AFTER = timedelta(seconds=30)
HEARD_WITHIN = timedelta(seconds=30)  # a worker that was not heard of for longer is taken for gone


class Trigger(models.TextChoices):
    """Why a run exists."""

    SCRIPT = "script"
    SUBFLOW = "subflow"
    SCHEDULE = "schedule"
    BACKFILL = "backfill"
    PERSON = "person"
    API = "api"
    RERUN = "rerun"


# Flows, deployments or queues of one name in more teams than these are searched for, where the reader sees all teams:
# the first rows of each would be more than PostgreSQL's planner looks up one by one.
MANY_OWNERS = 20


class FlowRunQuerySet(OwnedQuerySet):
    """Reads of flow runs. Whoever reaches a deployment or a flow reaches its runs; runs have no shares of their own."""

    shared_by: ClassVar = {"deployment": "deployment", "flow": "flow"}
    along_ways: ClassVar = True

    def of_owners(self, field: str, owners: OwnedQuerySet) -> "FlowRunQuerySet":
        """Keep the runs of these owners, of whichever team, and read pages along each (one query, for them).

        Of an owner that the reader sees all runs are read; of others those that are shared.

        Args:
            field: `flow`, `deployment` or `queue`.
            owners: Few of them.
        """
        return self._of(field, list(owners.values_list("pk", "team_id")))

    def of_owner(self, field: str, owner: Flow | Deployment) -> "FlowRunQuerySet":
        """Keep the runs of one, which was read before."""
        return self._of(field, [(owner.pk, owner.team_id)])

    def _of(self, field: str, ids: list[tuple[UUID, UUID]]) -> "FlowRunQuerySet":
        condition = Q(**{field: ids[0][0]}) if len(ids) == 1 else Q(**{f"{field}__in": [id for id, _ in ids]})
        if (reader := self._reader) is None:
            return self.filter(condition)
        if reader.sees_everything and len(ids) > MANY_OWNERS:
            return self.searching(condition)
        if reader.sees_everything:
            return self.reached_by(condition, [Q(**{field: id}) for id, _ in ids])
        whole = [Q(**{field: id}) for id, team in ids if reader.sees_whole(field, id, team)]
        return self.reached_by(condition, whole + [condition & way for way in self._ways_of(reader, but=field)])

    def in_states(self, types: Sequence[str]) -> "FlowRunQuerySet":
        """Keep the runs in states of these types, and read pages along each type on each way."""
        states = [Q(state_type=type_) for type_ in types]
        ways = [way & state for way in self._ways for state in states] or states
        return self.reached_by(Q(state_type__in=types), ways)

    def called(self, text: str) -> "FlowRunQuerySet":
        """Keep the runs in whose name, or their flow's, this text is. No index serves that: it is a search."""
        flows = Flow.objects.filter(name__icontains=text).values("pk")
        return self.searching(Q(name__icontains=text) | Q(flow__in=flows))

    def newest_first(self) -> "FlowRunQuerySet":
        """The order of every list of runs: by the time a run is or was due, newest first; the id breaks ties."""
        return self.order_by("-expected_start", "-id")

    def without_upcoming(self, now: datetime) -> "FlowRunQuerySet":
        """What lists show by default: everything but what a schedule will start later."""
        return self.filter(Q(expected_start__lte=now) | ~Q(state_type=StateType.SCHEDULED) | Q(attempt__gt=0))

    def scheduled(self) -> "FlowRunQuerySet":
        """Runs in state SCHEDULED. The type stands in the SQL as a literal: SQLite uses a partial index only then."""
        return self.filter(state_type=RawSQL(f"'{StateType.SCHEDULED}'", ()))

    def timely(self, now: datetime) -> "FlowRunQuerySet":
        """Runs whose time has come."""
        return self.filter(expected_start__lte=now)

    def not_missed(self, now: datetime) -> "FlowRunQuerySet":
        """Leave out runs due long ago whose schedule no tick has looked at since: the tick decides on them."""
        looked_at = Q(schedule__tick_at=None) | Q(schedule__tick_at__gt=models.F("scheduled_for"))
        return self.filter(Q(schedule=None) | Q(expected_start__gt=now - MISSED_AFTER) | looked_at)

    def unclaimed(self) -> "FlowRunQuerySet":
        """Runs that no process has. Between two attempts of its own a process's run is SCHEDULED too, with a lease."""
        return self.scheduled().filter(lease_expires_at=None)

    def due(self, now: datetime) -> "FlowRunQuerySet":
        """Runs that are to be started by now, on whichever queue (index `flow_run_claim`).

        Each of these conditions is a gate that `runs.gates` explains; what claims ask must stand there too.
        """
        return self.unclaimed().timely(now).not_missed(now)

    def eligible(self, now: datetime) -> "FlowRunQuerySet":
        """Runs that a worker may claim at this time: due, on a queue that is not paused."""
        return self.due(now).filter(queue__in=WorkQueue.objects.served())


class FlowRun(models.Model):
    """A run of a flow: its state now, and the numbers of its current attempt."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    # These four are found by the indexes of lists; an index of the id alone would be one more to write.
    team = models.ForeignKey(Team, on_delete=models.PROTECT, related_name="flow_runs", db_index=False)
    flow = models.ForeignKey(Flow, on_delete=models.CASCADE, related_name="runs", db_index=False)
    deployment = models.ForeignKey(
        Deployment, on_delete=models.SET_NULL, null=True, blank=True, related_name="runs", db_index=False
    )
    queue = models.ForeignKey(
        WorkQueue, on_delete=models.SET_NULL, null=True, blank=True, related_name="runs", db_index=False
    )
    schedule = models.ForeignKey(Schedule, on_delete=models.SET_NULL, null=True, blank=True, related_name="runs")
    parent = models.ForeignKey("self", on_delete=models.SET_NULL, null=True, blank=True, related_name="subflow_runs")
    rerun_of = models.ForeignKey("self", on_delete=models.SET_NULL, null=True, blank=True, related_name="reruns")
    name = models.CharField(max_length=200)
    version = models.CharField(max_length=200, blank=True)
    entrypoint = models.CharField(max_length=1000, blank=True)
    parameters = models.JSONField(default=dict, blank=True)
    tags = models.JSONField(default=list, blank=True)
    trigger = models.CharField(max_length=16, choices=Trigger.choices, default=Trigger.SCRIPT)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True)
    idempotency_key = models.CharField(max_length=200, null=True, blank=True)
    priority = models.SmallIntegerField(default=0)

    state_type = models.CharField(max_length=16, choices=STATE_TYPES, default=StateType.SCHEDULED)
    state_name = models.CharField(max_length=32, default="Scheduled")
    state_message = models.TextField(blank=True)
    state_time = models.DateTimeField()
    error = models.JSONField(null=True, blank=True, help_text="type, message and traceback of what ended it")
    attempt = models.PositiveIntegerField(default=0, help_text="The current attempt, from 1; 0 before the first.")
    # How the final state was learnt: "run" (it said so itself), "exit" (its supervisor), "lapse" (the lease).
    # A run's own word beats the others.
    ended_by = models.CharField(max_length=8, blank=True)

    created_at = models.DateTimeField(auto_now_add=True)
    scheduled_for = models.DateTimeField(
        null=True, blank=True, help_text="The schedule's time that this run stands for."
    )
    expected_start = models.DateTimeField(help_text="When it is due; for a script, when it began.")
    start_time = models.DateTimeField(null=True, blank=True, help_text="When its first attempt began.")
    end_time = models.DateTimeField(null=True, blank=True)
    cancel_requested_at = models.DateTimeField(null=True, blank=True)
    late_at = models.DateTimeField(null=True, blank=True, help_text="When it was found not to have begun in time.")
    overran_at = models.DateTimeField(null=True, blank=True, help_text="When its expected duration was over.")
    missed_deadline_at = models.DateTimeField(null=True, blank=True, help_text="When its deadline had passed.")
    lease_expires_at = models.DateTimeField(null=True, blank=True, help_text="By the database's clock.")
    infrastructure_overrides = models.JSONField(
        null=True, blank=True, help_text="Values for this run instead of its block's, of fields that the block opens."
    )
    crashes = models.PositiveSmallIntegerField(
        default=0, db_default=0, help_text="Crashes in a row after which it was run again."
    )
    revision = models.PositiveBigIntegerField(default=0, help_text="Raised by each commit that changes the run.")

    objects = FlowRunQuerySet.as_manager()

    class Meta:
        constraints: ClassVar = [
            # two beats materialize the same time once
            models.UniqueConstraint(fields=["deployment", "schedule", "scheduled_for"], name="flow_run_scheduled_once"),
            # a request sent twice with the same key makes one run
            models.UniqueConstraint(
                fields=["team", "idempotency_key"],
                name="flow_run_idempotency",
                condition=Q(idempotency_key__isnull=False),
            ),
        ]
        indexes: ClassVar = [
            # the claim: the first eligible run of a queue
            models.Index(
                fields=["queue", "-priority", "expected_start", "id"],
                name="flow_run_claim",
                condition=Q(state_type=StateType.SCHEDULED),
            ),
            # the tick and "up next": what is due soon
            models.Index(fields=["expected_start"], name="flow_run_due", condition=Q(state_type=StateType.SCHEDULED)),
            # the tick: runs that are due and not Late yet, and runs that have not ended by their deadline
            models.Index(
                fields=["expected_start"],
                name="flow_run_not_late",
                condition=Q(state_type=StateType.SCHEDULED, late_at=None),
            ),
            models.Index(
                fields=["expected_start"],
                name="flow_run_open_until",
                condition=Q(state_type__in=OPEN_TYPES, missed_deadline_at=None),
            ),
            # the reaper: leases that lapsed
            models.Index(
                fields=["lease_expires_at"], name="flow_run_lease", condition=Q(lease_expires_at__isnull=False)
            ),
            # limits: what is in progress on a queue, or of a deployment
            models.Index(fields=["queue"], name="flow_run_on_queue", condition=Q(state_type__in=OCCUPYING_TYPES)),
            models.Index(
                fields=["deployment"], name="flow_run_of_deployment", condition=Q(state_type__in=OCCUPYING_TYPES)
            ),
            # lists, newest first: of all teams (a superuser's), of a team, in a state, of a flow, a deployment, a queue
            models.Index(fields=["-expected_start", "-id"], name="flow_run_newest"),
            models.Index(fields=["team", "-expected_start", "-id"], name="flow_run_team"),
            models.Index(fields=["state_type", "-expected_start", "-id"], name="flow_run_state"),
            # also what runs now in a team: SQLite, which has no statistics, would count along the team's whole list
            models.Index(fields=["team", "state_type", "-expected_start", "-id"], name="flow_run_team_state"),
            models.Index(fields=["flow", "-expected_start", "-id"], name="flow_run_flow"),
            models.Index(fields=["deployment", "-expected_start", "-id"], name="flow_run_deployment"),
            models.Index(fields=["queue", "-expected_start", "-id"], name="flow_run_queue"),
            # the command line: the newest run of a name
            models.Index(fields=["name", "-expected_start", "-id"], name="flow_run_name"),
        ]

    def __str__(self) -> str:
        return self.name

    def shared_as(self) -> dict[str, UUID | None]:
        """The objects by whose shares it is reached: its deployment's and its flow's."""
        return {"deployment": self.deployment_id, "flow": self.flow_id}

    @property
    def is_final(self) -> bool:
        """Whether the run has ended."""
        return self.state_type in FINAL

    def task_run_counts(self) -> dict[str, int]:
        """Return how many task runs are in each type of state (one query, index `task_run_counts`)."""
        counted = self.task_runs.order_by().values_list("state_type").annotate(models.Count("id"))
        return dict(sorted(counted))


class WorkerQuerySet(models.QuerySet["Worker"]):
    """Reads of workers."""

    def alive(self, now: datetime) -> "WorkerQuerySet":
        """Those that were heard of a moment ago and have not signed off."""
        return self.filter(stopped_at=None, heartbeat_at__gt=now - HEARD_WITHIN)

    def visible_to(self, user: User) -> "WorkerQuerySet":
        """Those that serve a team of this user's; a server's own serve every team."""
        if user.confinement.deployment is not None:
            return self.none()
        return self if user.sees_everything else self.filter(Q(team=None) | Q(team__in=user.team_ids))


class Worker(models.Model):
    """A worker process: how many runs it may run at once, and when it was last heard of."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    name = models.CharField(max_length=200)
    host = models.CharField(max_length=200)
    pid = models.PositiveIntegerField()
    places = models.PositiveIntegerField()
    started_at = models.DateTimeField()
    team = models.ForeignKey(
        Team, on_delete=models.CASCADE, null=True, blank=True, related_name="workers", help_text="Empty: every team's."
    )
    queues = models.JSONField(
        default=list,
        blank=True,
        db_default=Value([], JSONField()),
        help_text="Ids of the work queues that it serves; empty: every one.",
    )
    load = models.FloatField(null=True, blank=True, help_text="Of its machine: the processors' load over a minute.")
    heartbeat_at = models.DateTimeField()
    heard_at = models.DateTimeField(
        null=True, blank=True, help_text="When a bell that it rang for itself last came back through the broker."
    )
    stopped_at = models.DateTimeField(null=True, blank=True)
    calls_key = models.CharField(
        max_length=64, blank=True, default="", db_default="", help_text="Signs what task runs on Celery say."
    )

    objects = WorkerQuerySet.as_manager()

    def __str__(self) -> str:
        return self.name

    def is_alive(self, now: datetime) -> bool:
        """Whether it was heard of a moment ago and has not signed off."""
        return self.stopped_at is None and self.heartbeat_at > now - HEARD_WITHIN

    def hears(self, now: datetime) -> bool:
        """Whether bells reach it, as far as known; a deaf one looks for runs by itself, so they start a bit later."""
        return (self.heard_at or self.started_at) > now - HEARD_WITHIN

    def serves(self, queue: WorkQueue) -> bool:
        """Whether it claims runs of this queue."""
        ours = self.team_id is None or self.team_id == queue.team_id
        return ours and (not self.queues or str(queue.pk) in self.queues)


class CrashCause(models.TextChoices):
    """Why an attempt crashed."""

    SIGNAL = "signal", "Killed by a signal"
    OUT_OF_MEMORY = "out_of_memory", "Out of memory"
    EXIT = "exit", "Its process ended"
    LOST = "lost", "Lost worker or machine"
    STOPPED = "stopped", "Its worker was stopped"
    EVICTED = "evicted", "Evicted from its node"
    UNSCHEDULABLE = "unschedulable", "No node had room for it"
    IMAGE = "image", "Its image could not be had"


class Outliving(models.TextChoices):
    """By whom an attempt that goes on without its worker may be taken over."""

    HOST = "host", "Workers on its machine"
    ANY = "any", "Any worker"


class Attempt(models.Model):
    """One attempt of a flow run: made by a claim, or by the facts of a script."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    flow_run = models.ForeignKey(FlowRun, on_delete=models.CASCADE, related_name="attempts")
    number = models.PositiveIntegerField()
    worker = models.ForeignKey(Worker, on_delete=models.SET_NULL, null=True, blank=True, related_name="attempts")
    journal = models.UUIDField(null=True, blank=True, help_text="The journal of the process that runs it.")
    source = models.JSONField(
        default=dict, blank=True, db_default=Value({}, JSONField()), help_text="Which code it runs; empty: a path."
    )
    host = models.CharField(max_length=200, blank=True)
    pid = models.PositiveIntegerField(null=True, blank=True)
    state_type = models.CharField(max_length=16, choices=STATE_TYPES, default=StateType.PENDING)
    state_name = models.CharField(max_length=32, default="Pending")
    state_message = models.TextField(blank=True)
    error = models.JSONField(null=True, blank=True)
    ended_by = models.CharField(max_length=8, blank=True)
    created_at = models.DateTimeField(help_text="When it was claimed.")
    start_time = models.DateTimeField(null=True, blank=True)
    end_time = models.DateTimeField(null=True, blank=True)
    exit_code = models.IntegerField(null=True, blank=True)
    signal = models.PositiveSmallIntegerField(default=0)
    cause = models.CharField(
        max_length=16, blank=True, choices=CrashCause.choices, default="", db_default="", help_text="Why it crashed."
    )
    peak_memory_bytes = models.PositiveBigIntegerField(null=True, blank=True)
    cpu_seconds = models.FloatField(null=True, blank=True)
    # Null where it ends with its worker: a partial index on a value would not be used with parameters.
    outlives_worker = models.CharField(
        max_length=8, blank=True, null=True, choices=Outliving.choices,
        help_text="Who may take it over where its worker is gone and it goes on: nobody, workers on its machine, any.",
    )  # fmt: skip
    infrastructure = models.JSONField(
        null=True, blank=True, help_text="The block by which it executes: its name, type, version, and values used."
    )
    executes = models.JSONField(
        null=True, blank=True, help_text="What it was claimed with: entrypoint, directory, source, task runner."
    )
    begun_by = models.UUIDField(null=True, blank=True, help_text="The process away from its worker that began it.")

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["flow_run", "number"], name="attempt_number_once")]
        indexes: ClassVar = [
            # who was running in a journal whose process died
            models.Index(fields=["journal"], name="attempt_journal"),
            # what goes on without its worker and is to be taken over
            models.Index(
                fields=["worker"],
                name="attempt_outlives",
                condition=Q(end_time__isnull=True, outlives_worker__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return f"attempt {self.number}"

    def is_current(self) -> bool:
        """Whether its process has the run's current attempt: this one, or a retry within the process (a query then)."""
        run = self.flow_run
        if run.attempt == self.number:
            return True
        return self.journal is not None and run.attempts.filter(number=run.attempt, journal=self.journal).exists()


class TaskRun(models.Model):
    """A task run, with its current attempt; earlier attempts are `TaskRunAttempt` rows."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    flow_run = models.ForeignKey(FlowRun, on_delete=models.CASCADE, related_name="task_runs")
    flow_attempt = models.PositiveIntegerField(default=1)
    task = models.CharField(max_length=200, help_text="The task's name.")
    key = models.CharField(max_length=500, help_text="By which a task is known across attempts.")
    index = models.PositiveIntegerField(default=0)
    name = models.CharField(max_length=200)
    tags = models.JSONField(default=list, blank=True)
    inputs = models.JSONField(default=dict, blank=True)
    max_retries = models.PositiveIntegerField(default=0)
    state_type = models.CharField(max_length=16, choices=STATE_TYPES, default=StateType.PENDING)
    state_name = models.CharField(max_length=32, default="Pending")
    state_message = models.TextField(blank=True)
    error = models.JSONField(null=True, blank=True)
    attempt = models.PositiveIntegerField(default=1)
    created_at = models.DateTimeField()
    start_time = models.DateTimeField(null=True, blank=True, help_text="When its first attempt began.")
    attempt_start_time = models.DateTimeField(null=True, blank=True, help_text="When its current attempt began.")
    end_time = models.DateTimeField(null=True, blank=True)
    next_attempt_at = models.DateTimeField(null=True, blank=True)
    subflow_run = models.UUIDField(null=True, blank=True, help_text="The flow run that this task run stands for.")
    # "close" where it ended only because its flow run did: its own word beats that.
    ended_by = models.CharField(max_length=8, blank=True)

    class Meta:
        indexes: ClassVar = [
            # a run's timeline, in order of creation, and its counts by state
            models.Index(fields=["flow_run", "id"], name="task_run_timeline"),
            models.Index(fields=["flow_run", "state_type"], name="task_run_counts"),
        ]

    def __str__(self) -> str:
        return self.name


class TaskRunAttempt(models.Model):
    """An earlier attempt of a task run: when it ran, how it ended."""

    task_run = models.ForeignKey(TaskRun, on_delete=models.CASCADE, related_name="earlier_attempts")
    number = models.PositiveIntegerField()
    state_type = models.CharField(max_length=16, choices=STATE_TYPES)
    state_name = models.CharField(max_length=32)
    state_message = models.TextField(blank=True)
    error = models.JSONField(null=True, blank=True)
    start_time = models.DateTimeField(null=True, blank=True)
    end_time = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["task_run", "number"], name="task_run_attempt_number_once")
        ]

    def __str__(self) -> str:
        return f"attempt {self.number}"


class Log(models.Model):
    """A log line or a printed line (`logger` is then `stdout` or `stderr`)."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    flow_run = models.ForeignKey(FlowRun, on_delete=models.CASCADE, related_name="logs")
    task_run_id = models.UUIDField(null=True, blank=True)
    attempt = models.PositiveIntegerField(default=1)
    task_attempt = models.PositiveIntegerField(default=0)
    time = models.DateTimeField()
    level = models.PositiveSmallIntegerField(default=20)
    logger = models.CharField(max_length=200, blank=True)
    message = models.TextField(blank=True)

    class Meta:
        indexes: ClassVar = [
            # a run's log in order, and what came after the line that a page shows last
            models.Index(fields=["flow_run", "id"], name="log_of_run"),
        ]

    def __str__(self) -> str:
        return self.message


class Journal(models.Model):
    """How far a journal has been brought in; moves in the transaction that writes its facts."""

    id = models.UUIDField(primary_key=True, editable=False)
    team = models.ForeignKey(Team, on_delete=models.CASCADE, null=True, related_name="+", help_text="Whose it is.")
    sequence = models.PositiveBigIntegerField(default=0, help_text="The number of the last fact that was taken.")
    clock = models.PositiveBigIntegerField(default=0, help_text="The latest time in it, microseconds since the epoch.")
    machine = models.CharField(max_length=200, blank=True)
    host = models.CharField(max_length=200, blank=True)
    ended = models.BooleanField(default=False)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    def __str__(self) -> str:
        return str(self.id)


class Pulse(models.Model):
    """When a periodic duty was last done, so that it knows of its own outage."""

    name = models.CharField(primary_key=True, max_length=32)
    at = models.DateTimeField(help_text="By the database's clock.")
    resumes_at = models.DateTimeField(null=True, blank=True, help_text="After an outage: nothing is judged before.")

    def __str__(self) -> str:
        return self.name


class ResourceSample(models.Model):
    """What an attempt's processes used at a time. Samples grow sparser the longer it goes on."""

    flow_run = models.ForeignKey(FlowRun, on_delete=models.CASCADE, related_name="resource_samples")
    attempt = models.PositiveIntegerField(default=1)
    time = models.DateTimeField()
    cpu = models.FloatField(help_text="Processors used since the sample before: 1.0 is one of them, whole.")
    memory_bytes = models.PositiveBigIntegerField(help_text="Resident, of the process and what it started.")

    class Meta:
        indexes: ClassVar = [
            # a run's chart
            models.Index(fields=["flow_run", "id"], name="resource_sample_of_run"),
        ]

    def __str__(self) -> str:
        return f"{self.memory_bytes} bytes"


class ConcurrencyLimit(models.Model):
    """How many task runs with a tag may run at once, in a team."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    team = models.ForeignKey(Team, on_delete=models.CASCADE, related_name="concurrency_limits")
    tag = models.CharField(max_length=200)
    limit = models.PositiveIntegerField(help_text="Task runs at once; 0: none may run.")
    created_at = models.DateTimeField(auto_now_add=True)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True)

    objects = OwnedQuerySet.as_manager()

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["team", "tag"], name="concurrency_limit_team_tag")]

    def __str__(self) -> str:
        return self.tag


class Slot(models.Model):
    """A task run's place under a limit, held or waited for. It goes with the end of the task run or of its flow run.

    Rows are made and granted under the lock of their limit (`runs.slots`); the id, counted up by the database, is
    therefore the order in which they were asked for. Its lease is that of its flow run.
    """

    limit = models.ForeignKey(ConcurrencyLimit, on_delete=models.CASCADE, related_name="slots")
    flow_run = models.ForeignKey(FlowRun, on_delete=models.CASCADE, related_name="slots")
    attempt = models.PositiveIntegerField(default=1, help_text="Of the flow run.")
    task_run = models.UUIDField(help_text="It need not be recorded yet.")
    task_name = models.CharField(max_length=200, blank=True, help_text="The task run's name.")
    listener = models.UUIDField(null=True, blank=True, help_text="The process that is told when it is granted.")
    asked_at = models.DateTimeField(help_text="By the database's clock.")
    granted_at = models.DateTimeField(null=True, blank=True, help_text="Empty while it waits.")

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["limit", "task_run"], name="slot_once")]
        indexes: ClassVar = [
            # how many hold a limit
            models.Index(fields=["limit"], name="slot_held", condition=Q(granted_at__isnull=False)),
            # who waits, first come first served
            models.Index(fields=["limit", "id"], name="slot_waiting", condition=Q(granted_at__isnull=True)),
            # the end of a task run
            models.Index(fields=["task_run"], name="slot_task_run"),
        ]

    def __str__(self) -> str:
        return f"slot of task run {self.task_run}"
