"""Forms about a deployment: run it, change it, duplicate it, delete it. What was typed is never lost."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect, render

from flows import time_limits
from flows.models import Collision, Deployment, WorkQueue
from orchestrator.sdk.infrastructure.in_worker import InWorker
from runs import actions
from runs.models import FlowRun, Trigger
from runs.parameter_form import fields_of, read
from runs.views.deployment_page import deployment_of
from runs.views.infrastructure_field import (
    infrastructure_choices,
    override_fields,
    read_infrastructure,
    read_overrides,
)
from runs.views.run_list import _uuid as uuid_of
from runs.views.runner_field import read_runner, runner_field
from runs.views.time_limit_fields import read_time_limits, time_limit_fields
from runs.views.typed import read_whole
from teams.lost_updates import saving

Errors = dict[str, list[str]]


def messages_of(error: ValidationError) -> Errors:
    """The messages by field; those of no field under the empty name."""
    return dict(error.message_dict) if hasattr(error, "error_dict") else {"": list(error.messages)}


def _general(errors: Mapping[str, list[str]], fields: set[str]) -> list[str]:
    """What cannot be said beside a field."""
    return [
        message
        for name, found in errors.items()
        if name not in fields and not name.startswith(("parameters.", "infrastructure_overrides."))
        for message in found
    ]


def _parameter_errors(errors: Mapping[str, list[str]]) -> Errors:
    return {name: found for name, found in errors.items() if name.startswith("parameters.")}


@login_required
def run(request: HttpRequest, deployment_id: UUID) -> HttpResponse:
    """Run it now, with parameters in a form made from the flow's annotations; `?from=` begins with a run's."""
    deployment = deployment_of(request.user, deployment_id)
    schema = deployment.parameter_schema
    context: dict[str, Any] = {"deployment": deployment}
    if request.method == "POST":
        filled = read(schema, request.POST)
        errors: Errors = filled.errors
        if not errors:
            try:
                made, _ = actions.create_flow_run(
                    deployment,
                    parameters=filled.values,
                    trigger=Trigger.PERSON,
                    infrastructure_overrides=read_overrides(deployment, request.POST, request.user),
                    user=request.user,
                )
            except ValidationError as error:
                errors = messages_of(error)
            else:
                messages.success(request, f"{made.name} starts as soon as a worker has a free place.")
                return redirect("run", made.id)
        context |= {
            "fields": fields_of(schema, {}, request.POST, _parameter_errors(errors) or filled.errors),
            "overrides": override_fields(deployment, request.POST, errors, of_run={}, user=request.user),
            "errors": _general(errors, set(filled.errors)),
        }
        return render(request, "flows/deployment_run.html", context, status=422)
    begin, begin_overrides = dict(deployment.parameters), {}
    if source := _source(request, deployment):
        begin |= source.parameters
        begin_overrides = source.infrastructure_overrides or {}
        context["source"] = source
    context["fields"] = fields_of(schema, begin)
    context["overrides"] = override_fields(deployment, of_run=begin_overrides, user=request.user)
    return render(request, "flows/deployment_run.html", context)


def _source(request: HttpRequest, deployment: Deployment) -> FlowRun | None:
    """The run whose parameters the form begins with."""
    id = uuid_of(request.GET.get("from", ""))
    return FlowRun.objects.visible_to(request.user).filter(id=id, deployment=deployment).first() if id else None


_SHOWN = ("description", "tags", "queue", "infrastructure", "task_runner", "crash_retries", "limit", "collision")


@login_required
def edit(request: HttpRequest, deployment_id: UUID) -> HttpResponse:
    """Change what people set of it: words, tags, queue, limit, infrastructure, time limits, parameters and the like."""
    deployment = deployment_of(request.user, deployment_id)
    if request.method != "POST":
        return render(request, "flows/deployment_edit.html", {**_offered(deployment), **_as_it_is(deployment)})
    filled = read(deployment.parameter_schema, request.POST, partial=True)
    errors: Errors = filled.errors or _saved(request, deployment, filled.values)
    if errors:
        context = {**_offered(deployment), **_as_typed(deployment, request.POST, errors, filled.errors)}
        return render(request, "flows/deployment_edit.html", context, status=422)
    messages.success(request, "Saved.")
    return redirect("deployment", deployment.id)


def _saved(request: HttpRequest, deployment: Deployment, parameters: dict[str, Any]) -> Errors:
    """Change a deployment as the form says; return what is wrong with that, where nothing was changed."""
    typed = request.POST
    try:
        with saving(request, deployment):
            actions.update_deployment(
                deployment,
                user=request.user,
                description=typed.get("description", "").replace("\r\n", "\n"),
                tags=typed.get("tags", "").split(","),
                queue=typed.get("queue", ""),
                **read_infrastructure(deployment, typed),
                task_runner=read_runner(typed, deployment.task_runner),
                crash_retries=_number(typed.get("crash_retries", str(deployment.crash_retries))),
                limit=read_whole(typed.get("limit", str(deployment.limit or "")), "limit"),
                collision=typed.get("collision", deployment.collision),
                **read_time_limits(typed),
                parameters=parameters,
            )
    except ValidationError as error:
        return messages_of(error)
    return {}


def _offered(deployment: Deployment) -> dict[str, Any]:
    return {
        "deployment": deployment,
        "queues": WorkQueue.objects.filter(team=deployment.team).order_by("name"),
        "infrastructures": infrastructure_choices(deployment),
        "collisions": Collision.choices,
        "in_worker_risk": InWorker.risk,
    }


def _as_it_is(deployment: Deployment) -> dict[str, Any]:
    return {
        "shown": {
            "description": deployment.description,
            "tags": ", ".join(deployment.tags),
            "queue": deployment.queue.name,
            "infrastructure": deployment.infrastructure_name,
            "crash_retries": deployment.crash_retries,
            "limit": "" if deployment.limit is None else deployment.limit,
            "collision": deployment.collision,
        },
        "time_limits": time_limit_fields(deployment),
        "runner": runner_field(deployment.task_runner),
        "overrides": override_fields(deployment),
        "fields": fields_of(deployment.parameter_schema, deployment.parameters, partial=True),
    }


def _as_typed(deployment: Deployment, typed: QueryDict, errors: Errors, of_parameters: Errors) -> dict[str, Any]:
    """What was typed, with what is wrong beside it."""
    wrong = _parameter_errors(errors) or of_parameters
    return {
        "shown": {name: typed.get(name, "") for name in _SHOWN},
        "wrong": {name: errors.get(name, []) for name in _SHOWN},
        "fields": fields_of(deployment.parameter_schema, {}, typed, wrong, partial=True),
        "time_limits": time_limit_fields(deployment, typed, errors),
        "runner": runner_field(read_runner(typed, deployment.task_runner)),
        "overrides": override_fields(deployment, typed, errors),
        "errors": _general(errors, {*_SHOWN, *time_limits.DEFAULTS, *of_parameters}),
    }


def _number(text: str) -> int | None:
    """Return the number that was typed, None for what is none; nothing typed is zero."""
    text = text.strip()
    return int(text or 0) if not text or (text.isdecimal() and len(text) < 10) else None


@login_required
def duplicate(request: HttpRequest, deployment_id: UUID) -> HttpResponse:
    """Make another deployment like it, with other parameters."""
    deployment = deployment_of(request.user, deployment_id)
    schema = deployment.parameter_schema
    if request.method == "POST":
        filled = read(schema, request.POST, partial=True)
        errors: Errors = filled.errors
        name = request.POST.get("name", "")
        if not errors:
            try:
                copy = actions.duplicate_deployment(deployment, name=name, parameters=filled.values, user=request.user)
            except ValidationError as error:
                errors = messages_of(error)
            else:
                copied = (
                    "Its schedules are copied but not active: switch on what you want."
                    if copy.schedules.exists()
                    else ""
                )
                messages.success(request, f"{copy.name} is made. {copied}".strip())
                return redirect("deployment", copy.id)
        context = {
            "deployment": deployment,
            "name": name,
            "wrong": {"name": errors.get("name", [])},
            "fields": fields_of(schema, {}, request.POST, _parameter_errors(errors) or filled.errors, partial=True),
            "errors": _general(errors, {"name", *filled.errors}),
        }
        return render(request, "flows/deployment_duplicate.html", context, status=422)
    context = {
        "deployment": deployment,
        "name": f"{deployment.name}-copy",
        "fields": fields_of(schema, deployment.parameters, partial=True),
    }
    return render(request, "flows/deployment_duplicate.html", context)


@login_required
def delete(request: HttpRequest, deployment_id: UUID) -> HttpResponse:
    """Ask, then delete it."""
    deployment = deployment_of(request.user, deployment_id)
    if request.method == "POST":
        name = deployment.full_name
        actions.delete_deployment(deployment, user=request.user)
        messages.success(request, f"{name} is deleted. Its runs are kept.")
        return redirect("deployments")
    return render(request, "flows/deployment_delete.html", {"deployment": deployment})
