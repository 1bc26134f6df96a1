"""Declarations: what the author of a deployment says of it, laid over what is there and what people set meanwhile."""

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction

from flows import time_limits
from flows.actions import (
    LENGTHS,
    SHARED,
    as_stored,
    check_collision,
    check_crash_retries,
    check_limit,
    check_ready_for_schedules,
    check_task_runner,
    check_texts,
    check_values,
    checked_name,
    checked_tags,
    locked_deployment,
    queue_named,
    replace_schedules,
    specs_of,
    with_calendar,
)
from flows.infrastructure import checked_overrides, left_open
from flows.models import DEFAULT_QUEUE, PROCESS, Collision, Deployment, Flow, OnOverrun, slug_of
from flows.parameters import check_parameters, check_schema, unknown_parameters
from flows.schedules import Spec
from flows.sources import check_is_stored, checked_source
from flows.time_limits import check_time_limits
from flows.version_actions import keep_version, state_of
from teams.models import Team, User

Changes = dict[str, list[Any]]
# By declarations from before there were such fields.
_ALWAYS_DECLARED = {
    "infrastructure": PROCESS, "infrastructure_overrides": {}, "crash_retries": 0, "task_runner": "",
    "limit": None, "collision": Collision.WAIT.value,
    **time_limits.DEFAULTS,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Declaration:
    """What the author of a deployment says about it: `orchestrator deploy`, or a POST to the API.

    Attributes:
        flow_name: The flow, made when it is new.
        name: The deployment's own name.
        entrypoint: `path/to/file.py:function`, or `package.module:function`.
        directory: The working directory of its runs.
        source: Where its code is (`orchestrator.sdk.sources`); empty: a path on the worker.
        parameters: Values for the flow's parameters; a run may add to them.
        parameter_schema: JSON schema of the flow's parameters.
        queue: The name of its work queue, made when it is new.
        infrastructure: Where its runs execute: the name of a block, or `process`.
        infrastructure_overrides: Values instead of the block's, of fields that it opens.
        crash_retries: How many times in a row a run that crashed is run again.
        task_runner: Where submitted tasks of its runs execute, by name; empty: as the code says.
        late_after_seconds: A run that has not begun this long after its time is Late; None: the server's setting.
        expected_seconds: How long a run should take at most; None: not watched. `on_overrun`: one of `OnOverrun`.
        deadline_seconds: When a run should have ended, after its time; None: not watched. `on_deadline` as above.
        limit: How many of its runs may be in progress at once; None: as many as there are places.
        collision: One of `Collision`: what becomes of one more.
        project: The name of the file of declarations that it stands in; None: this says nothing of that.
        schedules: None when nothing was said: those that are there stay.
    """

    flow_name: str
    name: str
    entrypoint: str
    directory: str = ""
    source: Mapping[str, Any] = field(default_factory=dict)
    version: str = ""
    description: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    parameter_schema: Mapping[str, Any] = field(default_factory=dict)
    tags: Sequence[str] = ()
    queue: str = DEFAULT_QUEUE
    infrastructure: str = PROCESS
    infrastructure_overrides: Mapping[str, Any] = field(default_factory=dict)
    crash_retries: int = 0
    task_runner: str = ""
    late_after_seconds: int | None = None
    expected_seconds: int | None = None
    on_overrun: str = OnOverrun.NOTHING.value
    deadline_seconds: int | None = None
    on_deadline: str = OnOverrun.NOTHING.value
    limit: int | None = None
    collision: str = Collision.WAIT.value
    project: str | None = None
    schedules: Sequence[Spec] | None = None

    def as_json(self) -> dict[str, Any]:
        """What the next declaration is compared with."""
        shared = {name: getattr(self, name) for name in SHARED}
        schedules = None if self.schedules is None else [spec.as_json() for spec in self.schedules]
        own = {"parameters": dict(self.parameters), "infrastructure_overrides": dict(self.infrastructure_overrides)}
        return {**shared, **own, "tags": list(self.tags), "schedules": schedules}


def deploy(
    *, team: Team, user: User | None, declaration: Declaration, is_trial: bool = False
) -> tuple[Deployment, Changes]:
    """Make a deployment, or bring it into line with what its author changed.

    A three-way comparison: what was declared last, what is declared now, and what is there. A field (each parameter for
    itself, all schedules together) that the author changed since the last time is set; any other keeps what was set in
    the browser meanwhile. Source and parameter schema are always the new ones; parameters that the flow no longer takes
    go.

    Args:
        team: Whose a new one will be.
        user: Who deploys.
        declaration: What is said of it.
        is_trial: It will be undone: its snapshot need not be stored yet.

    Returns:
        The deployment and what changed, `{field: [old, new]}`; `name` is among them (`[None, name]`) when it is new.

    Raises:
        ValidationError: By field.

    Locks the deployment's row.
    """
    declaration = _checked(declaration)
    with transaction.atomic():
        if not is_trial:
            check_is_stored(team, declaration.source)
        deployment, is_new = _get_or_make(team, user, declaration)
        before = state_of(deployment)
        declared = {} if is_new else {**_ALWAYS_DECLARED, **deployment.declared}
        _take_fields(deployment, declared, declaration, user)
        deployment.parameters = _merged_parameters(deployment, declared.get("parameters", {}), declaration)
        check_values(deployment)
        specs = _merged_schedules(declared, declaration)
        deployment.declared = _remembered(declared, declaration)
        deployment.save()
        if specs is not None:
            replace_schedules(deployment, specs)
        check_ready_for_schedules(deployment)
        changes = _differences({} if is_new else before, after := state_of(deployment))
        if changes:
            _keep_versions(deployment, None if is_new else before, after, user)
        return deployment, {"name": [None, deployment.name], **changes} if is_new else changes


def _keep_versions(
    deployment: Deployment, before: dict[str, Any] | None, after: dict[str, Any], user: User | None
) -> None:
    """Keep what a deployment is now as a version; before its first one also what it was, to go back to."""
    if before is not None and not deployment.code_version:
        keep_version(deployment, before, deployment.created_by)
    keep_version(deployment, after, user)
    deployment.save(update_fields=["code_version"])


def set_elsewhere(deployment: Deployment) -> list[str]:
    """Return the fields (`queue`, `parameters.limit`, `schedules` …) that are not as they were declared last.

    Somebody set them in the browser or by another verb, and declaring them again leaves them (reads the schedules).
    """
    declared, there = deployment.declared, state_of(deployment)
    if not declared:
        return []
    wanted = {name: declared.get(name, there[name]) for name in SHARED}
    wanted["tags"] = checked_tags(wanted["tags"])
    said, has = declared.get("parameters", {}), there["parameters"]
    return [
        *(name for name in SHARED if there[name] != wanted[name]),
        *(f"parameters.{name}" for name in sorted({*said, *has}) if said.get(name, ...) != has.get(name, ...)),
        *(["schedules"] if _other_schedules(deployment, declared.get("schedules") or []) else []),
    ]


def _other_schedules(deployment: Deployment, declared: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a deployment has other schedules than these, in any order."""
    left = specs_of(deployment)
    for spec in map(Spec.from_json, declared):
        with contextlib.suppress(ValidationError):  # it has no time to come any more: it stands as it was written
            spec = with_calendar(spec, deployment.team_id).clean()
        if spec not in left:
            return True
        left.remove(spec)
    return bool(left)


def _checked(declaration: Declaration) -> Declaration:
    """Raise ValidationError, by field, for a declaration that cannot be; else return it in its normal form."""
    checked_name("flow_name", declaration.flow_name)
    checked_name("name", declaration.name)
    check_texts({name: getattr(declaration, name) for name in LENGTHS})
    if not declaration.entrypoint.rpartition(":")[0]:
        raise ValidationError(
            {"entrypoint": f"“{declaration.entrypoint}” names no function. Write path/to/file.py:function."}
        )
    check_task_runner(declaration.task_runner)
    check_schema(dict(declaration.parameter_schema))
    declaration = replace(declaration, source=checked_source(declaration))
    check_parameters(declaration.parameter_schema, declaration.parameters, partial=True)
    checked_tags(declaration.tags)
    check_crash_retries(declaration.crash_retries)
    check_limit(declaration.limit)
    check_collision(declaration.collision)
    if declaration.project:
        checked_name("project", declaration.project)
    check_time_limits(declaration)
    return declaration


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
            "queue": queue_named(team, declaration.queue, user),
        },
    )
    return locked_deployment(deployment), is_new


def _take_fields(deployment: Deployment, declared: dict[str, Any], declaration: Declaration, user: User | None) -> None:
    """Set the fields that the author changed since the last declaration."""
    said, changed = declaration.as_json(), set()
    for name in SHARED:
        if name not in declared or said[name] != declared[name]:
            value = as_stored(deployment.team, name, said[name], user)
            setattr(deployment, name, checked_tags(value) if name == "tags" else value)
            changed.add(name)
    if "infrastructure" in changed and "infrastructure_overrides" not in changed:
        deployment.infrastructure_overrides = left_open(deployment.infrastructure, deployment.infrastructure_overrides)
    if changed & {"infrastructure", "infrastructure_overrides"}:
        deployment.infrastructure_overrides = checked_overrides(
            deployment.infrastructure, deployment.infrastructure_overrides
        )
    deployment.parameter_schema = dict(declaration.parameter_schema)
    deployment.source = dict(declaration.source)
    if declaration.project is not None:
        deployment.project = declaration.project


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
