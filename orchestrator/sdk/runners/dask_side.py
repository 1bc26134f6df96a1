"""What Dask's workers and scheduler do for `DaskTaskRunner`; they import it from here."""

from __future__ import annotations

from typing import Any, Final

from distributed import Future, Scheduler, SchedulerPlugin, get_worker

from orchestrator.sdk.cancellation import Cancellation
from orchestrator.sdk.runners.attempts import Channel, Stand, execute
from orchestrator.sdk.runners.calls import Message

_SMALL: Final = 64 * 1024  #: bytes of an outcome that goes as a message, which saves fetching it
TOPIC: Final = "orchestrator-"

_executing: dict[str, Cancellation] = {}  # attempts in this worker's process


def execute_in_worker(topic: str, attempt: str, payload: bytes, values: list[Any]) -> bytes | None:
    """Execute an attempt in a thread of a worker.

    Returns:
        Its outcome, where that is too big for a message; else None, and it was sent.
    """
    channel = _Topic(topic, attempt)
    cancellation = _executing[attempt] = Cancellation()
    try:
        outcome = execute(payload, channel, cancellation, tuple(values))
    finally:
        del _executing[attempt]
    if len(outcome) > _SMALL:
        return outcome
    channel.send(Message.OUTCOME, outcome)
    return None


def cancel(attempt: str) -> bool:
    """Ask an attempt in this process to end. Returns whether it was reached, or is not here any more."""
    cancellation = _executing.get(attempt)
    if cancellation is None:
        return True
    cancellation.asked = True
    return cancellation.wake()


class _Topic(Channel):
    """The way back through the scheduler: events of a topic that only the flow's client hears, in their order."""

    has_terminal = False

    def __init__(self, topic: str, attempt: str) -> None:
        self._topic = topic
        self._attempt = attempt
        self._worker = get_worker()

    def send(self, kind: int, body: bytes) -> None:
        """Send a message, with how many attempts the worker executes at a time where this one has begun."""
        worker = self._worker
        threads = worker.state.nthreads if kind == Message.BEGUN else 0
        worker.log_event(self._topic, (self._attempt, int(kind), body, worker.address, threads))


class LoseOnce(SchedulerPlugin):  # type: ignore[misc]
    """Has a task of ours fail when the worker that has it is lost: Dask would execute it again, up to three times.

    Whether it is tried again is for the task's own `retries` to say. Messages are not kept at the scheduler either.
    """

    name = "orchestrator"
    idempotent = True

    async def start(self, scheduler: Scheduler) -> None:
        """Keep the scheduler."""
        self._scheduler = scheduler

    def update_graph(self, scheduler: Scheduler, *, annotations: Any, **others: Any) -> None:
        """Mark new tasks of ours as if workers had died of them already."""
        for key in annotations.get("orchestrator", ()):
            task = scheduler.tasks.get(key)
            if task is not None:
                task.suspicious = scheduler.allowed_failures

    def log_event(self, topic: str, msg: Any) -> None:
        """Forget a message that its client was sent: Dask would keep the last thousand of each topic."""
        if topic.startswith(TOPIC):
            self._scheduler._broker.truncate(topic)


def taken_out(
    arguments: tuple[Any, ...], keywords: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any], list[Future]]:
    """Return arguments with stand-ins for the Dask futures in them, and those."""
    found: list[Future] = []
    return tuple(_without(value, found) for value in arguments), _without(keywords, found), found


def _without(value: Any, found: list[Future]) -> Any:
    if isinstance(value, Future):
        found.append(value)
        return Stand(len(found) - 1)
    if type(value) is dict:
        return {key: _without(item, found) for key, item in value.items()}
    if type(value) in (list, tuple, set):
        return type(value)(_without(item, found) for item in value)
    return value
