"""Asking for slots of limited tags, and waiting for them.

Two threads a process, both only while something waits: one listens to the server's stream of grants, one asks again for
what waits, each task run every few seconds, all at once after a new connection, and sooner where the server did not
know the run yet. Both end a while after nothing waits any more.
"""

from __future__ import annotations

import heapq
import http.client
import random
import threading
import time
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any, Final

from orchestrator.sdk import capture, control_address, terminal
from orchestrator.sdk.control_answers import Answer, Granted, described
from orchestrator.sdk.control_link import Away, Link, Refused, decoded
from orchestrator.sdk.home import Home
from orchestrator.sdk.ids import uuid7
from orchestrator.sdk.interrupts import interruptible
from orchestrator.sdk.journal import Journal
from orchestrator.sdk.limited_tags import Tags
from orchestrator.sdk.runs import TaskRun

FIRST_SECONDS: Final = 1.0  #: how long the first asking waits for the run's own facts to arrive
AGAIN_SECONDS: Final = 5.0  #: between askings behind the push …
AGAIN_SECONDS_EACH: Final = 0.1  #: … and more of it the more wait, so that a process asks ten times a second at most
REFUSED_SECONDS: Final = 10.0
LINGER_SECONDS: Final = 10.0  #: how long the threads stay when nothing waits any more
QUIET_SECONDS: Final = 15.0  #: how long the helper may take to start before a person is told
_FIRST_DELAY_SECONDS: Final = 0.01
_LONGEST_UNKNOWN_SECONDS: Final = 1.0
_LONGEST_AWAY_SECONDS: Final = 5.0
_LONGEST_START_SECONDS: Final = 0.5
_UNKNOWN_RUN: Final = "unknown_run"
_MAX_NAME: Final = 200
_INFO, _WARNING = 20, 30


class _Entry:
    """A task run that asked and was not told yes yet."""

    __slots__ = ("body", "delay", "due", "granted", "wake")

    def __init__(self, body: dict[str, Any]) -> None:
        self.body = body
        self.granted = False
        self.wake: Callable[[], object] | None = None  #: None while its own thread still asks
        self.due = 0.0
        self.delay = _FIRST_DELAY_SECONDS  #: after the next time that the server does not know the run


class Slots:
    """The slots of this process's task runs."""

    def __init__(self, home: Home, record: Journal) -> None:
        self._home = home
        self._journal = record
        self._listener = str(uuid7())
        self._link: Link | None = None
        self._condition = threading.Condition()
        self._entries: dict[str, _Entry] = {}
        self._due: list[tuple[float, int, str]] = []  # a heap; what an entry's own `due` contradicts is passed over
        self._order = count()
        self._given_back: list[str] = []
        self._sweeper: threading.Thread | None = None
        self._stream: threading.Thread | None = None
        self._away_since = 0.0
        self._away_until = 0.0
        self._away_delay = 0.0
        self._has_complained = False
        self._wanted_until = 0.0
        self._listen_now = threading.Event()  #: the stream is to be opened now, however often that failed

    # --- for the engine

    @interruptible
    def ask(self, run: TaskRun) -> str:
        """Ask for the first time, waiting a moment for the run's own facts to arrive; see `control.ask`."""
        entry = _Entry(self._question(run))
        with self._condition:
            self._entries[run.id] = entry
        until = time.monotonic() + FIRST_SECONDS
        while True:
            reason, is_unknown = self._answer(entry)
            if not reason:
                self._take(run.id, entry)
                return ""
            if not is_unknown or time.monotonic() >= until:
                return reason
            time.sleep(_next_delay(entry))

    def wait(self, run: TaskRun, wake: Callable[[], object]) -> None:
        """Call a function once a task run has its slots; see `control.wait`."""
        with self._condition:
            entry = self._entries.get(run.id)
            is_new = entry is None  # it asked before this process ended its journal and began another
            if entry is None:
                entry = self._entries[run.id] = _Entry(self._question(run))
            if entry.granted:
                del self._entries[run.id]
            else:
                entry.wake = wake
                self._schedule(run.id, entry, 0.0 if is_new or self._away_since else self._pause())
                self._start_threads()
                self._listen_now.set()
        if entry.granted:
            wake()

    def withdraw(self, task_run: str) -> None:
        """Stop waiting, or give back; see `control.withdraw`."""
        with self._condition:
            if self._entries.pop(task_run, None) is not None:
                self._given_back.append(task_run)
                self._start_threads()
                self._condition.notify()

    def limited_tags(self) -> frozenset[str]:
        """Return the tags that are limited in this script's team. Raises OSError while the server is away."""
        try:
            tags: frozenset[str] = decoded(self._server().request("GET", "/api/slots/tags/"), Tags).tags
        except Away as problem:
            self._note_away(problem)
            raise OSError(str(problem)) from None
        except Refused as problem:  # it does not take this run's facts either, so the run is none of its own
            url = self._server().address.url
            self._complain(f"{url} does not say which tags are limited: {problem}. None are taken for it.")
            return frozenset()
        self._note_back()
        return tags

    # --- asking

    def _question(self, run: TaskRun) -> dict[str, Any]:
        assert run.flow_run is not None
        question: dict[str, Any] = {
            "run": run.flow_run.id,
            "attempt": run.flow_attempt,
            "task_run": run.id,
            "name": run.name[:_MAX_NAME],
            "tags": sorted(run.tags),
            "listener": self._listener,
        }
        if run.attempt > 1:  # the fact that gave the last attempt's slot back must not come after the answer
            question |= {"journal": self._journal.id, "sequence": self._journal.sequence}
        return question

    def _answer(self, entry: _Entry) -> tuple[str, bool]:
        """Ask once. Returns why it must wait, and whether that is only since the run's facts are on their way."""
        try:
            answer: Answer = decoded(self._server().request("POST", "/api/slots/", entry.body), Answer)
        except Away as problem:
            self._note_away(problem)
            return "Waits for the server to say whether there is a free slot", False
        except Refused as problem:
            self._note_back()
            if problem.code == _UNKNOWN_RUN:
                self._journal.ring()
                return "Waits for the server to learn of its flow run", True
            self._complain(f"{self._server().address.url} does not say whether there is a free slot: {problem}")
            entry.delay = REFUSED_SECONDS
            return f"Waits for a slot, which the server refuses: {problem}", False
        self._note_back()
        entry.delay = _FIRST_DELAY_SECONDS
        return ("", False) if answer.granted else (described(answer), False)

    def _take(self, task_run: str, entry: _Entry) -> None:
        """Let a task run have what it was granted, or give it back where it was withdrawn meanwhile."""
        with self._condition:
            if self._entries.get(task_run) is entry:
                del self._entries[task_run]
                return
            self._given_back.append(task_run)
            self._start_threads()
            self._condition.notify()

    def _server(self) -> Link:
        address = control_address.find(self._home)
        link = self._link
        if link is None or link.address != address:
            link = self._link = Link(address)
        return link

    # --- waiting

    def _start_threads(self) -> None:
        """Start what does not run yet. Holds the condition; a process that can have no more threads waits longer."""
        try:
            if self._sweeper is None:
                self._sweeper = _started(self._sweep, "orchestrator-slots")
            if self._stream is None and any(entry.wake for entry in self._entries.values()):
                self._stream = _started(self._listen, "orchestrator-slots-stream")
        except RuntimeError:
            pass

    def _schedule(self, task_run: str, entry: _Entry, seconds: float) -> None:
        """Have an entry asked for again. Holds the condition."""
        entry.due = time.monotonic() + seconds
        heapq.heappush(self._due, (entry.due, next(self._order), task_run))
        self._condition.notify()

    def _pause(self) -> float:
        return (AGAIN_SECONDS + AGAIN_SECONDS_EACH * len(self._entries)) * random.uniform(0.75, 1.25)

    def _sweep(self) -> None:
        while True:
            with self._condition:
                due = self._next_due()
                given_back, self._given_back = self._given_back, []
                if due is None and not given_back:
                    self._sweeper = None
                    return
            for task_run in given_back:
                self._give_back(task_run)
            if due is not None:
                self._ask_again(*due)

    def _next_due(self) -> tuple[str, _Entry] | None:
        """Wait for the next entry to ask for; None where nothing waits, or something is to be given back."""
        idle_until = time.monotonic() + LINGER_SECONDS
        while True:
            if self._given_back:
                return None
            now = time.monotonic()
            while self._due:
                at, _, task_run = self._due[0]
                entry = self._entries.get(task_run)
                if entry is None or entry.due != at:
                    heapq.heappop(self._due)
                    continue
                if max(at, self._away_until) > now:
                    break
                heapq.heappop(self._due)
                return task_run, entry
            if self._due:
                idle_until = now + LINGER_SECONDS
                self._condition.wait(max(self._due[0][0], self._away_until) - now)
            elif now >= idle_until:
                return None
            else:
                self._condition.wait(idle_until - now)

    def _ask_again(self, task_run: str, entry: _Entry) -> None:
        reason, is_unknown = self._answer(entry)
        if not reason:
            self._grant(task_run)
            return
        with self._condition:
            if self._entries.get(task_run) is not entry:  # withdrawn while it was asked for
                self._given_back.append(task_run)
            elif is_unknown:
                self._schedule(task_run, entry, _next_delay(entry))
            else:
                self._schedule(task_run, entry, 0.0 if self._away_since else max(entry.delay, self._pause()))

    def _grant(self, task_run: str) -> None:
        """Wake a task run that was granted its slots."""
        with self._condition:
            entry = self._entries.get(task_run)
            if entry is None or entry.granted:
                return
            entry.granted = True
            if entry.wake is None:  # its own thread is just about to wait, or gets the same answer
                return
            del self._entries[task_run]
        entry.wake()

    def _give_back(self, task_run: str) -> None:
        try:
            self._server().request("DELETE", f"/api/slots/{task_run}/")
        except (Away, Refused):  # the run's recorded ending does it too
            pass

    # --- listening

    def _listen(self) -> None:
        delay = 0.0
        while self._is_wanted():
            try:
                for name, data in self._events():
                    if name == "ready":
                        delay = 0.0
                        self._ask_all_again()
                    elif name == "granted":
                        self._grant(decoded(data, Granted).task_run)
                    if not self._is_wanted():
                        return
            except (Away, Refused, OSError, http.client.HTTPException):
                pass  # the asking behind the push says what is wrong
            delay = min(_LONGEST_AWAY_SECONDS, max(0.1, delay * 2))
            self._listen_now.wait(delay * random.uniform(0.75, 1.25))
            self._listen_now.clear()

    def _is_wanted(self) -> bool:
        """Whether the stream is of use: something waits, or did a moment ago. Where it is not, its thread is over."""
        with self._condition:
            if any(entry.wake for entry in self._entries.values()):
                self._wanted_until = time.monotonic() + LINGER_SECONDS
            elif time.monotonic() >= self._wanted_until:
                self._stream = None
                return False
            return True

    def _events(self) -> Iterator[tuple[str, bytes]]:
        """Yield the stream's events until it breaks off; a comment comes as an event without a name."""
        connection, response = self._server().stream(f"/api/slots/stream/?listener={self._listener}")
        name, data = "", b""
        try:
            while line := response.readline():
                field, _, value = line.rstrip(b"\r\n").partition(b":")
                if field == b"event":
                    name = value.strip().decode("utf-8", "replace")
                elif field == b"data":
                    data = value.strip()
                elif not field:  # the end of an event, or a comment
                    yield name, data
                    name, data = "", b""
        finally:
            connection.close()

    def _ask_all_again(self) -> None:
        with self._condition:
            self._away_until = 0.0
            for task_run, entry in self._entries.items():
                if entry.wake is not None:
                    self._schedule(task_run, entry, 0.0)

    # --- a server that is away

    def _note_away(self, problem: Away) -> None:
        address = self._server().address
        trouble = ""
        if address.socket is not None:
            from orchestrator.sdk import control_helper  # only where no server is

            trouble = control_helper.start(self._home)
        now = time.monotonic()
        with self._condition:
            self._away_since = self._away_since or now
            longest = _LONGEST_AWAY_SECONDS if address.socket is None or trouble else _LONGEST_START_SECONDS
            self._away_delay = min(longest, max(0.05, self._away_delay * 2))
            self._away_until = now + self._away_delay * random.uniform(0.75, 1.25)
            is_quiet = address.socket is not None and not trouble and now - self._away_since < QUIET_SECONDS
        if not is_quiet:
            where = address.url if address.socket is None else f"the helper of {self._home.root}"
            self._complain(f"Task runs with limited tags wait for {where}, which does not answer: {trouble or problem}")

    def _note_back(self) -> None:
        if not self._away_since:
            return
        with self._condition:
            self._away_since = self._away_until = self._away_delay = 0.0
            told, self._has_complained = self._has_complained, False
            self._listen_now.set()
        if told:
            with capture.muted():
                terminal.write(_INFO, "orchestrator.control", "It answers again; task runs with limited tags go on.")

    def _complain(self, message: str) -> None:
        with self._condition:
            if self._has_complained:
                return
            self._has_complained = True
        with capture.muted():
            terminal.write(_WARNING, "orchestrator.control", message)


def _started(work: Callable[[], None], name: str) -> threading.Thread:
    thread = threading.Thread(target=work, name=name, daemon=True)
    thread.start()
    return thread


def _next_delay(entry: _Entry) -> float:
    """Return how long to wait for the run's facts, longer each time."""
    delay = min(entry.delay, _LONGEST_UNKNOWN_SECONDS)
    entry.delay = delay * 2
    return delay * random.uniform(0.75, 1.25)
