"""A flow run while a batch of facts is folded: its row, its attempts, and what the batch has made of them."""

from dataclasses import dataclass, field

from orchestrator.sdk.states import StateType
from runs.models import Attempt, FlowRun
from runs.transitions import FINAL_VALUES


@dataclass(slots=True)
class Tracked:
    """A flow run while a batch is folded.

    Attributes:
        run: Its row, locked, or a new one.
        attempts: Its attempts by number.
        owned: Numbers of those that the journal of the batch is the process of.
        known: Numbers whose task runs and log lines the journal may record; worked out once, renewed with `owned`.
        flow_slug: For a new run: the flow to attach it to.
        touched: The batch changed the run or what belongs to it.
        closes: What belongs to it has to be closed: it ended, or began its next attempt.
        changed: Attempts to write.
        revived: It had been given up and goes on.
        snapshot: Its parameters changed.
        found: Its attempt and type of state before the batch.
    """

    run: FlowRun
    attempts: dict[int, Attempt]
    owned: set[int]
    known: frozenset[int] = frozenset()
    hex: str = ""
    flow_slug: str = ""
    is_new: bool = False
    touched: bool = False
    closes: bool = False
    changed: set[Attempt] = field(default_factory=set)
    revived: bool = False
    snapshot: bool = False
    found: tuple[int, str] = (0, "")

    def __post_init__(self) -> None:
        self.hex = self.run.id.hex
        self.found = self.run.attempt, self.run.state_type
        self.renew()

    @property
    def is_decided(self) -> bool:
        """Whether it waits for a claim or was cancelled there: that stands, whatever its last attempt still says."""
        run = self.run
        if run.state_type == StateType.SCHEDULED:
            return run.lease_expires_at is None
        return run.state_type == StateType.CANCELLED and not run.ended_by

    @property
    def may_begin(self) -> bool:
        """Whether the journal is that of the current attempt's process, which may begin the next one by itself."""
        return self.run.attempt in self.owned and not self.is_decided

    @property
    def has_ended(self) -> bool:
        """Whether the batch brought the run into a final state that it was not in before; a crash said anew is none."""
        return self.run.state_type in FINAL_VALUES and (self.run.attempt, self.run.state_type) != self.found

    def renew(self) -> None:
        """Work `known` out again: a process speaks for its own attempts, one that has none for all."""
        self.known = frozenset(self.owned or self.attempts)


@dataclass(frozen=True, slots=True)
class NewFlow:
    """A flow that a fact named."""

    name: str
    description: str
