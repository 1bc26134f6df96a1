"""What can run: flows, deployments, their schedules, and the queues that workers serve."""

from functools import cached_property
from typing import Any, ClassVar, Self
from uuid import UUID

from django.conf import settings
from django.db import models
from django.db.models import JSONField, Value
from django.utils.timezone import now
from guardian.models import GroupObjectPermissionBase, UserObjectPermissionBase

from flows.calendars import BusinessCalendar
from flows.snapshots import Snapshot, SnapshotPiece  # noqa: F401  models of this app
from flows.versions import DeploymentVersion  # noqa: F401  a model of this app
from orchestrator.encryption import SecretField
from orchestrator.sdk.ids import uuid7
from teams.models import Team, User
from teams.reach import ReachQuerySet

DEFAULT_QUEUE = "default"


def slug_of(name: str) -> str:
    """Return the form by which names are looked up: `_` and `-` are alike."""
    return name.replace("_", "-")


def _as_uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


class OwnedQuerySet(ReachQuerySet):
    """Reads of what a team owns."""

    #: By a model that can be shared, the field of this one that holds its id.
    shared_by: ClassVar[dict[str, str]] = {}

    _reader: User | None = None  # who sees the rows by ways

    def visible_to(self, user: User) -> Self:
        """Rows of the teams that this user is a member of, and those that are shared with them.

        The ids stand in the query: for one team, which most people are in, both databases then read a list along its
        index. With a subquery SQLite would sort all rows of the team. For several, `first_rows` reads along each.
        """
        if (deployment := user.confinement.deployment) is not None:
            rows = self.of_deployment(deployment)
            return rows if user.is_superuser else rows.filter(self._allowed(user))
        rows = self._chain() if user.sees_everything else self.seen_by(self._allowed(user), self._ways_of(user))
        rows._reader = user
        return rows

    def listed_for(self, user: User) -> Self:
        """Rows that this user may see, of the team that they look at, if they chose one of several."""
        team = user.chosen_team
        if not team or not (user.sees_everything or team in user.roles):
            return self.visible_to(user)
        rows = self.seen_by(models.Q(team=team), [models.Q(team=team)])
        rows._reader = user
        return rows

    def of_deployment(self, deployment: UUID) -> Self:
        """What a token for one deployment reaches: nothing, where a model is not about deployments."""
        field = self.shared_by.get("deployment")
        return self.filter(**{field: deployment}) if field else self.none()

    def _allowed(self, user: User) -> models.Q:
        ids = user.team_ids
        allowed = models.Q(team=ids[0]) if len(ids) == 1 else models.Q(team__in=ids)
        for field, shared in self._shared_with(user):
            allowed |= models.Q(**{f"{field}__in": shared})
        return allowed

    def _ways_of(self, user: User, but: str = "") -> list[models.Q]:
        """How rows reach a user: by each of their teams, and each object shared with them; not by the field `but`."""
        by = [("team", user.team_ids if but == "" else []), *self._shared_with(user)]
        return [models.Q(**{field: id}) for field, ids in by if field != but for id in ids]

    def _shared_with(self, user: User) -> list[tuple[str, list[UUID]]]:
        found = ((field, list(user.shares.get(model, ()))) for model, field in self.shared_by.items())
        return [(field, ids) for field, ids in found if ids]

    def _clone(self) -> Self:
        copy = super()._clone()
        copy._reader = self._reader
        return copy


class FlowQuerySet(OwnedQuerySet):
    """Reads of flows."""

    shared_by: ClassVar = {"flow": "id"}

    def of_deployment(self, deployment: UUID) -> "FlowQuerySet":
        """The flow of that deployment."""
        return self.filter(deployments=deployment)

    def named(self, text: str) -> "FlowQuerySet":
        """Flows of this id or name; `_` and `-` are alike."""
        id = _as_uuid(text)
        return self.filter(id=id) if id else self.filter(slug=slug_of(text))


class DeploymentQuerySet(OwnedQuerySet):
    """Reads of deployments."""

    shared_by: ClassVar = {"deployment": "id", "flow": "flow"}

    def named(self, text: str) -> "DeploymentQuerySet":
        """Deployments of this id, flow-name/deployment-name or own name; `_` and `-` are alike."""
        if id := _as_uuid(text):
            return self.filter(id=id)
        flow, slash, name = text.rpartition("/")
        found = self.filter(slug=slug_of(name))
        return found.filter(flow__slug=slug_of(flow)) if slash else found


class ScheduleQuerySet(models.QuerySet["Schedule"]):
    """Reads of schedules."""

    def visible_to(self, user: User) -> "ScheduleQuerySet":
        """Those of deployments that this user may see."""
        return self.filter(deployment__in=Deployment.objects.visible_to(user)).select_related("deployment__team")


class Flow(models.Model):
    """A flow, known by (team, name): made by a deployment, or by the first run that was brought in."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    team = models.ForeignKey(Team, on_delete=models.PROTECT, related_name="flows")
    name = models.CharField(max_length=200)
    slug = models.CharField(max_length=200, editable=False)
    description = models.TextField(blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    objects = FlowQuerySet.as_manager()

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["team", "slug"], name="flow_team_slug")]
        permissions: ClassVar = [("run_flow", "Can run flow")]

    def __str__(self) -> str:
        return self.name

    def shared_as(self) -> dict[str, UUID]:
        """The objects by whose shares it is reached."""
        return {"flow": self.pk}

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Keep the slug beside the name."""
        self.slug = slug_of(self.name)
        super().save(*args, **kwargs)


class WorkQueueQuerySet(OwnedQuerySet):
    """Reads of work queues."""

    def served(self) -> "WorkQueueQuerySet":
        """Queues from which runs may be claimed: those that are not paused."""
        return self.filter(paused=False)


class WorkQueue(models.Model):
    """A queue of runs; also a Celery queue, on which wake-ups are sent."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    team = models.ForeignKey(Team, on_delete=models.PROTECT, related_name="work_queues")
    name = models.CharField(max_length=100, default=DEFAULT_QUEUE)
    description = models.TextField(blank=True)
    paused = models.BooleanField(default=False)
    limit = models.PositiveIntegerField(null=True, blank=True, help_text="Runs in progress at once; empty: no limit.")
    priority = models.SmallIntegerField(default=0, db_default=0, help_text="Queues with a higher one are served first.")
    created_at = models.DateTimeField(auto_now_add=True)

    objects = WorkQueueQuerySet.as_manager()

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["team", "name"], name="work_queue_team_name")]

    def __str__(self) -> str:
        return self.name

    @classmethod
    def default(cls, team: Team) -> "WorkQueue":
        """The queue of whatever names no other; made when it is missing."""
        return cls.objects.get_or_create(team=team, name=DEFAULT_QUEUE)[0]

    @property
    def celery_queue(self) -> str:
        """The Celery queue on which this queue's wake-ups are sent."""
        return f"orchestrator.queue.{self.id}"


class Collision(models.TextChoices):
    """What becomes of a run that comes while its deployment's limit is reached."""

    WAIT = "wait", "It waits"
    CANCEL = "cancel", "It is cancelled"


class OnOverrun(models.TextChoices):
    """What becomes of a run that goes on beyond its expected duration or its deadline."""

    NOTHING = "nothing", "It goes on"
    CANCEL = "cancel", "It is cancelled"


class Isolation(models.TextChoices):
    """Two infrastructures by their older names; what counts is `Deployment.infrastructure`."""

    PROCESS = "process", "Each in a process of its own"
    WORKER = "worker", "In a process that the worker keeps for them: quicker to start, and not kept apart"


PROCESS = "process"  #: the infrastructure of whatever names none, and the type of blocks that set such processes up
IN_WORKER = "in-worker"  #: a type, and the name of its one block in a team, which has nothing to set


class Block(models.Model):
    """Values of one type (`flows.block_types`) under a name: where runs execute, or what a worker needs to do that.

    Known by (team, name). Its secrets are encrypted, and given to workers alone.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    team = models.ForeignKey(Team, on_delete=models.PROTECT, related_name="blocks")
    type = models.CharField(max_length=50)
    name = models.CharField(max_length=100)
    slug = models.CharField(max_length=100, editable=False)
    description = models.TextField(blank=True)
    values = models.JSONField(default=dict, blank=True)
    secrets = SecretField(null=True, help_text="The values of its secret fields, as a JSON object.")
    opened = models.JSONField(default=list, blank=True, help_text="Fields that deployments and runs may override.")
    version = models.PositiveIntegerField(default=1, help_text="Raised by each change.")
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True)

    objects = OwnedQuerySet.as_manager()
    unversioned: ClassVar = frozenset({"slug", "created_by"})

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["team", "slug"], name="block_team_slug")]

    def __str__(self) -> str:
        return self.name

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Keep the slug beside the name."""
        self.slug = slug_of(self.name)
        super().save(*args, **kwargs)


class Deployment(models.Model):
    """A flow that can be run by the server: where its code is, with which parameters, on which queue.

    `declared` is what `orchestrator deploy` said last. The next deploy is compared with it and changes only what its
    author changed, so that what was set in the browser meanwhile is kept.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    team = models.ForeignKey(Team, on_delete=models.PROTECT, related_name="deployments")
    flow = models.ForeignKey(Flow, on_delete=models.CASCADE, related_name="deployments")
    name = models.CharField(max_length=200)
    slug = models.CharField(max_length=200, editable=False)
    description = models.TextField(blank=True)
    entrypoint = models.CharField(max_length=1000, help_text="path/to/file.py:function, or package.module:function")
    directory = models.CharField(max_length=1000, blank=True, help_text="The working directory of its runs.")
    source = models.JSONField(
        default=dict, blank=True, db_default=Value({}, JSONField()), help_text="Where its code is; empty: a path."
    )
    project = models.CharField(
        max_length=200, blank=True, default="", db_default="",
        help_text="The name of the file of declarations (orchestrator.toml) that it stands in.",
    )  # fmt: skip
    code_version = models.PositiveIntegerField(
        default=0, db_default=0, editable=False, help_text="The number of its newest version (`DeploymentVersion`)."
    )
    version = models.CharField(max_length=200, blank=True)
    parameters = models.JSONField(default=dict, blank=True)
    parameter_schema = models.JSONField(default=dict, blank=True)
    tags = models.JSONField(default=list, blank=True)
    queue = models.ForeignKey(WorkQueue, on_delete=models.PROTECT, related_name="deployments")
    paused = models.BooleanField(default=False)
    limit = models.PositiveIntegerField(null=True, blank=True, help_text="Runs in progress at once; empty: no limit.")
    collision = models.CharField(
        max_length=8, choices=Collision.choices, default=Collision.WAIT, db_default=Collision.WAIT
    )
    crash_retries = models.PositiveSmallIntegerField(
        default=0, db_default=0, help_text="How many times in a row a run that crashed is run again by itself."
    )
    infrastructure = models.ForeignKey(
        Block, on_delete=models.PROTECT, null=True, blank=True, related_name="deployments",
        help_text="Where its runs execute; empty: each in a process of its own.",
    )  # fmt: skip
    infrastructure_overrides = models.JSONField(
        default=dict, blank=True, help_text="Values instead of the block's, of fields that the block opens."
    )
    task_runner = models.CharField(
        max_length=200,
        blank=True,
        default="",
        db_default="",
        help_text="Where submitted tasks of its runs execute: a name, or name:argument. Empty: as the code says.",
    )
    late_after_seconds = models.PositiveIntegerField(
        null=True, blank=True, help_text="A run that has not begun this long after its time is Late; empty: 60."
    )
    expected_seconds = models.PositiveIntegerField(
        null=True, blank=True, help_text="How long a run should take at most, from its start; empty: not watched."
    )
    on_overrun = models.CharField(
        max_length=8, choices=OnOverrun.choices, default=OnOverrun.NOTHING, db_default=OnOverrun.NOTHING
    )
    deadline_seconds = models.PositiveIntegerField(
        null=True, blank=True, help_text="When a run should have ended, counted from its time; empty: not watched."
    )
    on_deadline = models.CharField(
        max_length=8, choices=OnOverrun.choices, default=OnOverrun.NOTHING, db_default=OnOverrun.NOTHING
    )
    declared = models.JSONField(default=dict, blank=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True)

    objects = DeploymentQuerySet.as_manager()
    unversioned: ClassVar = frozenset({"declared", "slug", "created_by", "code_version"})
    parts: ClassVar = ("schedules",)

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["flow", "slug"], name="deployment_flow_slug")]
        permissions: ClassVar = [("run_deployment", "Can run deployment")]
        indexes: ClassVar = [
            # the tick: which time limits there are
            # `deploy --all`: what is there from a file of declarations
            models.Index(fields=["team", "project"], name="deployment_project", condition=~models.Q(project="")),
            models.Index(
                fields=["late_after_seconds"],
                name="deployment_late_after",
                condition=models.Q(late_after_seconds__isnull=False),
            ),
            models.Index(
                fields=["expected_seconds"],
                name="deployment_expected",
                condition=models.Q(expected_seconds__isnull=False),
            ),
            models.Index(
                fields=["deadline_seconds"],
                name="deployment_deadline",
                condition=models.Q(deadline_seconds__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return self.full_name

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Keep the slug beside the name."""
        self.slug = slug_of(self.name)
        super().save(*args, **kwargs)

    def shared_as(self) -> dict[str, UUID]:
        """The objects by whose shares it is reached."""
        return {"deployment": self.pk, "flow": self.flow_id}

    @property
    def infrastructure_name(self) -> str:
        """The name of where its runs execute (reads the block)."""
        return self.infrastructure.name if self.infrastructure else PROCESS

    @property
    def isolation(self) -> str:
        """Its infrastructure by the older names (reads the block)."""
        in_worker = self.infrastructure is not None and self.infrastructure.type == IN_WORKER
        return Isolation.WORKER.value if in_worker else Isolation.PROCESS.value

    @property
    def full_name(self) -> str:
        """`flow-name/deployment-name`, as the command line and the API call it (reads the flow)."""
        return f"{self.flow.name}/{self.name}"


class ScheduleKind(models.TextChoices):
    """How a schedule's times are written down."""

    WEEKLY = "weekly", "Days of the week at a time"
    INTERVAL = "interval", "Interval"
    CRON = "cron", "Cron"
    RRULE = "rrule", "Recurrence rule (RFC 5545)"


class Catchup(models.TextChoices):
    """What becomes of the times that were missed while no beat ran."""

    LATEST = "latest", "Run the latest one"
    ALL = "all", "Run all of them"
    NONE = "none", "Run none of them"


class OnDayOff(models.TextChoices):
    """What becomes of a time that falls on a day off of the schedule's calendar."""

    SKIP = "skip", "Leave it out"
    NEXT = "next", "Run on the next business day"
    PREVIOUS = "previous", "Run on the previous business day"


class Calendar(models.Model):
    """Business days as a team has them; `BusinessCalendar` is its value. Known by (team, name)."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    team = models.ForeignKey(Team, on_delete=models.PROTECT, related_name="calendars")
    name = models.CharField(max_length=100)
    slug = models.CharField(max_length=100, editable=False)
    weekend = models.JSONField(default=list, blank=True, help_text="Days off of each week: SA, SU.")
    country = models.CharField(max_length=2, blank=True, help_text="ISO 3166 code of the country with its holidays.")
    subdivision = models.CharField(max_length=100, blank=True)
    days_off = models.JSONField(default=list, blank=True, help_text="More days off, each with its date and name.")
    working_days = models.JSONField(default=list, blank=True, help_text="Dates that are no day off whatever they are.")
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    objects = OwnedQuerySet.as_manager()

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["team", "slug"], name="calendar_team_slug")]

    def __str__(self) -> str:
        return self.name

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Keep the slug beside the name."""
        self.slug = slug_of(self.name)
        super().save(*args, **kwargs)

    @cached_property
    def value(self) -> BusinessCalendar:
        """Its days off, as they were read."""
        return BusinessCalendar.of(self)


class Schedule(models.Model):
    """When a deployment runs, on the wall clock of `timezone`.

    One kind, one expression: cron text, seconds of an interval (from `anchor`), an RFC 5545 rule, or for `weekly`
    `MO,WE 08:00`.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    deployment = models.ForeignKey(Deployment, on_delete=models.CASCADE, related_name="schedules")
    kind = models.CharField(max_length=16, choices=ScheduleKind.choices)
    expression = models.CharField(max_length=1000)
    anchor = models.DateTimeField(null=True, blank=True, help_text="Intervals are counted from here.")
    timezone = models.CharField(max_length=64, default="UTC")
    starts_at = models.DateTimeField(null=True, blank=True, help_text="No time before this.")
    ends_at = models.DateTimeField(null=True, blank=True, help_text="No time after this.")
    calendar = models.ForeignKey(
        Calendar, on_delete=models.PROTECT, null=True, blank=True, related_name="schedules", help_text="Its days off."
    )
    on_day_off = models.CharField(
        max_length=16, choices=OnDayOff.choices, default=OnDayOff.SKIP, db_default=OnDayOff.SKIP
    )
    active = models.BooleanField(default=True)
    catchup = models.CharField(max_length=16, choices=Catchup.choices, default=Catchup.LATEST)
    catchup_seconds = models.PositiveIntegerField(
        null=True, blank=True, help_text="Times that were missed longer ago than this are not run. Empty: no limit."
    )
    parameters = models.JSONField(default=dict, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    materialized_until = models.DateTimeField(
        default=now, editable=False, help_text="Every time up to here has its run, or was left out on purpose."
    )
    tick_at = models.DateTimeField(
        null=True,
        blank=True,
        default=now,
        editable=False,
        help_text="When the tick has to look at it next: its first time not yet due. Empty: never.",
    )

    objects = ScheduleQuerySet.as_manager()
    unversioned: ClassVar = frozenset({"materialized_until", "tick_at"})

    class Meta:
        indexes: ClassVar = [
            # the tick: schedules whose runs have to be materialized
            models.Index(fields=["tick_at"], name="schedule_tick", condition=models.Q(active=True)),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.expression} ({self.timezone})"

    @property
    def team(self) -> Team:
        """Whose it is: its deployment's (reads that)."""
        return self.deployment.team

    @property
    def team_id(self) -> UUID:
        """The id of the team whose it is (reads the deployment)."""
        return self.deployment.team_id

    def shared_as(self) -> dict[str, UUID]:
        """The objects by whose shares it is reached: its deployment's."""
        return self.deployment.shared_as()


class FlowUserPermission(UserObjectPermissionBase):
    """A flow, with all that belongs to it, shared with a person."""

    content_object = models.ForeignKey(Flow, on_delete=models.CASCADE)

    class Meta(UserObjectPermissionBase.Meta):
        default_permissions = ()


class FlowGroupPermission(GroupObjectPermissionBase):
    """A flow, with all that belongs to it, shared with a team."""

    content_object = models.ForeignKey(Flow, on_delete=models.CASCADE)

    class Meta(GroupObjectPermissionBase.Meta):
        default_permissions = ()


class DeploymentUserPermission(UserObjectPermissionBase):
    """A deployment with its runs, shared with a person."""

    content_object = models.ForeignKey(Deployment, on_delete=models.CASCADE)

    class Meta(UserObjectPermissionBase.Meta):
        default_permissions = ()


class DeploymentGroupPermission(GroupObjectPermissionBase):
    """A deployment with its runs, shared with a team."""

    content_object = models.ForeignKey(Deployment, on_delete=models.CASCADE)

    class Meta(GroupObjectPermissionBase.Meta):
        default_permissions = ()


class Webhook(models.Model):
    """A secret address that runs a deployment, its request's body made into parameters; one for each deployment."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    deployment = models.OneToOneField(Deployment, on_delete=models.CASCADE, related_name="webhook")
    digest = models.CharField(max_length=64, unique=True)
    prefix = models.CharField(max_length=12)
    mapping = models.JSONField(default=dict, help_text="By parameter: where its value is in the body.")
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    last_used_at = models.DateTimeField(null=True, blank=True)

    unversioned: ClassVar = frozenset({"digest", "prefix", "created_by", "last_used_at"})

    def __str__(self) -> str:
        return f"{self.deployment} ({self.prefix}…)"
