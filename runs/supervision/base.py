"""What a worker asks of whoever hands out runs."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from orchestrator.sdk.host_protocol import Start
from runs.claims import Renewal

MAX_REQUESTS: Final = 100  # claims that one request asks for


class Unreachable(Exception):
    """The database or the server did not answer: what was asked is asked again, and what runs goes on."""


@dataclass(frozen=True, slots=True)
class Assignment:
    """An attempt that was claimed for this worker, and is now its to run."""

    run_id: UUID
    attempt: int
    label: str  #: how people call it: its name and its flow or deployment
    start: Start  #: what the run host is told
    reruns: bool = False  #: if it crashes it is run again: it must have stopped before its lease lapses
    asked_at: float = 0.0  #: by `boot_seconds`: its lease began no earlier; 0: just now


@dataclass(frozen=True, slots=True)
class Leases:
    """The times, in seconds, by which leases are held here."""

    length: float  #: how long a lease holds after it was extended
    renew: float  #: how often it is extended
    cancel_grace: float  #: between SIGTERM and SIGKILL of a cancelled run


class Supervision(ABC):
    """One worker's side of it. Every method may be called from any thread; each may raise `Unreachable`."""

    sweep_seconds: float  #: how often a worker looks for due runs and new queues without being rung

    @property
    @abstractmethod
    def worker_id(self) -> UUID:
        """The id of the worker's row."""

    @abstractmethod
    def call_keys(self) -> Sequence[str]:
        """Return the public keys by which the server signs task runs that workers execute; none before `sign_on`."""

    @property
    @abstractmethod
    def leases(self) -> Leases:
        """The times by which leases are held; known after `sign_on`."""

    @abstractmethod
    def sign_on(self) -> None:
        """Enter the worker among those that are there."""

    @abstractmethod
    def sign_off(self) -> None:
        """The worker has ended what it ran and is about to exit."""

    @abstractmethod
    def celery_queues(self) -> list[str]:
        """Return the Celery queues on which bells are to be heard."""

    def claim(self) -> Assignment | None:
        """Claim the first eligible run."""
        return next(iter(self.claim_some(1)), None)

    @abstractmethod
    def claim_some(self, most: int) -> list[Assignment]:
        """Claim up to so many eligible runs at once; none came: nothing is due.

        Asked again after `Unreachable`, it answers with the same ones.
        """

    @abstractmethod
    def release(self, assignment: Assignment) -> None:
        """Give back what never reached a run host: the run waits again."""

    @abstractmethod
    def began(self, assignment: Assignment) -> None:
        """The run host was told; pages may say so."""

    @abstractmethod
    def renew(self, held: Mapping[UUID, int], heard_at: datetime | None = None) -> Renewal:
        """Extend the leases of these attempts, by id of their run, and say that the worker lives.

        Args:
            held: The attempt of each run that it has.
            heard_at: When a bell to itself last came back; None: not yet.
        """

    @abstractmethod
    def state_names(self, run_ids: Collection[UUID]) -> dict[UUID, str]:
        """Return the names of these runs' states, for the log; those that are not known are left out."""

    @abstractmethod
    def tend_facts(self) -> None:
        """See to it that what the runs record is brought in. Called about once a second; quick."""

    @abstractmethod
    def end_facts(self) -> None:
        """Bring in what is there, for some seconds at most, and stop doing so."""

    @abstractmethod
    def end_thread(self) -> None:
        """A thread that has asked things ends, or pauses: let go of its connection."""
