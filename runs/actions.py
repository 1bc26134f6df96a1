"""Verbs on flow runs, and those on deployments and schedules that touch upcoming runs.

Each owns its transaction; bells and live pages follow after commit. Pages, API, admin and Celery jobs all call these.
A change of state is a compare-and-set: zero rows changed means that somebody else was first, and the verb says so.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.db.models import F

from flows import actions as flow_actions
from flows import calendar_actions, declarations, version_actions
from flows.actions import checked_tags
from flows.declarations import Changes, Declaration
from flows.infrastructure import checked_overrides, editors_alone
from flows.models import Calendar, Deployment, Schedule
from flows.parameters import check_parameters, merge
from flows.schedules import Spec
from orchestrator.sdk.names import generate_name
from orchestrator.sdk.states import FINAL, StateType
from runs import backfill as backfilling
from runs import bells, scheduled_runs, scheduling
from runs.announcements import announce_on_commit
from runs.clock import database_now
from runs.endings import settle
from runs.models import FlowRun, Trigger
from teams.models import Team, User
from teams.rights import Level, Refused, require
from teams.verbs import verb

CONFLICT = "conflict"  # the code of a ValidationError about the state that a run is in
RETRYABLE = (StateType.FAILED, StateType.CRASHED, StateType.CANCELLED)
# What upcoming runs carry of their deployment: when it changes, they are made anew.
CARRIED = {"parameters", "tags", "queue", "version", "entrypoint", "schedules"}
_MAX_KEY = 200


@verb("flow_run.create", Level.RUN)
def create_flow_run(
    deployment: Deployment,
    *,
    parameters: Mapping[str, Any] | None = None,
    trigger: Trigger,
    user: User | None = None,
    idempotency_key: str | None = None,
    name: str | None = None,
    tags: Iterable[str] | None = None,
    expected_start: datetime | None = None,
    infrastructure_overrides: Mapping[str, Any] | None = None,
) -> tuple[FlowRun, bool]:
    """Make a run of a deployment, due now or at a time. A paused deployment can be run too.

    Args:
        parameters: Laid over the deployment's own, name by name.
        idempotency_key: A second call with the same key returns the run of the first.
        tags: Beside the deployment's own.
        expected_start: When it is due (aware); now by default.
        infrastructure_overrides: Values for this run alone, of fields that the deployment's block opens.

    Returns:
        The run, and whether it was made now.

    Raises:
        Refused: An override says which code executes, or with what power, and the user may not change the deployment.
        ValidationError: By `parameters.<name>` and `infrastructure_overrides.<name>`; by `idempotency_key` when it
            belongs to a run of another deployment.
    """
    key = _checked_key(idempotency_key)
    if existing := _run_of_key(deployment, key):
        return existing, False
    merged = (
        merge(deployment.parameters, parameters or {})
        if parameters is None or isinstance(parameters, Mapping)
        else parameters
    )
    check_parameters(deployment.parameter_schema, merged)
    now = database_now()
    run = FlowRun(
        **scheduled_runs.inherited(deployment),
        name=(name or generate_name())[:200],
        parameters=merged,
        tags=checked_tags([*deployment.tags, *(tags or ())]),
        trigger=trigger,
        created_by=user,
        idempotency_key=key,
        state_time=now,
        expected_start=expected_start or now,
        infrastructure_overrides=_checked_overrides(deployment, infrastructure_overrides, user),
    )
    return _insert(run, deployment, at=expected_start)


def _insert(run: FlowRun, deployment: Deployment, at: datetime | None) -> tuple[FlowRun, bool]:
    """Insert a run and ring its queue; the run that has its key already, where another request was first."""
    try:
        # A savepoint is for what another request with the same key did meanwhile: without a key nothing can.
        with transaction.atomic(savepoint=run.idempotency_key is not None):
            run.save(force_insert=True)
            announce_on_commit([run.pk])
            if not run.queue.paused:  # resuming it rings
                bells.ring(run.queue, at)
    except IntegrityError:
        existing = _run_of_key(deployment, run.idempotency_key)
        if existing is None:
            raise
        return existing, False
    return run, True


def _checked_overrides(
    deployment: Deployment, overrides: Mapping[str, Any] | None, user: User | None
) -> dict[str, Any] | None:
    if not overrides:
        return None
    checked = checked_overrides(deployment.infrastructure, overrides)
    beyond = editors_alone(deployment.infrastructure, checked)
    if beyond and user is not None and user.level_on(deployment) < Level.EDIT:
        raise Refused(
            f"Overriding {', '.join(beyond)} for a run says which code executes, or with what power. It takes the role"
            " editor, and a token that may edit. Have an editor start this run, or leave the override out."
        )
    return checked or None


def _checked_key(key: str | None) -> str | None:
    if key is not None and (not isinstance(key, str) or not 1 <= len(key) <= _MAX_KEY or not key.isprintable()):
        raise ValidationError({"idempotency_key": f"Write 1 to {_MAX_KEY} printable characters."})
    return key


def _run_of_key(deployment: Deployment, key: str | None) -> FlowRun | None:
    if key is None:
        return None
    run = FlowRun.objects.filter(team=deployment.team_id, idempotency_key=key).first()
    if run is not None and run.deployment_id != deployment.pk:
        message = f"“{key}” was used for a run of another deployment. Use a new key."
        raise ValidationError({"idempotency_key": ValidationError(message, CONFLICT)})
    return run


@verb("flow_run.cancel", Level.RUN)
def cancel_flow_run(run: FlowRun, *, user: User | None = None, because: str = "") -> FlowRun:
    """Cancel a run: at once where no process has it, else ask its process to stop (CANCELLING).

    A worker hears of it at once (`bells.ring_cancel`) and again when it extends its leases. A script that no worker
    runs is marked in the same way: who brings in its journal knows its process (`Attempt.pid`) and sends the signal.
    Asking twice is harmless.

    Args:
        because: Why, in a sentence that its state's message says.

    Returns:
        The run as it is now.

    Raises:
        ValidationError: The run has ended, or it is a subflow's, which stops with its parent (code `conflict`).
    """
    if run.trigger == Trigger.SUBFLOW:
        raise ValidationError("This run is part of another run, in the same process. Cancel that one.", CONFLICT)
    by = f" by {user}" if user else ""
    with transaction.atomic():
        now = database_now()
        one = FlowRun.objects.filter(pk=run.pk)
        one.select_for_update().values_list("pk").first()  # a worker must not give it back between the two updates
        # A run between two of its own attempts is SCHEDULED too (AwaitingRetry), but has a lease and a process.
        waiting = one.filter(state_type__in=[StateType.SCHEDULED, StateType.PAUSED], lease_expires_at=None)
        ended = waiting.update(
            state_type=StateType.CANCELLED,
            state_name="Cancelled",
            state_message=f"{because} Cancelled{by} while it waited.".strip(),
            state_time=now,
            end_time=now,
            cancel_requested_at=now,
            revision=F("revision") + 1,
        )
        asked = ended or one.exclude(state_type__in=[*FINAL, StateType.CANCELLING]).update(
            state_type=StateType.CANCELLING,
            state_name="Cancelling",
            state_message=f"{because} Asked to stop{by}.".strip(),
            state_time=now,
            cancel_requested_at=now,
            revision=F("revision") + 1,
        )
        run = _fresh(run)
        if run.is_final and not ended:
            raise ValidationError(
                f"This run has ended: it is {run.state_name}. Only a run that goes on can be cancelled.", CONFLICT
            )
        if asked:
            announce_on_commit([run.pk])
        if ended:
            settle([run])
        else:
            bells.ring_cancel(run)
    return run


@verb("flow_run.retry", Level.RUN)
def retry_flow_run(run: FlowRun, *, user: User | None = None) -> FlowRun:
    """Continue the same run as its next attempt, which the claim counts.

    Returns:
        The run, SCHEDULED and due now.

    Raises:
        ValidationError: It has not failed, crashed or been cancelled, or the server cannot start it (code `conflict`).
    """
    with transaction.atomic():
        run = FlowRun.objects.select_for_update(of=("self",)).select_related("deployment__queue", "flow").get(pk=run.pk)
        _check_server_can_start(run)
        if run.state_type not in RETRYABLE:
            advice = "It can be run again, as a new run." if run.is_final else "Wait until it has ended, or cancel it."
            raise ValidationError(
                f"This run is {run.state_name}; only one that did not complete is retried. {advice}", CONFLICT
            )
        now = database_now()
        changed = FlowRun.objects.filter(pk=run.pk, state_type=run.state_type, attempt=run.attempt).update(
            state_type=StateType.SCHEDULED,
            state_name="AwaitingRetry",
            state_message=f"Retried{f' by {user}' if user else ''}.",
            state_time=now,
            expected_start=now,
            end_time=None,
            error=None,
            ended_by="",
            cancel_requested_at=None,
            late_at=None,
            overran_at=None,
            missed_deadline_at=None,
            lease_expires_at=None,
            crashes=0,
            queue=run.deployment.queue,
            revision=F("revision") + 1,
        )
        if not changed:
            raise ValidationError("This run changed a moment ago. Look at it again.", CONFLICT)
        announce_on_commit([run.pk])
        bells.ring(run.deployment.queue)
    return _fresh(run)


@verb("flow_run.rerun", Level.RUN)
def rerun_flow_run(run: FlowRun, *, user: User | None = None, idempotency_key: str | None = None) -> FlowRun:
    """Make a new run with the same parameters and tags, of the same deployment as it is now.

    Args:
        idempotency_key: A second call with the same key returns the run of the first.

    Returns:
        The new run; `rerun_of` is the old one.

    Raises:
        ValidationError: The server cannot start it (code `conflict`), or the flow no longer takes these parameters.
    """
    run = FlowRun.objects.select_related("deployment__queue", "flow").get(pk=run.pk)
    _check_server_can_start(run)
    deployment = run.deployment
    check_parameters(deployment.parameter_schema, run.parameters)
    now = database_now()
    new = FlowRun(
        **scheduled_runs.inherited(deployment),
        name=generate_name(),
        parameters=run.parameters,
        infrastructure_overrides=run.infrastructure_overrides,
        tags=run.tags,
        trigger=Trigger.RERUN,
        rerun_of=run,
        created_by=user,
        idempotency_key=_checked_key(idempotency_key),
        state_time=now,
        expected_start=now,
    )
    return _insert(new, deployment, at=None)[0]


def _check_server_can_start(run: FlowRun) -> None:
    if run.deployment is not None:
        return
    if run.parent_id is not None or run.trigger == Trigger.SUBFLOW:
        raise ValidationError("This run was called by another run. Retry or rerun that one.", CONFLICT)
    if run.trigger == Trigger.SCRIPT:
        raise ValidationError(
            "This run was started by a script, and only the script can start it again. To start it from here, make a"
            f" deployment of its flow: orchestrator deploy {run.entrypoint or 'path/to/file.py:function'} --name NAME.",
            CONFLICT,
        )
    raise ValidationError("The deployment of this run was deleted, so that it cannot be started again.", CONFLICT)


def _fresh(run: FlowRun) -> FlowRun:
    return FlowRun.objects.select_related("flow", "deployment__flow").get(pk=run.pk)


@verb("deployment.deploy", Level.EDIT)
def deploy(
    *, team: Team, user: User | None, declaration: Declaration, is_trial: bool = False
) -> tuple[Deployment, Changes]:
    """Make a deployment or bring it into line with what its author changed (`flows.declarations.deploy`).

    Its upcoming runs are made anew where something changed that they carry.
    """
    with transaction.atomic():
        deployment, changes = declarations.deploy(team=team, user=user, declaration=declaration, is_trial=is_trial)
        if CARRIED & changes.keys():
            scheduling.reschedule(deployment)
    return deployment, changes


@verb("deployment.roll_back", Level.EDIT, always=True)
def roll_back_deployment(deployment: Deployment, *, to: int, user: User | None = None) -> Deployment:
    """Bring back the code of an earlier version (`flows.version_actions.roll_back`); its upcoming runs follow."""
    with transaction.atomic():
        deployment = version_actions.roll_back(deployment, to=to, user=user)
        scheduling.reschedule(deployment)
    return deployment


@verb("deployment.change", Level.EDIT)
def update_deployment(deployment: Deployment, *, user: User | None = None, **changes: Any) -> Deployment:
    """Change fields of a deployment (`flows.actions.update_deployment`); its upcoming runs follow."""
    with transaction.atomic():
        deployment = flow_actions.update_deployment(deployment, user=user, **changes)
        if CARRIED & changes.keys():
            scheduling.reschedule(deployment)
        if "limit" in changes:
            bells.ring(deployment.queue)
    return deployment


@verb("deployment.duplicate", Level.EDIT)
def duplicate_deployment(
    deployment: Deployment, *, name: str, parameters: Mapping[str, Any] | None = None, user: User | None = None
) -> Deployment:
    """Make a deployment like this one under another name; its schedules are copied, inactive.

    The new one is not shared as this one is: it takes the role editor on the flow, too.
    """
    require(user, Level.EDIT, deployment.flow)
    return flow_actions.duplicate_deployment(deployment, name=name, parameters=parameters, user=user)


@verb("deployment.pause", Level.EDIT)
def pause_deployment(deployment: Deployment, *, user: User | None = None) -> Deployment:
    """Stop its schedules: upcoming runs go, and those that are due but wait for a worker are Skipped."""
    with transaction.atomic():
        deployment = flow_actions.pause_deployment(deployment, user=user)
        scheduling.reschedule(deployment)
    return deployment


@verb("deployment.resume", Level.EDIT)
def resume_deployment(deployment: Deployment, *, user: User | None = None) -> Deployment:
    """Let its schedules make runs again, from now on; what would have run meanwhile is not caught up."""
    with transaction.atomic():
        if Deployment.objects.filter(pk=deployment.pk, paused=True).exists():
            deployment = flow_actions.resume_deployment(deployment, user=user)
            scheduling.reschedule(deployment)
    return deployment


@verb("deployment.delete", Level.EDIT)
def delete_deployment(deployment: Deployment, *, user: User | None = None) -> None:
    """Delete a deployment, its schedules and upcoming runs; what waits for a worker is cancelled, what ran stays."""
    with transaction.atomic():
        scheduling.withdraw(deployment)
        flow_actions.delete_deployment(deployment, user=user)


@verb("deployment.set_schedules", Level.EDIT, always=True)
def set_schedules(deployment: Deployment, specs: Sequence[Spec], *, user: User | None = None) -> list[Schedule]:
    """Give a deployment these schedules and no others. Raises ValidationError by `schedules.<index>.<field>`."""
    with transaction.atomic():
        scheduling.lock(deployment)
        schedules = flow_actions.replace_schedules(deployment, specs)
        flow_actions.check_ready_for_schedules(deployment)
        scheduling.reschedule(deployment)
    return schedules


@verb("schedule.add", Level.EDIT)
def add_schedule(deployment: Deployment, spec: Spec, *, user: User | None = None) -> Schedule:
    """Give a deployment one more schedule. Raises ValidationError by field."""
    with transaction.atomic():
        schedule = flow_actions.add_schedule(deployment, spec, user=user)
        scheduling.reschedule(deployment)
    return schedule


@verb("schedule.change", Level.EDIT)
def change_schedule(schedule: Schedule, *, user: User | None = None, **changes: Any) -> Schedule:
    """Change fields of a schedule (those of `Spec`; `active` pauses it alone). Raises ValidationError by field."""
    with transaction.atomic():
        schedule = flow_actions.change_schedule(schedule, user=user, **changes)
        scheduling.reschedule(schedule.deployment)
    return schedule


@verb("schedule.delete", Level.EDIT)
def delete_schedule(schedule: Schedule, *, user: User | None = None) -> None:
    """Delete a schedule and its upcoming runs."""
    with transaction.atomic():
        deployment = schedule.deployment
        flow_actions.delete_schedule(schedule, user=user)
        scheduling.reschedule(deployment)


@verb("calendar.change", Level.EDIT)
def change_calendar(calendar: Calendar, *, user: User | None = None, **changes: Any) -> Calendar:
    """Change a calendar (`flows.calendar_actions.change_calendar`); upcoming runs of its schedules are made anew."""
    with transaction.atomic():
        calendar = calendar_actions.change_calendar(calendar, user=user, **changes)
        scheduling.recount(calendar)
    return calendar


def plan_backfill(
    deployment: Deployment, *, start: datetime, end: datetime | None = None, schedule: UUID | None = None
) -> backfilling.Backfill:
    """Return which times `backfill` would make runs for. Changes nothing. Raises ValidationError as it does."""
    start, end = backfilling.checked_window(start, end, database_now())
    return backfilling.plan(deployment, backfilling.chosen(deployment, schedule), start, end)


@verb("deployment.backfill", Level.EDIT, always=True)
def backfill(
    deployment: Deployment,
    *,
    start: datetime,
    end: datetime | None = None,
    schedule: UUID | None = None,
    user: User | None = None,
) -> tuple[backfilling.Backfill, list[FlowRun]]:
    """Make the runs of past times that have none yet, oldest first, at most `backfill.MAX_RUNS`.

    Args:
        start: The first instant of the window (aware).
        end: The last; now by default, and at the latest.
        schedule: The one that it is about; else those that are switched on, or all where none is.

    Returns:
        What there was to do, and the runs that were made.

    Raises:
        ValidationError: By `start`, `end`, `schedule`, or `parameters.<name>`.
    """
    start, end = backfilling.checked_window(start, end, database_now())
    with transaction.atomic():
        scheduling.lock(deployment)  # before they are read: somebody may be changing them
        deployment = Deployment.objects.select_related("flow", "queue", "team").get(pk=deployment.pk)
        return backfilling.make(deployment, backfilling.chosen(deployment, schedule), start, end, user)


@verb("deployment.undo_backfill", Level.EDIT, always=True)
def undo_backfill(deployment: Deployment, tag: str, *, user: User | None = None) -> int:
    """Leave out what has not begun of a backfill (`Backfill.tag`); return how many runs. What began goes on.

    The times have no run then: another backfill may make them.
    """
    with transaction.atomic():
        return len(backfilling.undo(deployment, tag, user))
