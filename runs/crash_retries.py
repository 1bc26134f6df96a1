"""Runs that crashed and are to run again: decided in the transaction that ends the attempt, whoever learns of its end.

The deployment says how often (`crash_retries`). The count is of crashes in a row since the run was last started by a
decision (`FlowRun.crashes`), whatever the flow's own retries did in between, so that it is bounded in any case. Once it
is decided, the run waits for a claim: what its old process may still say is kept with its attempt and changes nothing.
"""

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Final

from django.db.models import F

from flows.models import Deployment
from orchestrator.sdk.states import StateType
from runs import bells
from runs.clock import database_now
from runs.models import FlowRun
from runs.transitions import AWAITING_RETRY

MAX_DELAY_SECONDS: Final = 60


def delay_seconds(crashes: int) -> int:
    """Return how long a run waits after so many crashes in a row: 2 s, 4 s, 8 s, a minute at most."""
    return min(2 ** min(crashes, 10), MAX_DELAY_SECONDS)


def run_again(ended: Collection[FlowRun], *, tell: bool = True) -> set[FlowRun]:
    """Have those of these runs wait for their next attempt that crashed and may run again.

    Call it in the transaction that ended them, with their rows locked and written.

    Args:
        ended: Runs that entered a final state.
        tell: Whether a server runs that can be woken.

    Returns:
        Those that run again, as they now are in the database.

    One query for the deployments where any crashed, then the database's clock and an UPDATE for each.
    """
    crashed = [run for run in ended if run.state_type == StateType.CRASHED and run.deployment_id is not None]
    if not crashed:
        return set()
    deployments = (
        Deployment.objects.filter(crash_retries__gt=0)
        .select_related("queue")
        .in_bulk({run.deployment_id for run in crashed})
    )
    again = [
        run
        for run in crashed
        if run.cancel_requested_at is None
        and (deployment := deployments.get(run.deployment_id)) is not None
        and run.crashes < deployment.crash_retries
    ]
    if not again:
        return set()
    now = database_now()
    return {run for run in again if _schedule(run, deployments[run.deployment_id], now, tell)}


def _schedule(run: FlowRun, deployment: Deployment, now: datetime, tell: bool) -> bool:
    crashes = run.crashes + 1
    due = now + timedelta(seconds=delay_seconds(crashes))
    changes = {
        "state_type": StateType.SCHEDULED.value,
        "state_name": AWAITING_RETRY,
        "state_message": f"{run.state_message}. It runs again ({crashes} of {deployment.crash_retries}).",
        "state_time": now,
        "expected_start": due,
        "end_time": None,
        "error": None,
        "ended_by": "",
        "lease_expires_at": None,
        "crashes": crashes,
        "queue": deployment.queue,
    }
    changed = FlowRun.objects.filter(pk=run.pk, state_type=StateType.CRASHED, attempt=run.attempt).update(
        **changes, revision=F("revision") + 1
    )
    if not changed:
        return False
    for name, value in changes.items():
        setattr(run, name, value)
    run.revision += 1
    if tell:
        bells.ring(deployment.queue, due)
    return True
