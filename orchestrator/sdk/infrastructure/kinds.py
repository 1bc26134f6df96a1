"""The kinds of infrastructure, by name: one line each."""

from __future__ import annotations

from functools import cache
from typing import Any, Final

import msgspec

from orchestrator.sdk.infrastructure.base import Infrastructure, InfrastructureError, Placement

DEFAULT: Final = "process"

KINDS: Final = {
    "process": ("orchestrator.sdk.infrastructure.process", "Process"),
    "in-worker": ("orchestrator.sdk.infrastructure.in_worker", "InWorker"),
    "docker": ("orchestrator.sdk.infrastructure.docker", "Docker"),
    "kubernetes": ("orchestrator.sdk.infrastructure.kubernetes", "Kubernetes"),
}


@cache
def kind_of(name: str) -> type[Infrastructure[Any]]:
    """Return a kind. Raises InfrastructureError, which lists them, where there is none of this name."""
    if name not in KINDS:
        raise InfrastructureError(f"This worker knows no infrastructure {name!r}. It knows {', '.join(KINDS)}.")
    module, cls = KINDS[name]
    found: type[Infrastructure[Any]] = getattr(__import__(module, fromlist=[cls]), cls)
    return found


def infrastructure_of(placement: Placement | None) -> Infrastructure[Any]:
    """Return the infrastructure for an attempt.

    Raises:
        InfrastructureError: It is of a kind that this worker does not know, or has settings that it does not know.
    """
    wanted = placement or Placement()
    if wanted.problem:
        raise InfrastructureError(wanted.problem)
    kind = kind_of(wanted.kind)
    try:
        settings = msgspec.convert(wanted.settings, kind.Settings)
    except msgspec.ValidationError as error:
        raise InfrastructureError(f"Block {wanted.block!r} ({wanted.kind}): {error}.") from None
    return kind(settings, wanted.block, wanted.credentials)
