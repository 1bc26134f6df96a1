"""Results of an earlier attempt of a flow run, so that a retry of the flow does not repeat what completed.

A task run is known across attempts by its task's key, a hash of its inputs, and how often that pair was called before.
"""

from __future__ import annotations

import hashlib
import pickle
import threading
from collections import Counter
from typing import Any, TypeAlias

from orchestrator.sdk.runs import TaskRun
from orchestrator.sdk.states import State, StateType

Place: TypeAlias = "tuple[str, bytes, int]"


class Reuse:
    """What the task runs of a flow run with retries returned, in memory."""

    def __init__(self) -> None:
        self._results: dict[Place, tuple[int, Any]] = {}
        self._counts: Counter[tuple[str, bytes]] = Counter()
        self._places: dict[str, Place] = {}  # of the task runs that are going on, by id
        self._lock = threading.Lock()

    def begin_attempt(self) -> None:
        """Count calls anew."""
        with self._lock:
            self._counts.clear()
            self._places.clear()

    def find(self, run: TaskRun) -> State | None:
        """Return the state of a run whose result is known, None when its function must be called."""
        inputs = _hash((run.arguments, run.keywords))
        if inputs is None or run.flow_run is None:
            return None
        pair = (run.key, inputs)
        with self._lock:
            place = (*pair, self._counts[pair])
            self._counts[pair] += 1
            self._places[run.id] = place
            known = self._results.get(place)
        if known is None:
            return None
        attempt, value = known
        return State(StateType.COMPLETED, "Cached", f"Completed in attempt {attempt} of the flow run", value)

    def keep(self, run: TaskRun, state: State) -> None:
        """Keep the result of a run that completed."""
        with self._lock:
            place = self._places.pop(run.id, None)
            if place is not None and run.flow_run is not None and run.task.cache_result_in_memory:
                self._results[place] = (run.flow_run.attempt, state.result())


def _hash(inputs: Any) -> bytes | None:
    """Return a hash of a call's arguments, None for what cannot be pickled: such a call is never reused."""
    try:
        data = pickle.dumps(inputs)
    except Exception:  # a lambda, a class made in a function; and whatever a user's __reduce__ raises
        try:
            import cloudpickle  # type: ignore[import-untyped]  # 20 ms at import, only for what pickle cannot

            data = cloudpickle.dumps(inputs)
        except Exception:
            return None
    return hashlib.blake2b(data, digest_size=16).digest()
