"""A flow run's line to its server: calls go out in batches, one request after the other; what comes back is streamed.

Two threads. One posts what there is to say, as much of it as gathered during the request before. The other reads what
workers say. Either tries again by itself where the server does not answer: calls have ids by which a worker claims
them, so that what was sent twice is executed once, and entries of the stream have numbers.
"""

from __future__ import annotations

import hashlib
import secrets
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Final

from orchestrator.sdk import capture, terminal
from orchestrator.sdk.control_address import Address
from orchestrator.sdk.control_link import Away, Link, Refused
from orchestrator.sdk.effects import Outcome
from orchestrator.sdk.exceptions import CrashedRun, RunnerError
from orchestrator.sdk.runners.call_wire import (
    EXCHANGE_PATH,
    LOST,
    MAX_BODY,
    MAX_IDS,
    MAX_MESSAGE,
    MAX_MESSAGES,
    MEDIA_TYPE,
    PART,
    PIECE,
    RETURNED,
    TAKEN,
    TOOK,
    Answer,
    Exchange,
    SentCall,
    decode_answer,
    encode,
    frames_of,
)
from orchestrator.sdk.runners.calls import Message
from orchestrator.sdk.runners.celery_pace import Pace
from orchestrator.sdk.runners.celery_stream import Stream

if TYPE_CHECKING:
    from orchestrator.sdk.runners.celery import CeleryCall, CeleryTaskRunner

WINDOW: Final = 1_000  #: calls that may wait in the broker for a worker …
WINDOW_BYTES: Final = 16 * 1024 * 1024  #: … and bytes of their payloads
WINDOW_UNHEARD: Final = 16  #: calls, while no worker listens
ACK_ENTRIES: Final = 32  #: of the stream, after which the server is told that it may forget them
LOOK_SECONDS: Final = 2.0  #: between looks for calls …
QUIET_SECONDS: Final = 4.0  #: … of which nothing was heard for so long
MISSING_SECONDS: Final = 3.0  #: how long a call must be missing to be lost
CLOSE_SECONDS: Final = 2.0
EXCHANGE_SECONDS: Final = 20.0  #: for an answer: asking again has the server do it again
_PAUSE_SECONDS: Final = 0.01  #: while a task's first calls are on their way
_LONGEST_AWAY_SECONDS: Final = 3.0
_ACK_SECONDS: Final = 0.5
_WARNING: Final = 30


class Line:
    """The line of one flow run."""

    def __init__(self, address: Address, queue: str, runner: CeleryTaskRunner) -> None:
        self._link = Link(address, EXCHANGE_SECONDS)
        self._id = secrets.token_hex(8)
        self._queue = queue
        self._runner = runner
        self._condition = threading.Condition()
        self._waiting: deque[CeleryCall] = deque()
        self._out: dict[str, CeleryCall] = {}
        self._untaken = self._untaken_bytes = 0
        self._window = WINDOW
        self._recall: list[str] = []
        self._stop: list[str] = []
        self._kill: list[str] = []
        self._pace = Pace()
        self._seen = self._told = ""
        self._entries = 0
        self._seen_at = 0.0
        self._look_at = time.monotonic() + LOOK_SECONDS
        self._missing: dict[str, float] = {}
        self._closed = False
        self._is_told = self._is_unheard = False  # whether a person was told
        self._stream = Stream(self._link, self._id)
        self._sender = threading.Thread(target=self._send_all, name="orchestrator-calls", daemon=True)
        self._sender.start()
        threading.Thread(target=self._listen, name="orchestrator-calls-stream", daemon=True).start()

    # --- for the runner; any thread

    def hand_out(self, call: CeleryCall) -> None:
        """Have a call sent."""
        with self._condition:
            call.sent_id = ""
            call.is_taken = False
            call.pieces.clear()
            self._waiting.append(call)
            self._condition.notify()

    def stop(self, call: CeleryCall) -> None:
        """Take a call back, or have it interrupted."""
        with self._condition:
            if call.sent_id:
                self._recall.append(call.sent_id)
                self._stop.append(call.sent_id)
                self._condition.notify()

    def kill(self, call: CeleryCall) -> None:
        """Have the process of a call killed."""
        with self._condition:
            if call.sent_id:
                self._kill.append(call.sent_id)
                self._condition.notify()

    def close(self) -> None:
        """Say that it is over, waiting a moment for that to arrive."""
        with self._condition:
            self._closed = True
            self._condition.notify_all()
        if threading.current_thread() is not self._sender:
            self._sender.join(CLOSE_SECONDS)
        self._stream.close()

    # --- out

    def _send_all(self) -> None:
        while True:
            exchange, big = self._next()
            for number in range(0, len(big), PART):
                sent_id = exchange.messages[0][0].id
                self._exchange(
                    Exchange(self._id, self._queue, parts=[(sent_id, number // PART, big[number : number + PART])])
                )
            answer = self._exchange(exchange)
            if exchange.over:
                return
            if answer is not None:
                self._heed(exchange, answer)

    def _next(self) -> tuple[Exchange, bytes]:
        """Wait for something to say, and return it; and the payload, where it is about a big one."""
        with self._condition:
            while True:
                exchange = Exchange(self._id, self._queue, over=self._closed)
                if self._closed:
                    return exchange, b""
                big, is_held = self._calls_into(exchange)
                self._asks_into(exchange)
                if _says_anything(exchange):
                    return exchange, big
                self._condition.wait(self._pause(is_held))

    def _pause(self, is_held: bool) -> float:
        if is_held:
            return _PAUSE_SECONDS
        now = time.monotonic()
        due = self._look_at - now if self._out else LOOK_SECONDS
        if self._seen != self._told:
            due = min(due, self._seen_at + _ACK_SECONDS - now)
        return max(due, 0.001)

    def _calls_into(self, exchange: Exchange) -> tuple[bytes, bool]:
        """Fill messages with waiting calls.

        Returns:
            The payload of a call that is too big for a message, which then is the only one; and whether some calls are
            held back for a moment.
        """
        size = 0
        while self._has_room() and size < MAX_BODY // 2 and len(exchange.messages) < MAX_MESSAGES:
            first = self._waiting[0]
            if first.is_over:
                self._waiting.popleft()
                continue
            payload = first.payload
            if len(payload) > MAX_MESSAGE:
                if exchange.messages:
                    break
                self._waiting.popleft()
                exchange.messages.append([self._sent(first, payload)])
                return payload, False
            room = self._pace.room(first.run.key)
            if not room:
                return b"", True
            message, weight = self._message(first.run.key, room)
            exchange.messages.append(message)
            size += weight
        return b"", False

    def _has_room(self) -> bool:
        return bool(self._waiting) and self._untaken < self._window and self._untaken_bytes < WINDOW_BYTES

    def _message(self, task: str, room: int) -> tuple[list[SentCall], int]:
        """Take calls of a task for one message. Returns them, and their bytes."""
        message: list[SentCall] = []
        weight = 0
        while self._waiting and len(message) < room and self._waiting[0].run.key == task:
            payload = self._waiting[0].payload
            if message and weight + len(payload) > MAX_MESSAGE:
                break
            call = self._waiting.popleft()
            if not call.is_over:
                message.append(self._sent(call, payload))
                weight += len(payload)
        return message, weight

    def _sent(self, call: CeleryCall, payload: bytes) -> SentCall:
        """Note that a call is sent now. Holds the condition."""
        call.hands += 1
        call.sent_id = f"{call.id}.{call.hands}"
        call.at = time.monotonic()
        call.size = len(payload)
        self._out[call.sent_id] = call
        self._untaken += 1
        self._untaken_bytes += len(payload)
        if len(payload) <= MAX_MESSAGE:
            return SentCall(call.sent_id, payload)
        return SentCall(call.sent_id, b"", -(-len(payload) // PART), hashlib.sha256(payload).digest())

    def _asks_into(self, exchange: Exchange) -> None:
        """Add what is to be stopped, looked for and told. Holds the condition."""
        for name in ("_recall", "_stop", "_kill"):
            ids: list[str] = getattr(self, name)
            setattr(exchange, name[1:], ids[:MAX_IDS])
            del ids[:MAX_IDS]
        now = time.monotonic()
        if self._out and now >= self._look_at:
            self._look_at = now + LOOK_SECONDS
            quiet = [sent_id for sent_id, call in self._out.items() if now - call.at > QUIET_SECONDS]
            exchange.look = quiet[:MAX_IDS]
        is_due = self._entries >= ACK_ENTRIES or now - self._seen_at > _ACK_SECONDS
        if self._seen != self._told and (is_due or _says_anything(exchange)):
            exchange.seen = self._told = self._seen
            self._entries = 0

    def _exchange(self, exchange: Exchange) -> Answer | None:
        """Say something, again and again where the server is away. None where it said no, or the flow has ended."""
        data, delay = encode(exchange), 0.05
        while True:
            try:
                answer = decode_answer(self._link.send("POST", EXCHANGE_PATH, data, MEDIA_TYPE))
            except Refused as problem:
                self._refuse(exchange, problem)
                return None
            except (Away, ValueError) as problem:
                if self._closed:
                    return None
                self._complain(problem)
                with self._condition:
                    self._condition.wait(delay)
                delay = min(_LONGEST_AWAY_SECONDS, delay * 2)
            else:
                self._is_told = False
                return answer

    def _refuse(self, exchange: Exchange, problem: Refused) -> None:
        """End what the server does not take: all calls, where it is nothing about these ones."""
        sent = [call.id for message in exchange.messages for call in message]
        with self._condition:
            calls = [call for sent_id in sent if (call := self._drop(sent_id)) is not None]
            if problem.status in (401, 403):
                calls += self._waiting
                self._waiting.clear()
        for call in calls:
            call.end(Outcome(error=RunnerError(f"The server does not hand the task out: {problem}")))

    def _heed(self, exchange: Exchange, answer: Answer) -> None:
        """Do what follows from an answer: what is lost is handed out anew, or has crashed."""
        if answer.unheard:
            self._say_unheard(answer.unheard)
        with self._condition:
            if exchange.messages or exchange.look:
                self._window = WINDOW_UNHEARD if answer.unheard else WINDOW
            recalled = [call for sent_id in answer.recalled if (call := self._drop(sent_id)) is not None]
            now = time.monotonic()
            missing = {sent_id: self._missing.get(sent_id, now) for sent_id in answer.missing}
            if not self._stream.has_come_to(answer.tail):
                missing = {}
            if exchange.look:
                self._missing = missing
            gone = [sent_id for sent_id, since in missing.items() if now - since >= MISSING_SECONDS]
            lost = []
            for sent_id in gone:
                call = self._out.get(sent_id)
                if call is None:
                    continue
                if not call.is_taken:  # no worker may find it after all: then it is handed out anew
                    self._recall.append(sent_id)
                elif (dropped := self._drop(sent_id)) is not None:
                    lost.append((sent_id, dropped))
                    self._kill.append(sent_id)  # should its worker come back
        for call in recalled:
            self._runner.hand_out_anew(call)
        for sent_id, call in lost:
            call.has_begun = call.has_begun or sent_id not in answer.unbegun  # it may have, without a word of it
            self._runner.lose(call, f"The worker that executed the task ({call.worker}) was lost, or its word on it")

    def _drop(self, sent_id: str) -> CeleryCall | None:
        """Forget a handing out. Holds the condition."""
        call = self._out.pop(sent_id, None)
        self._missing.pop(sent_id, None)
        if call is not None and not call.is_taken:
            self._leave_window(call)
        return call

    def _leave_window(self, call: CeleryCall) -> None:
        """Note that a call waits in the broker no more. Holds the condition."""
        self._untaken -= 1
        self._untaken_bytes -= call.size
        self._condition.notify()

    # --- in

    def _listen(self) -> None:
        for entry in self._stream.entries():
            for kind, about, body in frames_of(entry.frames):
                call = self._out.get(about)
                if call is None:  # it was handed out anew since
                    continue
                try:
                    self._take(call, kind, about, body)
                except Exception as error:  # whatever comes of a user's values; the thread is for all calls
                    message = f"What a worker says of the task cannot be taken: {error!r}"
                    call.end(Outcome(error=CrashedRun(message), crashed=True))
            self._note_seen(entry.id)

    def _note_seen(self, entry_id: str) -> None:
        with self._condition:
            if self._seen == self._told:
                self._seen_at = time.monotonic()
            self._seen = entry_id
            self._entries += 1
            if self._entries == ACK_ENTRIES or self._entries == 1:
                self._condition.notify()

    def _take(self, call: CeleryCall, kind: int, about: str, body: bytes) -> None:
        """Take what a worker says of a call; in the order in which it says it."""
        call.at = time.monotonic()
        if kind == PIECE:
            call.pieces.append(body)
            return
        body = call.whole(kind, body)
        match kind:
            case _ if kind == TAKEN:
                with self._condition:
                    if not call.is_taken:
                        self._leave_window(call)
                        call.is_taken, call.worker, call.vanished = True, body.decode(), 0
            case _ if kind == RETURNED:
                with self._condition:
                    self._drop(about)
                self._runner.take_back(call, body.decode())
            case _ if kind == LOST:
                with self._condition:
                    self._drop(about)
                self._runner.lose(call, body.decode())
            case Message.OUTCOME:
                with self._condition:
                    self._drop(about)
                    self._pace.took(call.run.key, TOOK.unpack_from(body)[0] / 1e6)
                    self._condition.notify()
                if len(body) > TOOK.size:  # an empty one is of no interest: it was cancelled
                    call.receive(kind, body[TOOK.size :])
            case _:
                if kind == Message.BEGUN:
                    with self._condition:
                        self._pace.begun(call.run.key)
                call.receive(kind, body)

    # --- words

    def _complain(self, problem: Exception) -> None:
        if not self._is_told:
            self._is_told = True
            with capture.muted():
                url = self._link.address.url
                words = f"Task runs on Celery wait for {url}, which does not answer: {problem}"
                terminal.write(_WARNING, "orchestrator.calls", words)

    def _say_unheard(self, queue: str) -> None:
        """Record once with the flow run that nobody listens."""
        with self._condition:
            call = next(iter(self._out.values()), None)
            flow_run = None if call is None else call.run.flow_run
            if flow_run is None or self._is_unheard:
                return
            self._is_unheard = True
        words = f"No worker listens to the queue '{queue}', on which task runs wait. Start one: "
        words += f"orchestrator worker start --queue {queue}"
        capture.record_log(flow_run, _WARNING, "orchestrator.engine", words)


def _says_anything(exchange: Exchange) -> bool:
    return bool(
        exchange.messages or exchange.recall or exchange.stop or exchange.kill or exchange.look or exchange.seen
    )
