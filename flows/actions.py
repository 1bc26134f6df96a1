"""Verbs on deployments and schedules; `deploy` is in `declarations`, those on calendars are in `calendar_actions`.

They know nothing of runs: whoever changes what runs from a schedule calls the verb of the same name in `runs.actions`,
which also brings the upcoming runs into line.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils import timezone

from flows import time_limits
from flows.infrastructure import checked_overrides, infrastructure_named, left_open
from flows.models import (
    Calendar,
    Collision,
    Deployment,
    Schedule,
    WorkQueue,
    slug_of,
)
from flows.parameters import check_parameters, missing_parameters
from flows.schedules import Spec
from flows.time_limits import check_time_limits
from orchestrator.sdk.runners.kinds import check_runner
from teams import audit
from teams.models import Team, User
from teams.rights import Level, require

# Fields that a declaration and a person may both set, compared as a whole.
SHARED = (
    "description", "entrypoint", "directory", "version", "tags", "queue", "infrastructure", "infrastructure_overrides",
    "crash_retries", "task_runner", "limit", "collision", *time_limits.DEFAULTS,
)  # fmt: skip
MAX_SCHEDULES = 100
MAX_TAGS = 100
MAX_LIMIT = 10_000
MAX_CRASH_RETRIES = 100


def update_deployment(deployment: Deployment, *, user: User | None = None, **changes: Any) -> Deployment:
    """Change a deployment: its name, description, parameters, tags, queue, infrastructure and task runner (by name),
    entrypoint, directory or version.

    Also `infrastructure_overrides`, of fields that the block opens; another block's are dropped with it. Also
    `crash_retries`, how many times in a row a run that crashed is run again, `limit`, how many of its runs may be
    in progress at once (None: as many as there are places), and `collision`, what becomes of one more;
    and its time limits (`flows.time_limits`).

    Raises:
        ValidationError: By field; for a name that is taken, too.

    Locks the deployment's row. What is set here stays when the same thing is declared again.
    """
    allowed = {"name", "parameters", *SHARED}
    if unknown := sorted(set(changes) - allowed):
        raise ValidationError(
            {unknown[0]: f"A deployment has no “{unknown[0]}” to change. It has {', '.join(allowed)}."}
        )
    with transaction.atomic():
        deployment = locked_deployment(deployment)
        for name, value in changes.items():
            setattr(deployment, name, as_stored(deployment.team, name, value, user))
        if "infrastructure" in changes and "infrastructure_overrides" not in changes:
            deployment.infrastructure_overrides = left_open(
                deployment.infrastructure, deployment.infrastructure_overrides
            )
        check_texts({name: value for name, value in changes.items() if name in LENGTHS})
        deployment.tags = checked_tags(deployment.tags)
        check_limit(deployment.limit)
        if changes.keys() & {"infrastructure", "infrastructure_overrides"}:
            deployment.infrastructure_overrides = checked_overrides(
                deployment.infrastructure, deployment.infrastructure_overrides
            )
        check_crash_retries(deployment.crash_retries)
        check_task_runner(deployment.task_runner)
        check_time_limits(deployment)
        check_collision(deployment.collision)
        check_values(deployment)
        _check_name_is_free(deployment)
        deployment.save()
        check_ready_for_schedules(deployment)
        return deployment


def duplicate_deployment(
    deployment: Deployment, *, name: str, parameters: Mapping[str, Any] | None = None, user: User | None = None
) -> Deployment:
    """Make a deployment like this one under another name, with other parameters laid over its own.

    Its schedules are copied too, but inactive: two deployments that begin to run at the same time are rarely meant, and
    the copy's page has a switch for each. The copy is declared by nobody: the next `deploy` of its name takes it over.

    Raises:
        ValidationError: By field; for a name that is taken, too.
    """
    with transaction.atomic():
        specs = specs_of(deployment)
        copied = (
            "team", "flow", "queue", "description", "entrypoint", "directory", "version", "parameter_schema", "limit",
            "collision", "infrastructure", "infrastructure_overrides", "crash_retries", "task_runner",
            *time_limits.DEFAULTS,
        )  # fmt: skip
        copy = Deployment(name=checked_name("name", name), created_by=user, tags=list(deployment.tags))
        for attribute in copied:
            setattr(copy, attribute, getattr(deployment, attribute))
        copy.parameters = {**deployment.parameters, **(parameters or {})}
        check_values(copy)
        _check_name_is_free(copy)
        copy.save()
        Schedule.objects.bulk_create(
            Schedule(deployment=copy, tick_at=None, **{**spec.fields(), "active": False}) for spec in specs
        )
        return copy


def pause_deployment(deployment: Deployment, *, user: User | None = None) -> Deployment:
    """Stop its schedules from making runs. Runs that a person or the API asks for still run."""
    Deployment.objects.filter(pk=deployment.pk).update(paused=True, updated_at=timezone.now())
    deployment.paused = True
    return deployment


def resume_deployment(deployment: Deployment, *, user: User | None = None) -> Deployment:
    """Let its schedules make runs again, from now on: what would have run meanwhile is not caught up."""
    with transaction.atomic():
        Deployment.objects.filter(pk=deployment.pk).update(paused=False, updated_at=timezone.now())
        deployment.paused = False
        for schedule in deployment.schedules.select_for_update(of=("self",)):
            start_over(schedule)
            schedule.save(update_fields=["tick_at", "materialized_until"])
    return deployment


def delete_deployment(deployment: Deployment, *, user: User | None = None) -> None:
    """Delete a deployment and its schedules. Its runs stay, without a deployment."""
    deployment.delete()


def replace_schedules(deployment: Deployment, specs: Sequence[Spec]) -> list[Schedule]:
    """Give a deployment these schedules, in this order; one that is there already keeps its row, and so its runs.

    Raises:
        ValidationError: By `schedules.<index>.<field>`.
    """
    if len(specs) > MAX_SCHEDULES:
        raise ValidationError({"schedules": f"A deployment has at most {MAX_SCHEDULES} schedules."})
    wanted = [_checked_spec(deployment, spec, f"schedules.{index}.") for index, spec in enumerate(specs)]
    spare = list(
        deployment.schedules.select_for_update(of=("self",)).select_related("calendar").order_by("created_at", "id")
    )
    kept: list[Schedule] = []
    for spec in wanted:
        row = next((row for row in spare if Spec.of(row) == spec), None)
        if row is None:
            row = Schedule.objects.create(deployment=deployment, **spec.fields())
        else:
            spare.remove(row)
        kept.append(row)
    Schedule.objects.filter(pk__in=[row.pk for row in spare]).delete()
    return kept


def add_schedule(deployment: Deployment, spec: Spec, *, user: User | None = None) -> Schedule:
    """Give a deployment one more schedule. Raises ValidationError by field."""
    with transaction.atomic():
        deployment = locked_deployment(deployment)
        if deployment.schedules.count() >= MAX_SCHEDULES:
            raise ValidationError(f"A deployment has at most {MAX_SCHEDULES} schedules.")
        schedule = Schedule.objects.create(deployment=deployment, **_checked_spec(deployment, spec).fields())
        check_ready_for_schedules(deployment)
        return schedule


def change_schedule(schedule: Schedule, *, user: User | None = None, **changes: Any) -> Schedule:
    """Change fields of a schedule (those of `Spec`). Raises ValidationError by field."""
    with transaction.atomic():
        deployment = locked_deployment(schedule.deployment)
        schedule = Schedule.objects.select_for_update().get(pk=schedule.pk)
        spec = _checked_spec(deployment, Spec.from_json({**Spec.of(schedule).as_json(), **changes}))
        for name, value in spec.fields().items():
            setattr(schedule, name, value)
        start_over(schedule)
        schedule.save()
        check_ready_for_schedules(deployment)
        return schedule


def delete_schedule(schedule: Schedule, *, user: User | None = None) -> None:
    """Delete a schedule. Runs that it made and that began stay."""
    with transaction.atomic():
        for locked in Schedule.objects.select_for_update().filter(pk=schedule.pk):
            locked.delete()


def start_over(schedule: Schedule) -> None:
    """Have a schedule count from now on: nothing before has been missed."""
    schedule.materialized_until = timezone.now()
    schedule.tick_at = schedule.materialized_until if schedule.active else None


def with_calendar(spec: Spec, team: Any) -> Spec:
    """Return a schedule with the days off of the calendar that it names (a query, where it names one).

    Args:
        team: The team that owns it, or its id; or several of them.

    Raises:
        ValidationError: No calendar of theirs is called so (`calendar`).
    """
    if not spec.calendar:
        return replace(spec, days=None)
    teams = team if isinstance(team, (list, tuple, set)) else [team]
    calendars = Calendar.objects.filter(team__in=teams)
    row = calendars.filter(slug=slug_of(spec.calendar)).order_by("created_at", "id").first()
    if row is None:
        names = list(calendars.values_list("name", flat=True)[:1000])
        near = get_close_matches(spec.calendar, names, n=1)
        hint = (
            f"Did you mean “{near[0]}”?" if near else "Make it first: orchestrator calendar create NAME --country FR."
        )
        raise ValidationError({"calendar": f"There is no calendar “{spec.calendar}”. {hint}"})
    return replace(spec, calendar=row.name, days=row.value)


def specs_of(deployment: Deployment) -> list[Spec]:
    """A deployment's schedules, in the order they were made (a query)."""
    return [Spec.of(row) for row in deployment.schedules.select_related("calendar").order_by("created_at", "id")]


def check_ready_for_schedules(deployment: Deployment) -> None:
    """Raise ValidationError when a schedule would make runs that lack a required parameter (reads the schedules)."""
    for schedule in deployment.schedules.filter(active=True):
        have = {**deployment.parameters, **schedule.parameters}
        if missing := missing_parameters(deployment.parameter_schema, have):
            raise ValidationError(
                {
                    f"parameters.{name}": f"“{name}” is required: without a value no schedule can start a run. "
                    "Give it one, or the flow a default."
                    for name in missing
                }
            )


def checked_tags(tags: Any) -> list[str]:
    """Return tags without blanks and repetitions. Raises ValidationError (`tags`)."""
    if isinstance(tags, str) or not isinstance(tags, Iterable):
        raise ValidationError({"tags": "Write a list of texts."})
    tags = list(tags)
    if not all(isinstance(tag, str) and len(tag) <= 200 for tag in tags):
        raise ValidationError({"tags": "Write a list of texts of at most 200 characters each."})
    unique = list(dict.fromkeys(tag.strip() for tag in tags if tag.strip()))
    if len(unique) > MAX_TAGS:
        raise ValidationError({"tags": f"At most {MAX_TAGS} tags are taken."})
    return unique


LENGTHS = {"entrypoint": 1000, "directory": 1000, "version": 200, "description": 100_000}


def check_limit(limit: Any) -> None:
    """Raise ValidationError (`limit`) for what is no number of runs in progress at once."""
    is_number = isinstance(limit, int) and not isinstance(limit, bool) and 1 <= limit <= MAX_LIMIT
    if limit is not None and not is_number:
        raise ValidationError({"limit": f"Write a number from 1 to {MAX_LIMIT:,}, or nothing for no limit."})


def check_collision(collision: Any) -> None:
    """Raise ValidationError (`collision`) for what is none of the two."""
    if collision not in Collision.values:
        raise ValidationError({"collision": f"Write {' or '.join(Collision.values)}."})


def check_crash_retries(retries: Any) -> None:
    """Raise ValidationError (`crash_retries`) for what is no count of runs after a crash."""
    is_number = isinstance(retries, int) and not isinstance(retries, bool) and 0 <= retries <= MAX_CRASH_RETRIES
    if not is_number:
        raise ValidationError({"crash_retries": f"Write a number from 0 to {MAX_CRASH_RETRIES}."})


def check_task_runner(text: Any) -> None:
    """Raise ValidationError (`task_runner`) for what names no task runner; empty is none of its own."""
    try:
        if text:
            check_runner(str(text), "Task runner")
    except ValueError as error:
        raise ValidationError({"task_runner": str(error)}) from None


def checked_name(name: str, value: Any) -> str:
    """Return a name of a flow, deployment or calendar. Raises ValidationError (`name`)."""
    if not isinstance(value, str) or not value.strip() or len(value) > 200:
        raise ValidationError({name: "Write a name of 1 to 200 characters."})
    if "/" in value or not value.isprintable():
        raise ValidationError({name: f"“{value}” cannot be a name: leave out / and control characters."})
    return value.strip()


def check_texts(values: Mapping[str, Any]) -> None:
    """Raise ValidationError for a text, by its field, that is none or longer than `LENGTHS` says."""
    for name, value in values.items():
        if not isinstance(value, str) or "\0" in value or len(value) > LENGTHS[name]:
            raise ValidationError({name: f"Write a text of at most {LENGTHS[name]:,} characters."})


def check_values(deployment: Deployment) -> None:
    """Raise ValidationError (`parameters.<name>`) for values that the flow does not take."""
    check_parameters(deployment.parameter_schema, deployment.parameters, partial=True)


def _checked_spec(deployment: Deployment, spec: Spec, prefix: str = "") -> Spec:
    """Return a schedule in its normal form, with its calendar. Raises ValidationError, its fields after `prefix`."""
    try:
        spec = with_calendar(spec, deployment.team_id).clean()
        check_parameters(deployment.parameter_schema, dict(spec.parameters), partial=True)
    except ValidationError as error:
        raise ValidationError({f"{prefix}{name}": messages for name, messages in error.message_dict.items()}) from None
    return spec


def _check_name_is_free(deployment: Deployment) -> None:
    taken = Deployment.objects.filter(flow=deployment.flow, slug=slug_of(deployment.name)).exclude(pk=deployment.pk)
    if taken.exists():
        raise ValidationError(
            {"name": f"The flow has a deployment called “{deployment.name}” already. Choose another name."}
        )


def as_stored(team: Team, name: str, value: Any, user: User | None) -> Any:
    """Return what a field of a deployment holds for a value, which may be a name."""
    if name == "queue":
        return queue_named(team, value, user)
    return infrastructure_named(team, value, user) if name == "infrastructure" else value


def locked_deployment(deployment: Deployment) -> Deployment:
    """Lock a deployment's row and read it anew, with flow, team and queue. In a transaction."""
    # NO KEY: a tick that inserts runs of it while it waits for nothing else must not wait for this lock.
    locked = Deployment.objects.select_for_update(of=("self",), no_key=True)
    return locked.select_related("flow", "team", "queue", "infrastructure").get(pk=deployment.pk)


def queue_named(team: Team, queue: Any, user: User | None = None) -> WorkQueue:
    """The team's queue of this name, made when it is missing. Raises Refused where the user may not make one."""
    if isinstance(queue, WorkQueue):
        if queue.team_id != team.pk:
            raise ValidationError({"queue": f"The queue “{queue.name}” is of another team than {team}."})
        return queue
    if not isinstance(queue, str) or not queue.strip() or len(queue) > 100:
        raise ValidationError({"queue": "Write the name of a work queue, 1 to 100 characters."})
    found = WorkQueue.objects.filter(team=team, name=queue.strip()).first()
    if found is None:
        require(user, Level.EDIT, team)
        found, is_new = WorkQueue.objects.get_or_create(team=team, name=queue.strip())
        if is_new and user is not None:
            audit.record(user, "work_queue.create", found)
    return found
