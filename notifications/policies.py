"""Verbs on policies. Called through `notifications.actions`."""

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.db.models import QuerySet

from notifications import composing
from notifications.destinations import drop_waiting, free_names, send_now, tested
from notifications.events import DEFAULT_EVENTS, OF_ENDING, Event
from notifications.matching import rule_of, subjects
from notifications.models import BURST_LIMIT, LOG_LINES, Destination, Policy, Subscription
from notifications.policy_fields import checked, checked_destinations
from notifications.transports import Answer
from orchestrator.sdk.states import StateType
from runs.models import FlowRun
from teams.models import Team, User
from teams.rights import Level
from teams.verbs import verb

FIELDS: Final = (
    "name", "events", "flows", "deployments", "tags", "message", "log_lines", "timezone", "burst_limit",
    "long_running_seconds",
)  # fmt: skip
_LOOKED_AT: Final = 200  # newest runs, among which one that a policy matches is looked for
_SENDERS: Final = 8


@verb("notification_policy.create", Level.EDIT)
def create_policy(
    team: Team,
    *,
    user: User | None,
    name: str = "",
    events: Iterable[str] | None = None,
    destinations: Iterable[Destination],
    flows: Iterable[str] = (),
    deployments: Iterable[str] = (),
    tags: Iterable[str] = (),
    message: str = "",
    log_lines: int = LOG_LINES,
    timezone: str = "",
    burst_limit: int = BURST_LIMIT,
    long_running_seconds: int | None = None,
) -> Policy:
    """Make a policy.

    Args:
        name: `Failed, Crashed to #alerts` by default.
        events: Values of `Event`, in any case; failed and crashed by default.
        destinations: Of this team: rows, ids or names.
        flows: Names or patterns (`etl-*`); with deployments empty too: all.
        deployments: `flow-name/deployment-name`, or patterns.
        tags: A run with one of these; empty: all.
        message: The text's template; empty: the usual text.
        timezone: In which times are told; empty: the server's.

    Raises:
        ValidationError: By field, all that are wrong at once.
    """
    given = {
        "events": DEFAULT_EVENTS if events is None else events,
        "flows": flows,
        "deployments": deployments,
        "tags": tags,
        "message": message,
        "log_lines": log_lines,
        "timezone": timezone,
        "burst_limit": burst_limit,
        "long_running_seconds": long_running_seconds,
        **({"name": name} if name else {}),
    }
    fields, to = _checked_fields(team, given, destinations)
    fields.setdefault("name", _default_name(team, fields, to))
    policy = Policy(team=team, created_by=user, **fields)
    try:
        with transaction.atomic():
            policy.save(force_insert=True)
            _subscribe(policy, to)
    except IntegrityError:
        raise _conflict(team, policy.pk, fields["name"]) from None
    return policy


@verb("notification_policy.change", Level.EDIT)
def update_policy(policy: Policy, *, user: User | None, **changes: Any) -> Policy:
    """Change fields of a policy, `destinations` among them; what waits for a destination that it left is dropped.

    Raises:
        ValidationError: By field, all that are wrong at once.
    """
    if unknown := changes.keys() - {*FIELDS, "destinations"}:
        raise ValidationError(dict.fromkeys(sorted(unknown), "A policy has no such field."))
    destinations = changes.pop("destinations", None)
    fields, to = _checked_fields(policy.team, changes, destinations, policy)
    try:
        with transaction.atomic():
            policy = Policy.objects.select_for_update(of=("self",)).select_related("team").get(pk=policy.pk)
            for name, value in fields.items():
                setattr(policy, name, value)
            policy.save(update_fields=[*fields, "updated_at"])
            if to:
                _subscribe(policy, to)
    except IntegrityError:
        raise _conflict(policy.team, policy.pk, policy.name) from None
    return policy


@verb("notification_policy.pause", Level.EDIT)
def pause_policy(policy: Policy, *, user: User | None) -> Policy:
    """Have it match nothing until it is resumed; what waits is still sent."""
    return _set_paused(policy, True)


@verb("notification_policy.resume", Level.EDIT)
def resume_policy(policy: Policy, *, user: User | None) -> Policy:
    """Have it match again, from now on."""
    return _set_paused(policy, False)


@verb("notification_policy.delete", Level.EDIT)
def delete_policy(policy: Policy, *, user: User | None) -> None:
    """Delete a policy, and with it what waits to be sent. What was sent stays on the record."""
    with transaction.atomic():
        drop_waiting(policy=policy)
        Policy.objects.filter(pk=policy.pk).delete()


@verb("notification_policy.test", Level.EDIT, always=True, atomic=False)
def test_policy(
    policy: Policy,
    *,
    user: User | None,
    run: FlowRun | None = None,  # noqa: PT028 (a verb, no test)
) -> list[tuple[Destination, Answer]]:
    """Send a test to each of its destinations now, and return what each service said.

    It tells of a run, by default the newest that the policy matches, else of one that might be; marked as a test.

    Raises:
        ValidationError: By `run`, which is another team's, or by `message`.
    """
    if run is not None and run.team_id != policy.team_id:
        raise ValidationError({"run": "Choose a run of the policy's own team."})
    run = run or matching_run(policy)
    destinations = list(policy.destinations.order_by("name", "id"))
    contents = [composing.policy_test_content(policy, destination, run) for destination in destinations]
    # at once, since each may take its full time; the threads touch no database
    with ThreadPoolExecutor(_SENDERS) as pool:
        answers = list(pool.map(send_now, destinations, contents))
    return [
        (destination, tested(destination, answer)) for destination, answer in zip(destinations, answers, strict=True)
    ]


def matching_run(policy: Policy, runs: "QuerySet[FlowRun] | None" = None) -> FlowRun | None:
    """Return the newest run that a policy, which may be unsaved, would tell of; None where there is none.

    Of its team's newest runs in a suitable state, `_LOOKED_AT` are looked at (two queries).

    Args:
        runs: Those to look among, such as what the asker may see; all without it.
    """
    states = {type_ for type_, event in OF_ENDING.items() if event in policy.events}
    if Event.RECOVERED in policy.events:
        states.add(StateType.COMPLETED)
    if {Event.LONG_RUNNING, Event.OVERRAN, Event.MISSED_DEADLINE} & set(policy.events):
        states.add(StateType.RUNNING)
    if Event.LATE in policy.events:
        states.add(StateType.SCHEDULED)
    among: Any = FlowRun.objects.all() if runs is None else runs
    newest = among.filter(team=policy.team_id, state_type__in=sorted(states)).newest_first()
    ids = list(newest.values_list("id", flat=True)[:_LOOKED_AT])
    rule, described = rule_of(policy), subjects(ids)
    for id in ids:
        if id in described and rule.matches(described[id]):
            return FlowRun.objects.select_related("flow", "deployment").filter(pk=id).first()
    return None


def _checked_fields(
    team: Team, given: dict[str, Any], destinations: Any, policy: Policy | None = None
) -> tuple[dict[str, Any], list[Destination]]:
    """Return the fields and destinations in their normal form. Raises ValidationError by field, all at once."""
    fields: dict[str, Any] = {}
    errors: dict[str, Any] = {}
    to: list[Destination] = []
    for name, value in given.items():
        try:
            fields[name] = checked(name, value, team, getattr(policy, name, ()))
        except ValidationError as error:
            errors |= error.message_dict
    try:
        if destinations is not None or policy is None:
            to = checked_destinations(team, destinations)
    except ValidationError as error:
        errors |= error.message_dict
    if errors:
        raise ValidationError(errors)
    return fields, to


def _default_name(team: Team, fields: dict[str, Any], to: Sequence[Destination]) -> str:
    """`Failed, Crashed of etl to #alerts`; with a number where that is taken."""
    events = ", ".join(Event(event).label for event in fields["events"])
    names = [*fields["flows"], *fields["deployments"], *fields["tags"]]
    of = f" of {', '.join(names)}" if names else ""
    name = f"{events}{of} to {', '.join(one.name for one in to)}"
    taken = set(Policy.objects.filter(team=team, name__startswith=name[:50]).values_list("name", flat=True))
    return next(one for one in free_names(name) if one not in taken)


def _subscribe(policy: Policy, to: Sequence[Destination]) -> None:
    """Bring its subscriptions into line; those that stay keep their window."""
    left = Subscription.objects.filter(policy=policy).exclude(destination__in=to)
    for destination_id in left.values_list("destination_id", flat=True):
        drop_waiting(policy=policy, destination=destination_id)
    left.delete()
    Subscription.objects.bulk_create(
        [Subscription(policy=policy, destination=destination) for destination in to], ignore_conflicts=True
    )


def _set_paused(policy: Policy, paused: bool) -> Policy:
    Policy.objects.filter(pk=policy.pk).update(paused=paused)
    policy.refresh_from_db()
    return policy


def _conflict(team: Team, id: UUID, name: str) -> ValidationError:
    """What a write that broke a constraint ran into: a name that is taken, else a destination that is gone."""
    if Policy.objects.filter(team=team, name=name).exclude(pk=id).exists():
        return ValidationError({"name": f"There is a policy called “{name}” already. Choose another name."})
    return ValidationError({"destinations": "A destination was deleted a moment ago. Choose again."})
