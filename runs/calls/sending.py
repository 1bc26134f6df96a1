"""The server's side: what a flow's process asks for is done in the broker. No state is kept here."""

import time
from base64 import b64encode
from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

from django.core.exceptions import ValidationError
from django.utils import timezone

from flows.models import DEFAULT_QUEUE, WorkQueue
from orchestrator.problems import Busy
from orchestrator.sdk.runners.call_wire import Answer, Exchange
from runs import bells
from runs.calls import keys
from runs.calls.bounds import FULL, admit, forget_parts
from runs.calls.keys import BEGUN, OFF, RunKeys
from runs.calls.signing import CallMessage, seal
from runs.models import Attempt
from runs.serving import serving

HEARD_SECONDS: Final = 2.0
MAX_HEARD: Final = 10_000
_heard: dict[UUID, tuple[float, bool]] = {}  # by work queue: when it was looked at, and whether somebody listens
_RETRY: Final = {"max_retries": 2, "interval_start": 0, "interval_step": 0.05, "interval_max": 0.1}


def do(exchange: Exchange, attempt: Attempt) -> Answer:
    """Do what a flow run's process asks for.

    Raises:
        ValidationError: Its team has no queue of this name.
        Busy: The broker holds as much for it as it may; asking again is safe.
        redis.RedisError, kombu.exceptions.OperationalError: The broker cannot be reached; asking again is safe.
    """
    names = RunKeys(attempt.flow_run_id, attempt.number, exchange.line)
    if exchange.over:
        end(names)
        return Answer()
    queue = queue_of(exchange.queue, attempt)
    answer, over = Answer(), admit(exchange, names, queue.pk)
    if over and over != FULL:
        raise Busy(over)
    with keys.broker().pipeline(transaction=False) as pipe:
        pipe.set(names.wanted, b"1", ex=keys.RUN_SECONDS)
        for call, number, data in exchange.parts:
            pipe.set(names.part(call, number), data, ex=keys.PART_SECONDS)
        if exchange.seen:
            pipe.xtrim(names.stream, minid=_after(exchange.seen))
        pipe.execute()
    if exchange.messages and not over:
        _send(exchange, attempt, names, queue)
    if exchange.recall:
        answer.recalled = _recalled(names, exchange.recall)
    if exchange.kill:
        _give_up(names, exchange.kill)
    for ids, kill in ((exchange.stop, False), (exchange.kill, True)):
        if ids:
            _broadcast(names, ids, kill=kill)
    if over:  # only now, after what makes room
        raise Busy(over)
    if exchange.look:
        answer.missing, answer.unbegun = _missing(names, queue, exchange.look)
        answer.tail = _tail(names)  # after them: what a worker said of a call that it no longer has is before it
    if (exchange.look or exchange.messages) and not _is_heard(queue):
        answer.unheard = queue.name
    return answer


def _is_heard(queue: WorkQueue) -> bool:
    """Whether a living worker serves a queue that is not paused; looked at every other second (one query)."""
    now = time.monotonic()
    known = _heard.get(queue.pk)
    if known is None or now - known[0] > HEARD_SECONDS:
        if len(_heard) > MAX_HEARD:
            _heard.clear()
        known = _heard[queue.pk] = now, not queue.paused and bool(serving(queue, timezone.now()))
    return known[1]


def queue_of(name: str, attempt: Attempt) -> WorkQueue:
    """Return a queue of the run's team by its name; by default the run's own. One query. Raises ValidationError."""
    run = attempt.flow_run
    found = WorkQueue.objects.filter(team=run.team_id)
    queue = found.filter(name=name).first() if name else found.filter(pk=run.queue_id).first()
    if queue is None and not name:
        queue = WorkQueue.default(run.team)
    if queue is None:
        message = f"There is no work queue “{name}”. Make it: orchestrator work-queue create {name or DEFAULT_QUEUE}"
        raise ValidationError({"queue": message})
    return queue


def end(names: RunKeys) -> None:
    """Note that nobody wants the calls of a flow run any more, and tell the workers that may have some."""
    client = keys.broker()
    with client.pipeline(transaction=False) as pipe:
        pipe.set(names.over, b"1", ex=keys.CLAIM_SECONDS)
        pipe.delete(names.wanted, names.waiting, names.stream)
        pipe.zrem(names.lines, names.line)
        pipe.execute()
    _broadcast(names, [], kill=True)


def _send(exchange: Exchange, attempt: Attempt, names: RunKeys, queue: WorkQueue) -> None:
    """Send messages through Celery; that they wait is noted before."""
    from orchestrator.celery import app  # 0.2 s and 20 MB, which a reader of the database does not pay

    run, celery_queue = attempt.flow_run, keys.celery_queue_of(queue.pk)
    waiting = {call.id: b"" for message in exchange.messages for call in message}
    with keys.broker().pipeline(transaction=False) as pipe:
        pipe.hset(names.waiting, mapping=waiting)
        pipe.expire(names.waiting, keys.STREAM_SECONDS)
        pipe.execute()
    with app.producer_or_acquire() as producer:
        for calls in exchange.messages:
            message = CallMessage(
                str(run.pk), attempt.number, exchange.line, str(run.team_id), celery_queue, time.time(), calls
            )
            data, signature = seal(message)
            app.send_task(
                keys.CALLS_JOB,
                [b64encode(data).decode(), signature.hex()],
                queue=celery_queue,
                producer=producer,
                retry_policy=_RETRY,
            )


def _recalled(names: RunKeys, calls: Sequence[str]) -> list[str]:
    """Take calls back that no worker has claimed; none will. Again is as once: an answer may have been lost."""
    claims = [names.claim(call) for call in calls]
    with keys.broker().pipeline(transaction=False) as pipe:
        for claim in claims:
            pipe.set(claim, OFF, nx=True, ex=keys.CLAIM_SECONDS)
        pipe.hdel(names.waiting, *calls)
        pipe.mget(claims)
        found = pipe.execute()[-1]
    recalled = [call for call, claim in zip(calls, found, strict=True) if claim == OFF]
    forget_parts(names, recalled)
    return recalled


def _give_up(names: RunKeys, calls: Sequence[str]) -> None:
    """Note that calls are not to be executed, whoever has them: a worker that comes back learns it by its heartbeat."""
    with keys.broker().pipeline(transaction=False) as pipe:
        for call in calls:
            pipe.set(names.claim(call), OFF, ex=keys.CLAIM_SECONDS)
        pipe.execute()


def _missing(names: RunKeys, queue: WorkQueue, calls: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the calls that neither a living worker has nor a message in the broker; and those that had not begun."""
    client = keys.broker()
    with client.pipeline(transaction=False) as pipe:
        pipe.mget([names.claim(call) for call in calls])
        pipe.hmget(names.waiting, list(calls))
        pipe.llen(keys.celery_queue_of(queue.pk))
        claims, waiting, length = pipe.execute()
    owners = [(claim or OFF).removesuffix(BEGUN) for claim in claims]
    workers = sorted({owner for owner in owners if owner != OFF})
    beats = client.mget([keys.worker(worker.decode()) for worker in workers]) if workers else []
    living = {worker for worker, beat in zip(workers, beats, strict=True) if beat is not None}
    missing, unbegun = [], []
    found = client.mget([names.held(worker.decode()) for worker in living]) if living else []
    held = {call for ids in found if ids is not None for call in ids.decode().split("\n")}
    for call, owner, claim, waits in zip(calls, owners, claims, waiting, strict=True):
        if (owner in living and call in held) or (claim is None and waits is not None and length):
            continue
        missing.append(call)
        if claim == owner != OFF:
            unbegun.append(call)
    return missing, unbegun


def _tail(names: RunKeys) -> str:
    """Return the id of the last entry of the stream; empty where it is empty."""
    last = keys.broker().xrevrange(names.stream, count=1)
    return last[0][0].decode() if last else ""


def _broadcast(names: RunKeys, calls: Sequence[str], *, kill: bool) -> None:
    """Tell every worker to stop calls of a flow run; none named: all that it has."""
    arguments = {"run": names.id, "calls": list(calls), "kill": kill}

    def tell(app: Any) -> None:
        app.control.broadcast(keys.STOP_COMMAND, arguments=arguments)

    bells.post(tell)


def _after(entry: str) -> str:
    """Return the id after this one: everything before it may be forgotten."""
    time_ms, _, number = entry.partition("-")
    if not (time_ms.isdecimal() and number.isdecimal() and len(entry) <= 41):
        raise ValidationError({"seen": f"“{entry[:50]}” is no id of an entry."})
    return f"{time_ms}-{int(number) + 1}"
