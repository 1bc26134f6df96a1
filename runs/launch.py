"""What a run host is told about an attempt, and the environment that user code may see."""

import os
from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final

import msgspec
from django.conf import settings

from flows.infrastructure import placement_again, placement_of
from flows.models import IN_WORKER
from flows.sources import source_credentials
from orchestrator.sdk.host_protocol import Start
from orchestrator.sdk.infrastructure.base import Placement
from orchestrator.sdk.sources.kinds import is_rooted
from orchestrator.sdk.states import StateType
from runs.authentication import run_token
from runs.claims import Claim, executed_by

# What every program may need, and nothing that says where the database or the broker is.
PASSED: Final = (
    "PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LC_*", "TZ", "TMPDIR", "VIRTUAL_ENV",
    "ORCHESTRATOR_HOME", "ORCHESTRATOR_API_URL", "ORCHESTRATOR_TASK_RUNNER",
    "ORCHESTRATOR_SNAPSHOT_CACHE_MB", "ORCHESTRATOR_ENVIRONMENTS_MB",
)  # fmt: skip
NEVER_PASSED: Final = frozenset(
    {
        "ORCHESTRATOR_DATABASE_URL",
        "ORCHESTRATOR_BROKER_URL",
        "ORCHESTRATOR_SECRET_KEY",
        "ORCHESTRATOR_SECRET_KEY_FALLBACKS",
        "ORCHESTRATOR_EMAIL_URL",
        "ORCHESTRATOR_OIDC_CLIENT_SECRET",
        "ORCHESTRATOR_RUN_ENV",
        "ORCHESTRATOR_API_TOKEN",
    }
)
RUN_ENV: Final = "ORCHESTRATOR_RUN_ENV"
_SEEN_BY_RUNS: Final = frozenset({"working_directory"})  # of the settings of their infrastructure


def run_environment(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the part of a worker's environment that its run host and its runs get.

    `ORCHESTRATOR_RUN_ENV` names more of it, separated by commas; `*` stands for any characters, as in `AWS_*`.
    """
    patterns = [*PASSED, *(name.strip() for name in environment.get(RUN_ENV, "").split(",") if name.strip())]
    passed = {
        name: value
        for name, value in environment.items()
        if name not in NEVER_PASSED and any(fnmatchcase(name, pattern) for pattern in patterns)
    }
    return {**passed, "ORCHESTRATOR_HOME": str(settings.HOME.root)}


def start_message(claimed: Claim) -> Start:
    """Return what the run host needs to run a claimed attempt.

    It is what was claimed, whenever it is asked for: what deployment and block say since is for the next attempt.
    Reads what the claim loaded, nothing more, but for the secrets of blocks, where the deployment names one.
    """
    run, deployment = claimed.run, claimed.run.deployment
    goes_on = run.state_type not in (StateType.SCHEDULED, StateType.PENDING)
    placement = _placement(claimed)
    executes = claimed.attempt.executes or executed_by(run)
    entrypoint, directory, source = executes["entrypoint"], executes["directory"], executes["source"]
    return Start(
        run=str(run.pk),
        attempt=claimed.attempt.number,
        goes_on=goes_on,
        reruns=deployment is not None and deployment.crash_retries > 0,
        journal=str(claimed.attempt.journal),
        entrypoint=entrypoint if is_rooted(source) else absolute_entrypoint(entrypoint, directory),
        flow=run.flow.name,
        name=run.name,
        directory=directory,
        source=source,
        source_credentials=source_credentials(run.team_id, source),
        parameters=run.parameters,
        tags=run.tags,
        deployment_id=str(deployment.pk) if deployment else None,
        deployment=deployment.full_name if deployment else None,
        scheduled_for=run.scheduled_for.isoformat() if run.scheduled_for else None,
        token=run_token(claimed.attempt),
        api_url=settings.API_URL,
        task_runner=executes["task_runner"],
        keep=str(run.team_id) if placement and placement.kind == IN_WORKER and _may_be_kept(source) else "",
        infrastructure=placement,
    )


def _placement(claimed: Claim) -> Placement | None:
    run, attempt = claimed.run, claimed.attempt
    if attempt.infrastructure:
        there = run.deployment.infrastructure if run.deployment else None
        return placement_again(run.team_id, attempt.infrastructure, there)
    if attempt.executes is not None:
        return None  # it was claimed without a block
    return placement_of(run.deployment, run.infrastructure_overrides)  # claimed before this was kept


def start_away(claimed: Claim) -> Start:
    """Return what an attempt is told that executes away from its worker: no tokens, nothing of its infrastructure's."""
    start = start_message(claimed)
    placement = start.infrastructure
    if placement is not None:
        shown = {name: value for name, value in placement.settings.items() if name in _SEEN_BY_RUNS}
        placement = Placement(kind=placement.kind, block=placement.block, settings=shown)
    return msgspec.structs.replace(start, token="", source_credentials={}, infrastructure=placement)


def _may_be_kept(source: Mapping[str, Any]) -> bool:
    """Whether runs may share a process: not where each may have other code, or another Python."""
    return not source.get("environment") and source.get("kind") != "git"


def absolute_entrypoint(entrypoint: str, directory: str) -> str:
    """Return `path.py:function` with its path made absolute from the run's directory; modules stay as they are."""
    path, separator, function = entrypoint.rpartition(":")
    if not path.endswith(".py"):
        return entrypoint
    return f"{Path(directory or '.', path).absolute()}{separator}{function}"
