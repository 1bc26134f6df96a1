"""Sends: the threads of a worker process that bring messages to destinations.

A thread works for one destination at a time, whose lease it holds: gathers what is due into messages, commits them,
sends the first, records the answer, and so on until nothing is due. While it waits for the network it holds nothing:
no transaction, no database connection (what it asks the database, a few other threads do). Destinations that failed or
were slow last time have threads of their own, so that they never keep others waiting.
"""

import logging
import os
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from functools import cache, partial
from typing import Any, Final, TypeVar
from uuid import UUID

from django.db import Error as DatabaseError
from django.db import close_old_connections, connection, connections, transaction

from notifications import failing, leases
from notifications.content import from_json, storable
from notifications.failing import Health
from notifications.gathering import gather
from notifications.leases import Lease
from notifications.models import Destination, Message
from notifications.transports import Answer, transport
from orchestrator.encryption import Secret, Unreadable
from runs.clock import database_now

# Threads that wait for the network cost little; 40 destinations that hang for the first time leave some free.
QUICK_THREADS: Final = 48
SLOW_THREADS: Final = 16
DATABASE_THREADS: Final = 4  # at most; they keep their connections, which are scarce and slow to make on PostgreSQL
SLOW_SECONDS: Final = 1.0
MAX_ANSWERS: Final = 50
MAX_ANSWER: Final = 500

Value = TypeVar("Value")

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Try:
    """A message that is being sent, as its row was before."""

    message: Message
    kind: str
    config: Secret


class Sending:
    """The sending threads of one process; they start when there is something to send."""

    def __init__(self) -> None:
        """Nothing starts yet."""
        self._quick = ThreadPoolExecutor(QUICK_THREADS, "sending")
        self._slow = ThreadPoolExecutor(SLOW_THREADS, "sending-slow")
        self._database = DatabaseThreads(DATABASE_THREADS)
        self._changed = threading.Condition()
        self._taken: set[UUID] = set()  # destinations that have a thread, or wait for one
        self._rung: set[UUID] = set()  # those of them for which another bell came meanwhile
        self._delayed: set[UUID] = set()  # those that failed or were slow last time
        self._running = 0
        self._closing = False

    def offer(self, destinations: Iterable[UUID]) -> None:
        """Have what is due to these destinations sent; returns at once (one query)."""
        known = dict(Destination.objects.filter(pk__in=set(destinations)).values_list("pk", "failures"))
        with self._changed:
            for destination_id, failures in known.items():
                if failures:
                    self._delayed.add(destination_id)
                if destination_id in self._taken:
                    self._rung.add(destination_id)
                else:
                    self._start(destination_id)

    def call(self, function: Callable[[], object]) -> None:
        """Call something else that waits for the network, in a thread of those for slow destinations."""
        with self._changed:
            self._submit(self._slow, function)

    def close(self) -> None:
        """Start nothing new."""
        with self._changed:
            self._closing = True
            self._quick.shutdown(wait=False, cancel_futures=True)
            self._slow.shutdown(wait=False, cancel_futures=True)

    def wait(self, seconds: float) -> bool:
        """Wait until nothing is being sent any more; False when that takes longer. Call it after `close`."""
        with self._changed:
            is_idle = self._changed.wait_for(lambda: not self._running, seconds)
        if is_idle and self._closing:
            self._database.close()
        return is_idle

    # Threads

    def _start(self, destination_id: UUID) -> None:
        is_delayed = destination_id in self._delayed
        if self._submit(self._slow if is_delayed else self._quick, partial(self._work, destination_id, is_delayed)):
            self._taken.add(destination_id)

    def _submit(self, threads: ThreadPoolExecutor, function: Callable[[], object]) -> bool:
        if not self._closing:
            threads.submit(self._run, function)
        return not self._closing

    def _run(self, function: Callable[[], object]) -> None:
        with self._changed:
            if self._closing:
                return
            self._running += 1
        try:
            function()
        except DatabaseError as error:  # the sweep offers it again
            _log.error("Nothing could be sent: the database says: %s", error)
        except Exception:
            _log.exception("A sender failed")
        finally:
            connection.close()
            with self._changed:
                self._running -= 1
                self._changed.notify_all()

    def _work(self, destination_id: UUID, is_delayed: bool) -> None:
        try:
            self._send_what_is_due(destination_id, is_delayed)
        finally:
            with self._changed:
                self._taken.discard(destination_id)
                rung, moves = destination_id in self._rung, (destination_id in self._delayed) != is_delayed
                self._rung.discard(destination_id)
                if rung or moves:
                    self._start(destination_id)

    def _send_what_is_due(self, destination_id: UUID, is_delayed: bool) -> None:
        """Send until nothing is due, then look once more: another process may have heard a bell while this one held
        the lease. Ends earlier when the process stops, or these are no longer the right threads for it."""
        ask = self._database.ask
        while self._goes_on(destination_id, is_delayed) and (lease := ask(take, destination_id)) is not None:
            try:
                attempt = ask(next_try, lease)
                while attempt is not None:
                    answer, seconds = self._timed(attempt, destination_id)
                    ask(settle, attempt, answer, seconds)
                    goes_on = answer.ok or answer.is_final
                    attempt = ask(next_try, lease) if goes_on and self._goes_on(destination_id, is_delayed) else None
            finally:
                ask(lease.release)

    def _goes_on(self, destination_id: UUID, is_delayed: bool) -> bool:
        return not self._closing and (destination_id in self._delayed) == is_delayed

    def _timed(self, attempt: Try, destination_id: UUID) -> tuple[Answer, float]:
        began = time.monotonic()
        answer = send(attempt)
        seconds = time.monotonic() - began
        with self._changed:
            if not answer.ok or seconds > SLOW_SECONDS:
                self._delayed.add(destination_id)
            else:
                self._delayed.discard(destination_id)
        return answer, seconds


class DatabaseThreads:
    """A few threads that ask the database for others, over connections that stay open."""

    def __init__(self, most: int) -> None:
        """They start when they are needed."""
        self._connections: list[Any] = []
        self._threads = ThreadPoolExecutor(
            most, "sending-database", initializer=lambda: self._connections.append(connections["default"])
        )

    def ask(self, function: Callable[..., Value], *arguments: object) -> Value:
        """Call a function in one of them, and return or raise what it does."""
        return self._threads.submit(self._call, function, *arguments).result()

    def close(self) -> None:
        """End them, and close their connections."""
        self._threads.shutdown()
        for one in self._connections:
            one.inc_thread_sharing()  # its own thread is gone
            one.close()

    @staticmethod
    def _call(function: Callable[..., Value], *arguments: object) -> Value:
        close_old_connections()
        return function(*arguments)


@cache
def _of_process(pid: int) -> Sending:
    return Sending()


def current() -> Sending:
    """Return this process's threads."""
    return _of_process(os.getpid())


def take(destination_id: UUID) -> Lease | None:
    """Take a destination's lease, if something is due and nobody else sends it."""
    now = database_now()
    return leases.take(destination_id, now) if leases.due(now).filter(pk=destination_id).exists() else None


def next_try(lease: Lease) -> Try | None:
    """Gather what is due, and begin to send the message that is next; None where there is none."""
    now = database_now()
    gather(lease, now)
    return begin(lease, now)


def begin(lease: Lease, now: datetime) -> Try | None:
    """Renew the lease and count a try of the message that is next: tried least often, then oldest.

    It is counted before it is sent, so that a message that kills its sender does not do so for ever.

    Returns:
        None where nothing waits, the lease was lost, or the destination was paused or has to be waited for.
    """
    with transaction.atomic():
        if not lease.extend(now):
            return None
        waiting = leases.waiting_messages().filter(destination=lease.destination_id).order_by("tries", "id")
        message = waiting.select_related("destination").first()
        if message is None or message.destination is None:
            return None
        Message.objects.filter(pk=message.pk).update(tries=message.tries + 1)
    return Try(message, message.destination.kind, message.destination.config)


def send(attempt: Try) -> Answer:
    """Send a message and return what the service said. Touches no database, and raises nothing."""
    if attempt.message.tries >= 2 * failing.MAX_TRIES:
        return Answer(False, "The sending process died each time that it was tried.", is_final=True)
    try:
        return transport(attempt.kind).send(attempt.config.reveal(), from_json(attempt.message.content))
    except Unreadable as error:
        return Answer(False, f"Its address cannot be read. {error}", is_final=True)
    except Exception as error:  # a transport's fault must not keep the others' messages from being sent
        _log.exception("The message %s could not be sent", attempt.message.pk)
        return Answer(False, f"This server could not send it: {type(error).__name__}. Its log says more.")


def settle(attempt: Try, answer: Answer, seconds: float) -> None:
    """Record an answer that came now."""
    record(attempt, answer, seconds, database_now())


def record(attempt: Try, answer: Answer, seconds: float, now: datetime) -> None:
    """Write down what the service said about a message, and how its destination does."""
    message, text = attempt.message, str(storable(answer.text))[:MAX_ANSWER]
    with transaction.atomic():
        health = _record_health(message.destination_id, answer, text, now)
        said = {"at": now.isoformat(), "ok": answer.ok, "text": text, "seconds": round(seconds, 3)}
        since = max(message.created_at, health.failing_since or message.created_at)
        values: dict[str, Any] = {"answers": [*message.answers, said][-MAX_ANSWERS:]}
        if answer.ok:
            values |= {"state": Message.State.SENT, "sent_at": now}
        elif answer.is_final or failing.gives_up(message.tries + 1, since, now):
            values |= {"state": Message.State.FAILED}
        Message.objects.filter(pk=message.pk, state=Message.State.WAITING).update(**values)


def _record_health(destination_id: UUID, answer: Answer, text: str, now: datetime) -> Health:
    # no key: the transaction that writes a delivery to it need not wait for this one at its commit
    row = Destination.objects.select_for_update(no_key=True).filter(pk=destination_id)
    known = row.values_list("failures", "refusals", "failing_since", "retry_at").first()
    health = failing.after(Health(*known) if known else Health(), answer, now)
    row.update(
        failures=health.failures,
        refusals=health.refusals,
        failing_since=health.failing_since,
        retry_at=health.retry_at,
        last_answer=text,
        last_answer_at=now,
    )
    if health.should_pause(now):
        failing.pause(destination_id, now)
    return health
