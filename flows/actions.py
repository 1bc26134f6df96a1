"""Verbs on flows, deployments and schedules; those on calendars are in `calendar_actions`.

They know nothing of runs: whoever changes what runs from a schedule calls the verb of the same name in `runs.actions`,
which also brings the upcoming runs into line.
"""

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils import timezone

from flows import time_limits
from flows.models import (
    DEFAULT_QUEUE,
    Calendar,
    Collision,
    Deployment,
    Flow,
    Isolation,
    OnOverrun,
    Schedule,
    WorkQueue,
    slug_of,
)
from flows.parameters import check_parameters, check_schema, missing_parameters, unknown_parameters
from flows.schedules import Spec
from flows.time_limits import check_time_limits
from teams.models import Team, User

Changes = dict[str, list[Any]]
# Fields that a declaration and a person may both set, compared as a whole.
_SHARED = (
    "description", "entrypoint", "directory", "version", "tags", "queue", "isolation", "crash_retries",
    *time_limits.DEFAULTS,
)  # fmt: skip
# By declarations from before there were such fields.
_ALWAYS_DECLARED = {"isolation": Isolation.PROCESS.value, "crash_retries": 0, **time_limits.DEFAULTS}
MAX_SCHEDULES = 100
MAX_TAGS = 100
MAX_LIMIT = 10_000
MAX_CRASH_RETRIES = 100


@dataclass(frozen=True, slots=True)
class Declaration:
    """What the author of a deployment says about it: `orchestrator deploy`, or a POST to the API.

    Attributes:
        flow_name: The flow, made when it is new.
        name: The deployment's own name.
        entrypoint: `path/to/file.py:function`, or `package.module:function`.
        directory: The working directory of its runs.
        parameters: Values for the flow's parameters; a run may add to them.
        parameter_schema: JSON schema of the flow's parameters.
        queue: The name of its work queue, made when it is new.
        isolation: One of `Isolation`: where its runs execute.
        crash_retries: How many times in a row a run that crashed is run again.
        late_after_seconds: A run that has not begun this long after its time is Late; None: the server's setting.
        expected_seconds: How long a run should take at most; None: not watched. `on_overrun`: one of `OnOverrun`.
        deadline_seconds: When a run should have ended, after its time; None: not watched. `on_deadline` as above.
        schedules: None when nothing was said: those that are there stay.
    """

    flow_name: str
    name: str
    entrypoint: str
    directory: str = ""
    version: str = ""
    description: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    parameter_schema: Mapping[str, Any] = field(default_factory=dict)
    tags: Sequence[str] = ()
    queue: str = DEFAULT_QUEUE
    isolation: str = Isolation.PROCESS.value
    crash_retries: int = 0
    late_after_seconds: int | None = None
    expected_seconds: int | None = None
    on_overrun: str = OnOverrun.NOTHING.value
    deadline_seconds: int | None = None
    on_deadline: str = OnOverrun.NOTHING.value
    schedules: Sequence[Spec] | None = None

    def as_json(self) -> dict[str, Any]:
        """What the next declaration is compared with."""
        shared = {name: getattr(self, name) for name in _SHARED}
        schedules = None if self.schedules is None else [spec.as_json() for spec in self.schedules]
        return {**shared, "tags": list(self.tags), "parameters": dict(self.parameters), "schedules": schedules}


def deploy(*, team: Team, user: User | None, declaration: Declaration) -> tuple[Deployment, Changes]:
    """Make a deployment, or bring it into line with what its author changed.

    A three-way comparison: what was declared last, what is declared now, and what is there. A field (each parameter for
    itself, all schedules together) that the author changed since the last time is set; any other keeps what was set in
    the browser meanwhile. The parameter schema is always the new one; parameters that the flow no longer takes go.

    Returns:
        The deployment and what changed, `{field: [old, new]}`; `name` is among them (`[None, name]`) when it is new.

    Raises:
        ValidationError: By field.

    Locks the deployment's row.
    """
    declaration = _checked(declaration)
    with transaction.atomic():
        deployment, is_new = _get_or_make(team, user, declaration)
        before = _state_of(deployment)
        declared = {} if is_new else {**_ALWAYS_DECLARED, **deployment.declared}
        _take_fields(deployment, declared, declaration)
        deployment.parameters = _merged_parameters(deployment, declared.get("parameters", {}), declaration)
        _check_values(deployment)
        specs = _merged_schedules(declared, declaration)
        deployment.declared = _remembered(declared, declaration)
        deployment.save()
        if specs is not None:
            replace_schedules(deployment, specs)
        check_ready_for_schedules(deployment)
        changes = _differences({} if is_new else before, _state_of(deployment))
        return deployment, {"name": [None, deployment.name], **changes} if is_new else changes


def set_elsewhere(deployment: Deployment) -> list[str]:
    """Return the fields (`queue`, `parameters.limit`, `schedules` …) that are not as they were declared last.

    Somebody set them in the browser or by another verb, and declaring them again leaves them (reads the schedules).
    """
    declared, there = deployment.declared, _state_of(deployment)
    if not declared:
        return []
    wanted = {name: declared.get(name, there[name]) for name in _SHARED}
    wanted["tags"] = checked_tags(wanted["tags"])
    said, has = declared.get("parameters", {}), there["parameters"]
    return [
        *(name for name in _SHARED if there[name] != wanted[name]),
        *(f"parameters.{name}" for name in sorted({*said, *has}) if said.get(name, ...) != has.get(name, ...)),
        *(["schedules"] if _other_schedules(deployment, declared.get("schedules") or []) else []),
    ]


def _other_schedules(deployment: Deployment, declared: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a deployment has other schedules than these, in any order."""
    left = _specs(deployment)
    for spec in map(Spec.from_json, declared):
        with contextlib.suppress(ValidationError):  # it has no time to come any more: it stands as it was written
            spec = with_calendar(spec, deployment.team_id).clean()
        if spec not in left:
            return True
        left.remove(spec)
    return bool(left)


def update_deployment(deployment: Deployment, *, user: User | None = None, **changes: Any) -> Deployment:
    """Change a deployment: its name, description, parameters, tags, queue (by name), isolation, entrypoint, directory
    or version.

    Also `crash_retries`, how many times in a row a run that crashed is run again, `limit`, how many of its runs may be
    in progress at once (None: as many as there are places), and `collision`, what becomes of one more;
    and its time limits (`flows.time_limits`).

    Raises:
        ValidationError: By field; for a name that is taken, too.

    Locks the deployment's row. What is set here stays when the same thing is declared again.
    """
    allowed = {"name", "parameters", "limit", "collision", *_SHARED}
    if unknown := sorted(set(changes) - allowed):
        raise ValidationError(
            {unknown[0]: f"A deployment has no “{unknown[0]}” to change. It has {', '.join(allowed)}."}
        )
    with transaction.atomic():
        deployment = _locked(deployment)
        for name, value in changes.items():
            setattr(deployment, name, _queue(deployment.team, value) if name == "queue" else value)
        _check_texts({name: value for name, value in changes.items() if name in _LENGTHS})
        deployment.tags = checked_tags(deployment.tags)
        check_limit(deployment.limit)
        check_isolation(deployment.isolation)
        check_crash_retries(deployment.crash_retries)
        check_time_limits(deployment)
        if deployment.collision not in Collision.values:
            raise ValidationError({"collision": f"Write {' or '.join(Collision.values)}."})
        _check_values(deployment)
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
        specs = _specs(deployment)
        copied = (
            "team", "flow", "queue", "description", "entrypoint", "directory", "version", "parameter_schema", "limit",
            "collision", "isolation", "crash_retries", *time_limits.DEFAULTS,
        )  # fmt: skip
        copy = Deployment(name=checked_name("name", name), created_by=user, tags=list(deployment.tags))
        for attribute in copied:
            setattr(copy, attribute, getattr(deployment, attribute))
        copy.parameters = {**deployment.parameters, **(parameters or {})}
        _check_values(copy)
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
        deployment = _locked(deployment)
        if deployment.schedules.count() >= MAX_SCHEDULES:
            raise ValidationError(f"A deployment has at most {MAX_SCHEDULES} schedules.")
        schedule = Schedule.objects.create(deployment=deployment, **_checked_spec(deployment, spec).fields())
        check_ready_for_schedules(deployment)
        return schedule


def change_schedule(schedule: Schedule, *, user: User | None = None, **changes: Any) -> Schedule:
    """Change fields of a schedule (those of `Spec`). Raises ValidationError by field."""
    with transaction.atomic():
        deployment = _locked(schedule.deployment)
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


def _specs(deployment: Deployment) -> list[Spec]:
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


_LENGTHS = {"entrypoint": 1000, "directory": 1000, "version": 200, "description": 100_000}


def _checked(declaration: Declaration) -> Declaration:
    """Raise ValidationError, by field, for a declaration that cannot be; else return it in its normal form."""
    checked_name("flow_name", declaration.flow_name)
    checked_name("name", declaration.name)
    _check_texts({name: getattr(declaration, name) for name in _LENGTHS})
    if not declaration.entrypoint.rpartition(":")[0]:
        raise ValidationError(
            {"entrypoint": f"“{declaration.entrypoint}” names no function. Write path/to/file.py:function."}
        )
    check_schema(dict(declaration.parameter_schema))
    check_parameters(declaration.parameter_schema, declaration.parameters, partial=True)
    checked_tags(declaration.tags)
    check_isolation(declaration.isolation)
    check_crash_retries(declaration.crash_retries)
    check_time_limits(declaration)
    return declaration


def check_limit(limit: Any) -> None:
    """Raise ValidationError (`limit`) for what is no number of runs in progress at once."""
    is_number = isinstance(limit, int) and not isinstance(limit, bool) and 1 <= limit <= MAX_LIMIT
    if limit is not None and not is_number:
        raise ValidationError({"limit": f"Write a number from 1 to {MAX_LIMIT:,}, or nothing for no limit."})


def check_isolation(isolation: Any) -> None:
    """Raise ValidationError (`isolation`) for what is none of the two."""
    if isolation not in Isolation.values:
        raise ValidationError({"isolation": f"Write {' or '.join(Isolation.values)}."})


def check_crash_retries(retries: Any) -> None:
    """Raise ValidationError (`crash_retries`) for what is no count of runs after a crash."""
    is_number = isinstance(retries, int) and not isinstance(retries, bool) and 0 <= retries <= MAX_CRASH_RETRIES
    if not is_number:
        raise ValidationError({"crash_retries": f"Write a number from 0 to {MAX_CRASH_RETRIES}."})


def checked_name(name: str, value: Any) -> str:
    """Return a name of a flow, deployment or calendar. Raises ValidationError (`name`)."""
    if not isinstance(value, str) or not value.strip() or len(value) > 200:
        raise ValidationError({name: "Write a name of 1 to 200 characters."})
    if "/" in value or not value.isprintable():
        raise ValidationError({name: f"“{value}” cannot be a name: leave out / and control characters."})
    return value.strip()


def _check_texts(values: Mapping[str, Any]) -> None:
    for name, value in values.items():
        if not isinstance(value, str) or "\0" in value or len(value) > _LENGTHS[name]:
            raise ValidationError({name: f"Write a text of at most {_LENGTHS[name]:,} characters."})


def _check_values(deployment: Deployment) -> None:
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


def _locked(deployment: Deployment) -> Deployment:
    # NO KEY: a tick that inserts runs of it while it waits for nothing else must not wait for this lock.
    locked = Deployment.objects.select_for_update(of=("self",), no_key=True)
    return locked.select_related("flow", "team", "queue").get(pk=deployment.pk)


def _get_or_make(team: Team, user: User | None, declaration: Declaration) -> tuple[Deployment, bool]:
    """Return the locked deployment of this name, whether `_` or `-` is written, and whether it is new."""
    flow, _ = Flow.objects.get_or_create(
        team=team, slug=slug_of(declaration.flow_name), defaults={"name": declaration.flow_name}
    )
    deployment, is_new = Deployment.objects.get_or_create(
        flow=flow,
        slug=slug_of(declaration.name),
        defaults={
            "name": declaration.name,
            "team": team,
            "created_by": user,
            "entrypoint": declaration.entrypoint,
            "queue": _queue(team, declaration.queue),
        },
    )
    return _locked(deployment), is_new


def _queue(team: Team, queue: Any) -> WorkQueue:
    """The team's queue of this name, made when it is missing."""
    if isinstance(queue, WorkQueue):
        return queue
    if not isinstance(queue, str) or not queue.strip() or len(queue) > 100:
        raise ValidationError({"queue": "Write the name of a work queue, 1 to 100 characters."})
    return WorkQueue.objects.get_or_create(team=team, name=queue.strip())[0]


def _state_of(deployment: Deployment) -> dict[str, Any]:
    """What a person sees of a deployment, to tell what a deploy changed (reads its schedules and its queue)."""
    schedules = [spec.as_json() for spec in _specs(deployment)]
    shared = {name: getattr(deployment, name) for name in _SHARED}
    own = {"parameters": deployment.parameters, "parameter_schema": deployment.parameter_schema}
    return {**shared, **own, "queue": deployment.queue.name, "schedules": schedules}


def _take_fields(deployment: Deployment, declared: dict[str, Any], declaration: Declaration) -> None:
    """Set the fields that the author changed since the last declaration."""
    said = declaration.as_json()
    for name in _SHARED:
        if name not in declared or said[name] != declared[name]:
            value = _queue(deployment.team, said[name]) if name == "queue" else said[name]
            setattr(deployment, name, checked_tags(value) if name == "tags" else value)
    deployment.parameter_schema = dict(declaration.parameter_schema)


def _merged_parameters(deployment: Deployment, declared: Mapping[str, Any], declaration: Declaration) -> dict[str, Any]:
    """The parameters that are there, with what the author added, changed or took away since the last declaration."""
    merged = dict(deployment.parameters)
    for name in {**declared, **declaration.parameters}:
        if name not in declaration.parameters:
            merged.pop(name, None)
        elif name not in declared or declared[name] != declaration.parameters[name]:
            merged[name] = declaration.parameters[name]
    for name in unknown_parameters(declaration.parameter_schema, list(merged)):
        del merged[name]
    return merged


def _merged_schedules(declared: dict[str, Any], declaration: Declaration) -> Sequence[Spec] | None:
    """The schedules that replace those that are there; None when the author said nothing new about them."""
    said, before = declaration.schedules, declared.get("schedules")
    # As values: what an earlier version wrote down lacks the fields that it did not know.
    if said is None or (before is not None and list(said) == [Spec.from_json(spec) for spec in before]):
        return None
    return said


def _remembered(declared: dict[str, Any], declaration: Declaration) -> dict[str, Any]:
    """What to compare the next declaration with; schedules of which nothing was said keep what was said before."""
    said = declaration.as_json()
    return said if said["schedules"] is not None else {**said, "schedules": declared.get("schedules")}


def _differences(before: dict[str, Any], after: dict[str, Any]) -> Changes:
    return {name: [before.get(name), value] for name, value in after.items() if before.get(name) != value}
