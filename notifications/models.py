"""Who is told what, where, and what became of it.

A policy says which events of which runs are told to which destinations. The transaction that records the event writes
a *delivery* for each policy and destination; a sender gathers deliveries into *messages* and sends those.
"""

from typing import Any, ClassVar

from django.conf import settings
from django.db import models
from django.db.models import Q

from flows.models import Deployment, OwnedQuerySet
from notifications.events import Event
from orchestrator.encryption import SecretField
from orchestrator.sdk.ids import uuid7
from runs.models import FlowRun
from teams.models import Team

BURST_LIMIT = 10
LOG_LINES = 5
MAX_LOG_LINES = 20


class Destination(models.Model):
    """Where messages go: a channel, a mailbox, a web address. At most one sender sends to it at a time (the lease)."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    team = models.ForeignKey(Team, on_delete=models.PROTECT, related_name="destinations")
    name = models.CharField(max_length=100)
    kind = models.CharField(max_length=16, help_text="The transport: slack, email, webhook or apprise.")
    config = SecretField(help_text="What its transport needs to send; never shown.")
    summary = models.CharField(max_length=200, editable=False, help_text="Its address without secrets.")
    created_at = models.DateTimeField(auto_now_add=True)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )

    failures = models.PositiveIntegerField(default=0, editable=False, help_text="Tries that failed in a row.")
    refusals = models.PositiveIntegerField(default=0, editable=False, help_text="Final answers in a row.")
    failing_since = models.DateTimeField(null=True, editable=False)
    retry_at = models.DateTimeField(null=True, editable=False, help_text="Nothing is sent there before.")
    last_answer = models.CharField(max_length=500, blank=True, editable=False)
    last_answer_at = models.DateTimeField(null=True, editable=False)
    paused_at = models.DateTimeField(null=True, blank=True, editable=False)
    gave_up = models.BooleanField(default=False, editable=False, help_text="Paused because it kept failing.")
    tell_admins_at = models.DateTimeField(null=True, editable=False, help_text="When their mail is tried (next).")
    admins_told_at = models.DateTimeField(null=True, editable=False)
    notice_dismissed_at = models.DateTimeField(null=True, editable=False)
    lease_holder = models.UUIDField(null=True, editable=False, help_text="The sending process.")
    lease_expires_at = models.DateTimeField(null=True, editable=False)

    objects = OwnedQuerySet.as_manager()
    #: What sending writes there.
    unversioned: ClassVar = frozenset({
        "failures", "refusals", "failing_since", "retry_at", "last_answer", "last_answer_at", "gave_up",
        "tell_admins_at", "admins_told_at", "notice_dismissed_at", "lease_holder", "lease_expires_at",
    })  # fmt: skip

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["team", "name"], name="destination_team_name")]

    def __str__(self) -> str:
        return self.name


class Policy(models.Model):
    """Which events of which runs are told, where, and in which words.

    Empty lists match everything. Names are patterns (`etl-*`); flows and deployments are known by their slugs, so that
    a policy holds for a flow that is deployed anew.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    team = models.ForeignKey(Team, on_delete=models.PROTECT, related_name="notification_policies")
    name = models.CharField(max_length=100)
    events = models.JSONField(default=list, help_text="Values of Event.")
    flows = models.JSONField(default=list, blank=True, help_text="Slugs or patterns of flows; empty: all.")
    deployments = models.JSONField(default=list, blank=True, help_text="flow-slug/deployment-slug, or patterns.")
    tags = models.JSONField(default=list, blank=True, help_text="A run with one of these; empty: all.")
    destinations = models.ManyToManyField(Destination, through="Subscription", related_name="policies")
    message = models.TextField(blank=True, help_text="The text's template; empty: the usual one.")
    log_lines = models.PositiveSmallIntegerField(default=LOG_LINES, help_text="How many of the last log lines to add.")
    timezone = models.CharField(max_length=64, blank=True, help_text="Times are told in it; empty: the server's.")
    burst_limit = models.PositiveIntegerField(
        default=BURST_LIMIT, help_text="More messages in a minute than this become one."
    )
    long_running_seconds = models.PositiveIntegerField(
        null=True, blank=True, help_text="Long-running from here on; empty: three times the usual."
    )
    paused = models.BooleanField(default=False)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )

    objects = OwnedQuerySet.as_manager()
    parts: ClassVar = ("destinations",)

    class Meta:
        verbose_name = "notification policy"
        verbose_name_plural = "notification policies"
        constraints: ClassVar = [models.UniqueConstraint(fields=["team", "name"], name="policy_team_name")]

    def __str__(self) -> str:
        return self.name


class Subscription(models.Model):
    """A policy's destination, with how many messages went there in the current minute (`notifications.quiet`)."""

    policy = models.ForeignKey(Policy, on_delete=models.CASCADE, related_name="subscriptions")
    destination = models.ForeignKey(Destination, on_delete=models.CASCADE, related_name="subscriptions")
    window_began_at = models.DateTimeField(null=True, editable=False)
    window_messages = models.PositiveIntegerField(default=0, editable=False)

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["policy", "destination"], name="subscription_once")]

    def __str__(self) -> str:
        return f"{self.policy} to {self.destination}"


class Message(models.Model):
    """What is sent at once to one destination: one delivery, or several that were gathered."""

    class Kind(models.TextChoices):
        SINGLE = "single", "One event"
        BURST = "burst", "A burst"
        REPEAT = "repeat", "Repeated failures"

    class State(models.TextChoices):
        WAITING = "waiting", "Waiting"
        SENT = "sent", "Sent"
        FAILED = "failed", "Not delivered"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    team = models.ForeignKey(Team, on_delete=models.PROTECT, related_name="+", db_index=False)
    policy = models.ForeignKey(Policy, on_delete=models.SET_NULL, null=True, related_name="messages", db_index=False)
    destination = models.ForeignKey(
        Destination, on_delete=models.SET_NULL, null=True, related_name="messages", db_index=False
    )
    kind = models.CharField(max_length=8, choices=Kind.choices, default=Kind.SINGLE)
    count = models.PositiveIntegerField(default=1, help_text="Deliveries in it.")
    content = models.JSONField(help_text="notifications.content.Content, as it was written when it was gathered.")
    state = models.CharField(max_length=8, choices=State.choices, default=State.WAITING)
    tries = models.PositiveIntegerField(default=0)
    answers = models.JSONField(default=list, help_text="What the service said: {at, ok, text, seconds}, oldest first.")
    created_at = models.DateTimeField(auto_now_add=True)
    sent_at = models.DateTimeField(null=True)

    objects = OwnedQuerySet.as_manager()

    class Meta:
        indexes: ClassVar = [
            # the sender: what waits for a destination; those tried least often first, so that none holds up the others
            models.Index(fields=["destination", "tries", "id"], name="message_waiting", condition=Q(state="waiting")),
            # lists, newest first: of a team, a policy, a destination
            models.Index(fields=["team", "-id"], name="message_team"),
            models.Index(fields=["policy", "-id"], name="message_policy"),
            models.Index(fields=["destination", "-id"], name="message_destination"),
            # lists of deliveries that failed or wait
            models.Index(fields=["state"], name="message_unsent", condition=Q(state="waiting") | Q(state="failed")),
        ]

    def __str__(self) -> str:
        return f"{self.kind} message to {self.destination or 'a deleted destination'}"


class DeliveryQuerySet(OwnedQuerySet):
    """Reads of deliveries."""

    along_ways: ClassVar = True

    def with_status(self, status: str) -> "DeliveryQuerySet":
        """Deliveries of a `Delivery.Status`.

        Those that are rare (all but sent) are found along partial indexes: `delivery_due_team`, `delivery_muted` and
        `message_unsent`; the others along the list's own.
        """
        if status == Delivery.Status.MUTED:
            return self.filter(muted=True)
        if status == Delivery.Status.HELD:
            return self.filter(due_at__isnull=False).exclude(held_for="")
        if status == Delivery.Status.SENT:
            return self.filter(message__state=Message.State.SENT)
        if status == Delivery.Status.FAILED:
            return self.filter(message__in=Message.objects.filter(state=Message.State.FAILED).values("pk"))
        # a union, since neither database reads an OR over two tables along their indexes
        unsent = Message.objects.filter(state=Message.State.WAITING).values("pk")
        due = Delivery.objects.filter(due_at__isnull=False, held_for="").values("pk")
        return self.filter(pk__in=due.union(Delivery.objects.filter(message__in=unsent).values("pk"), all=True))


class Delivery(models.Model):
    """That an event of a run is to be told to one destination under one policy. Written with the event itself."""

    class Held(models.TextChoices):
        BURST = "burst", "More messages in this minute than its policy allows"
        REPEAT = "repeat", "The runs of this schedule keep failing"

    class Status(models.TextChoices):
        WAITING = "waiting", "Waiting"
        HELD = "held", "Held back"
        SENT = "sent", "Sent"
        FAILED = "failed", "Not delivered"
        MUTED = "muted", "Muted"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    team = models.ForeignKey(Team, on_delete=models.PROTECT, related_name="+", db_index=False)
    policy = models.ForeignKey(Policy, on_delete=models.SET_NULL, null=True, related_name="deliveries", db_index=False)
    destination = models.ForeignKey(
        Destination, on_delete=models.SET_NULL, null=True, related_name="deliveries", db_index=False
    )
    flow_run = models.ForeignKey(FlowRun, on_delete=models.CASCADE, related_name="deliveries", db_index=False)
    attempt = models.PositiveIntegerField()
    event = models.CharField(max_length=16, choices=Event.choices)
    occurred_at = models.DateTimeField()
    state_name = models.CharField(max_length=32, blank=True)
    reason = models.TextField(blank=True, help_text="The state's message, at most 2,000 characters.")
    subject = models.UUIDField(help_text="The run's deployment, else its flow: by which failures repeat.")
    repeats = models.BooleanField(default=False, help_text="A scheduled run's failure, like the one before it.")
    muted = models.BooleanField(default=False, help_text="Its deployment was muted: it is not told.")
    due_at = models.DateTimeField(null=True, help_text="When a sender looks at it next; empty once that is settled.")
    held_for = models.CharField(max_length=8, choices=Held.choices, blank=True)
    message = models.ForeignKey(
        Message, on_delete=models.SET_NULL, null=True, related_name="deliveries", db_index=False
    )
    created_at = models.DateTimeField(auto_now_add=True)

    objects = DeliveryQuerySet.as_manager()

    class Meta:
        verbose_name_plural = "deliveries"
        constraints: ClassVar = [
            models.UniqueConstraint(
                # the run first: a run's deliveries are found by it, and new ones are put beside each other
                fields=["flow_run", "attempt", "event", "policy", "destination"],
                name="delivery_once",
            )
        ]
        indexes: ClassVar = [
            # the sender: what is to be gathered for a destination
            models.Index(fields=["destination", "due_at"], name="delivery_due", condition=Q(due_at__isnull=False)),
            # what is in a message; new deliveries are in none
            models.Index(fields=["message"], name="delivery_message", condition=Q(message__isnull=False)),
            # whether a failure of this deployment was told within the hour
            models.Index(fields=["subject", "policy", "destination", "-id"], name="delivery_subject"),
            # lists, newest first: of a team, a policy, a destination
            models.Index(fields=["team", "-id"], name="delivery_team"),
            models.Index(fields=["policy", "-id"], name="delivery_policy"),
            models.Index(fields=["destination", "-id"], name="delivery_destination"),
            # lists of what was not sent
            models.Index(fields=["team", "-id"], name="delivery_due_team", condition=Q(due_at__isnull=False)),
            models.Index(fields=["team", "-id"], name="delivery_muted", condition=Q(muted=True)),
        ]

    def __str__(self) -> str:
        return f"{self.event} of {self.flow_run_id}"

    @property
    def status(self) -> "Delivery.Status":
        """What became of it (reads the message)."""
        if self.muted:
            return self.Status.MUTED
        if self.message is not None:
            return self.Status(self.message.state)
        return self.Status.HELD if self.held_for else self.Status.WAITING


class Mute(models.Model):
    """A deployment whose events are not told until a time."""

    deployment = models.OneToOneField(Deployment, on_delete=models.CASCADE, related_name="mute")
    until = models.DateTimeField()
    reason = models.CharField(max_length=200, blank=True)
    created_at = models.DateTimeField(auto_now=True)
    created_by: Any = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )

    def __str__(self) -> str:
        return f"{self.deployment} until {self.until:%Y-%m-%d %H:%M} UTC"
