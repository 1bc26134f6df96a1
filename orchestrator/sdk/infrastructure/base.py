"""What every kind of infrastructure offers: typed settings, and a way to execute one attempt.

A worker's run host forks a process for each attempt, whatever its kind. For a kind that executes elsewhere that process
is the attempt's *supervisor*: it calls `Infrastructure.run`, and `stop` when the attempt has to end. So cancelling,
leases, places and the death of a worker are the same for every kind. Libraries of engines are imported in there alone.
"""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, Literal, TypeVar

import msgspec

from orchestrator.sdk.causes import Cause

S = TypeVar("S", bound=msgspec.Struct)

COMMAND: tuple[str, ...] = ("-m", "orchestrator.sdk.attempt")  #: behind the name of a Python


class Placement(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Where an attempt is to execute, as it is told on the way to its worker.

    Attributes:
        kind: One of `kinds.KINDS`.
        block: The name of the block that says so; empty where none was chosen.
        settings: What the kind's `Settings` are made of.
        credentials: By the name of the setting that names a block of credentials: that block's values, secrets too.
        problem: Why nothing can be executed there, as the server knows already; empty: it knows of none.
    """

    kind: str = "process"
    block: str = ""
    settings: dict[str, Any] = {}
    credentials: dict[str, dict[str, Any]] = {}
    problem: str = ""


class InfrastructureError(Exception):
    """An attempt cannot be executed there: which block, what the engine said, what to do. Ends the attempt as crashed.

    Attributes:
        cause: In a word.
    """

    def __init__(self, message: str, cause: Cause = Cause.EXIT) -> None:
        super().__init__(message)
        self.cause = cause


class Unreachable(Exception):
    """What executes an attempt may live, and its engine cannot be asked: there is no end to tell, its lease decides."""


@dataclass(frozen=True, slots=True)
class Launch:
    """One attempt that is to be executed, the same for every kind.

    Attributes:
        run, attempt: Which attempt of which flow run.
        name: The run's name.
        flow, deployment: Their names; the deployment's is `flow/deployment`, and may be empty.
        arguments: What follows the name of a Python interpreter: `-m orchestrator.sdk.attempt`.
        goes_on: It has begun before, under a supervisor that is gone: it is followed where it is there, never begun.
        environment: All that it needs: the server's address and the run's own token. Never shown or logged.
        stop_reason: Returns why it is to end, once it is; empty before.
        tell: Adds a line to the run's log: the engine's own words. Callable from any thread.
    """

    run: str
    attempt: int
    name: str = ""
    flow: str = ""
    deployment: str = ""
    goes_on: bool = False
    arguments: tuple[str, ...] = COMMAND
    environment: Mapping[str, str] = field(default_factory=dict)
    stop_reason: Callable[[], str] = lambda: ""
    tell: Callable[[str], None] = lambda line: print(line, file=sys.stderr, flush=True)


@dataclass(frozen=True, slots=True)
class Ended:
    """How what executed an attempt came to its end. Where the attempt recorded its own ending, that one counts.

    Attributes:
        exit_code: None where a signal ended it, or it never began.
        signal: Its number; 0 for none.
        message: Why, in the engine's own words; empty: told from exit code and signal.
        cause: In a word; None: from the exit code and signal.
        peak: The most memory it had at once, in bytes; 0 where nobody knows.
        cpu_seconds: Processor time; 0 where nobody knows.
    """

    exit_code: int | None = None
    signal: int = 0
    message: str = ""
    cause: Cause | None = None
    peak: int = 0
    cpu_seconds: float = 0.0


class Infrastructure(ABC, Generic[S]):
    """A kind of infrastructure, with the settings of one block.

    Args:
        settings: Valid ones.
        block: The block's name, for messages.
        credentials: As in `Placement`.
    """

    kind: ClassVar[str]  #: as it is stored, and typed: `orchestrator block create docker prod`
    label: ClassVar[str]  #: as people read it
    summary: ClassVar[str]  #: one sentence: what it does
    risk: ClassVar[str] = ""  #: what whoever chooses it has to know; said wherever it can be chosen
    icon: ClassVar[str] = "box"  #: a name in lucide
    #: An attempt goes on where its worker is gone, until a worker of that machine (`host`) or any takes it over.
    outlives_worker: ClassVar[Literal["", "host", "any"]] = ""
    Settings: ClassVar[type[msgspec.Struct]]  #: frozen; its fields are annotated as `settings.Field` reads them

    def __init__(
        self, settings: S, block: str = "", credentials: Mapping[str, Mapping[str, Any]] | None = None
    ) -> None:
        self.settings = settings
        self.block = block
        self.credentials = credentials or {}

    @classmethod
    def check(cls, settings: Any) -> dict[str, str]:
        """Return what is wrong with settings whose fields are valid each by itself: sentences by field."""
        return {}

    def preview(self, run: str, api_url: str) -> dict[str, Any] | None:
        """Return what is asked of an engine for an attempt, without secrets; None where nothing is.

        Args:
            run: The id of a run, which it will name.
            api_url: The server's address as a worker has it.

        Raises:
            ValueError: These settings make nothing of the kind.
        """
        return None

    @property
    def is_supervised(self) -> bool:
        """Whether an attempt executes elsewhere, by `run`; else it is forked, or executed, by its run host."""
        return True

    @abstractmethod
    def run(self, launch: Launch) -> Ended:
        """Execute an attempt, and return when nothing of it is left. Called once, in the supervisor's main thread.

        Raises:
            InfrastructureError: It could not be executed, or what executed it is gone.
            Unreachable: It may go on, and nobody can be asked. Of kinds that outlive their worker alone.
        """

    def stop(self, grace_seconds: float) -> None:
        """Have `run` return soon: ask the attempt to end (SIGTERM), and end it after the grace.

        Called once, from another thread, at any time after `run` was called, also before anything was started. What
        `run` returns or raises afterwards is how it ended.
        """
        raise NotImplementedError
