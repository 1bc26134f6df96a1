"""The places of a worker: how many runs it has at once, and which."""

import threading
import time
from dataclasses import dataclass, field
from uuid import UUID


@dataclass(slots=True)
class Occupant:
    """A run in a place."""

    run_id: UUID
    attempt: int
    label: str  #: how people call it: its name and its flow or deployment
    reruns: bool = False  #: if it crashes it is run again
    since: float = field(default_factory=time.monotonic)
    stopping: bool = False
    kill_at: float = 0.0  #: monotonic time at which its host should have ended it, where it is being stopped
    pid: int = 0  #: of its process, which leads a group of its own; 0 until it has started


class Places:
    """A fixed number of places; every method may be called from any thread."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._occupants: dict[UUID, Occupant] = {}
        self._changed = threading.Condition()

    @property
    def free(self) -> int:
        """How many more runs fit."""
        with self._changed:
            return self.count - len(self._occupants)

    def take(self, occupant: Occupant) -> None:
        """Give a run a place."""
        with self._changed:
            self._occupants[occupant.run_id] = occupant

    def began(self, run_id: UUID, pid: int) -> None:
        """Note the process of a run that is here."""
        with self._changed:
            if occupant := self._occupants.get(run_id):
                occupant.pid = pid

    def leave(self, run_id: UUID, attempt: int | None = None) -> Occupant | None:
        """Free a run's place; None when this attempt of it (any, by default) has none."""
        with self._changed:
            occupant = self._occupants.get(run_id)
            if occupant is None or attempt not in (None, occupant.attempt):
                return None
            del self._occupants[run_id]
            self._changed.notify_all()
            return occupant

    def clear(self) -> list[Occupant]:
        """Free every place and return who was there."""
        with self._changed:
            gone = list(self._occupants.values())
            self._occupants.clear()
            self._changed.notify_all()
            return gone

    def occupants(self) -> list[Occupant]:
        """Return who is there now."""
        with self._changed:
            return list(self._occupants.values())

    def wait_empty(self, timeout_seconds: float) -> bool:
        """Wait until nobody is there; return whether that is so."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._occupants, timeout_seconds)

    def __contains__(self, run_id: UUID) -> bool:
        with self._changed:
            return run_id in self._occupants
