"""What a pod's status says about its run: waits for what, ended how. Pure functions over the cluster's JSON."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from orchestrator.sdk.causes import Cause
from orchestrator.sdk.host_exits import describe
from orchestrator.sdk.infrastructure.base import Ended

CONTAINER: Final = "run"  #: the name of the container that executes the attempt

# Reasons of a waiting container that no waiting will change, and those that Kubernetes tries again and again.
_HOPELESS: Final = frozenset({"InvalidImageName", "ErrImageNeverPull", "CreateContainerError", "RunContainerError"})
_IMAGE: Final = frozenset(
    {"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "RegistryUnavailable"}
)
_EVICTED: Final = frozenset({"Evicted", "Preempting", "NodeShutdown", "Terminated", "Shutdown"})


@dataclass(frozen=True)
class Waiting:
    """Why a pod has not begun.

    Attributes:
        message: In the cluster's own words.
        cause: What it will be, should it go on like this for too long.
        is_hopeless: Waiting changes nothing.
    """

    message: str
    cause: Cause
    is_hopeless: bool = False


def begun(pod: Mapping[str, Any]) -> bool:
    """Whether the run's container has begun, be it over or not."""
    state = _container_state(pod)
    return "running" in state or "terminated" in state


def waiting(pod: Mapping[str, Any]) -> Waiting | None:
    """Return why a pod has not begun; None where it has, or there is nothing to say yet."""
    if begun(pod):
        return None
    held = _container_state(pod).get("waiting") or {}
    reason, said = str(held.get("reason", "")), str(held.get("message", ""))
    if reason and reason not in ("ContainerCreating", "PodInitializing"):
        cause = Cause.IMAGE if reason in _IMAGE else Cause.EXIT
        return Waiting(_joined(reason, said), cause, reason in _HOPELESS)
    for condition in _conditions(pod):
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            said = str(condition.get("message") or "the scheduler has found no node for it yet")
            return Waiting(f"unschedulable: {said}", Cause.UNSCHEDULABLE)
    return None


def ended(pod: Mapping[str, Any], memory: str = "") -> Ended | None:
    """Return how a pod ended; None while it has not.

    Args:
        pod: As the cluster shows it.
        memory: The limit of its memory, in words; empty: none.
    """
    status = pod.get("status") or {}
    over = _container_state(pod).get("terminated")
    if over is None and status.get("phase") not in ("Failed", "Succeeded"):
        return None
    over = over or {}
    code, number = _exit(over)
    if evicted := _eviction(pod):
        return Ended(code, number, f"evicted: {evicted}", Cause.EVICTED)
    if over.get("reason") == "OOMKilled":
        return Ended(
            code, number, _joined("out of memory", memory and f"its pod may use {memory}"), Cause.OUT_OF_MEMORY
        )
    if not over:  # nothing is known of its container: the node is gone, or it never began
        said = _joined(str(status.get("reason") or "its pod failed"), str(status.get("message") or ""))
        return Ended(message=said, cause=Cause.LOST)
    message = describe(code, number)
    if over.get("reason") not in (None, "", "Error", "Completed"):  # ContainerCannotRun, StartError …
        message = _joined(str(over["reason"]), str(over.get("message") or message))
    return Ended(code, number, message)


def lingers(pod: Mapping[str, Any]) -> bool:
    """Whether containers beside the run's go on, as a proxy does that nobody tells of the end."""
    statuses = (pod.get("status") or {}).get("containerStatuses") or ()
    return any("running" in (each.get("state") or {}) for each in statuses if each.get("name") != CONTAINER)


def gone(pod: Mapping[str, Any]) -> Ended:
    """What it means that a pod was deleted before its end was seen."""
    if evicted := _eviction(pod):
        return Ended(message=f"evicted: {evicted}", cause=Cause.EVICTED)
    return Ended(message="its pod was deleted", cause=Cause.LOST)


def _eviction(pod: Mapping[str, Any]) -> str:
    """Return why a pod had to leave its node; empty where it had not."""
    status = pod.get("status") or {}
    if status.get("reason") in _EVICTED:
        return str(status.get("message") or status["reason"])
    for condition in _conditions(pod):  # preempted, drained, or its node is gone
        if condition.get("type") == "DisruptionTarget" and condition.get("status") == "True":
            return str(condition.get("message") or condition.get("reason") or "its node needed the room")
    return ""


def _container_state(pod: Mapping[str, Any]) -> Mapping[str, Any]:
    statuses: Iterable[Mapping[str, Any]] = (pod.get("status") or {}).get("containerStatuses") or ()
    found = {status.get("name"): status.get("state") or {} for status in statuses}
    return found.get(CONTAINER) or {}


def _conditions(pod: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
    return (pod.get("status") or {}).get("conditions") or ()


def _exit(over: Mapping[str, Any]) -> tuple[int | None, int]:
    """Return exit code and signal: a container that a signal ended exits with 128 and its number."""
    code = over.get("exitCode")
    if code is None:
        return None, 0
    if over.get("signal"):
        return None, int(over["signal"])
    return (None, code - 128) if 128 < code <= 128 + 64 else (int(code), 0)


def _joined(first: str, more: str) -> str:
    return f"{first}: {more}" if more else first
