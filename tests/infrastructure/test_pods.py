"""What a pod's status says: waits for what, ended how, and left what behind."""

from typing import Any

import pytest

from orchestrator.sdk.causes import Cause
from orchestrator.sdk.infrastructure.base import Ended
from orchestrator.sdk.infrastructure.pods import Waiting, ended, gone, lingers, waiting


def pod(state: dict[str, Any] | None = None, **status: Any) -> dict[str, Any]:
    statuses = [{"name": "run", "state": state}] if state is not None else []
    return {"metadata": {"name": "p"}, "status": {"containerStatuses": statuses, **status}}


def over(code: int, reason: str = "Error", **more: Any) -> dict[str, Any]:
    return {"terminated": {"exitCode": code, "reason": reason, **more}}


DISRUPTED = [{"type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler", "message": "preempted"}]


@pytest.mark.parametrize(
    ("seen", "end"),
    [
        (pod({"running": {}}, phase="Running"), None),
        (pod(phase="Pending"), None),
        (pod(over(0, "Completed"), phase="Succeeded"), Ended(0, message="exit code 0")),
        (pod(over(3), phase="Failed"), Ended(3, message="exit code 3")),
        (pod(over(143), phase="Failed"), Ended(signal=15, message="killed by signal 15 (SIGTERM)")),
        (pod(over(137, "OOMKilled"), phase="Failed"),
         Ended(signal=9, message="out of memory: its pod may use 1Gi", cause=Cause.OUT_OF_MEMORY)),
        (pod(over(128, "StartError", message='exec: "python": not found'), phase="Failed"),
         Ended(128, message='StartError: exec: "python": not found')),
        (pod(over(137), phase="Failed", reason="Evicted", message="low on memory"),
         Ended(signal=9, message="evicted: low on memory", cause=Cause.EVICTED)),
        (pod(over(143), phase="Failed", conditions=DISRUPTED),
         Ended(signal=15, message="evicted: preempted", cause=Cause.EVICTED)),
        (pod(phase="Failed", reason="NodeLost", message="node n1 is gone"),
         Ended(message="NodeLost: node n1 is gone", cause=Cause.LOST)),
    ],
)  # fmt: skip
def test_ends_are_told_apart(seen: dict[str, Any], end: Ended | None) -> None:
    assert ended(seen, "1Gi") == end


@pytest.mark.parametrize(
    ("seen", "said"),
    [
        (pod({"running": {}}, phase="Running"), None),
        (pod({"waiting": {"reason": "ContainerCreating"}}, phase="Pending"), None),
        (pod({"waiting": {"reason": "ImagePullBackOff", "message": "not found"}}),
         Waiting("ImagePullBackOff: not found", Cause.IMAGE)),
        (pod({"waiting": {"reason": "InvalidImageName", "message": "no"}}),
         Waiting("InvalidImageName: no", Cause.IMAGE, is_hopeless=True)),
        (pod({"waiting": {"reason": "CreateContainerConfigError", "message": "no secret"}}),
         Waiting("CreateContainerConfigError: no secret", Cause.EXIT)),
        (pod(conditions=[{"type": "PodScheduled", "status": "False", "message": "0/3 nodes"}]),
         Waiting("unschedulable: 0/3 nodes", Cause.UNSCHEDULABLE)),
    ],
)  # fmt: skip
def test_what_a_pod_waits_for_is_told(seen: dict[str, Any], said: Waiting | None) -> None:
    assert waiting(seen) == said


def test_a_pod_that_is_not_there_any_more_was_evicted_or_deleted() -> None:
    assert gone(pod({"running": {}}, conditions=DISRUPTED)) == Ended(message="evicted: preempted", cause=Cause.EVICTED)
    assert gone(pod({"running": {}})) == Ended(message="its pod was deleted", cause=Cause.LOST)


def test_what_runs_beside_a_run_that_ended_is_seen() -> None:
    seen = pod(over(0, "Completed"), phase="Running")
    assert not lingers(seen)
    seen["status"]["containerStatuses"].append({"name": "proxy", "state": {"running": {}}})
    assert lingers(seen)
