"""How much of the broker one attempt of a flow run may take, whatever its process asks for.

A flow's process holds back what no worker takes (`celery_line.WINDOW`); these bounds are the server's own, a few times
as much, for a token that is used otherwise. What waits in a Celery queue weighs until a worker takes it, however old it
is, since the broker drops nothing of a queue by itself; all of it is forgotten once the queue is empty. (Celery's
`expires` would not help: a worker looks at it, and drops without a word what `taking` gives back.)
"""

import time
from collections.abc import Collection, Sequence
from typing import Final
from uuid import UUID

from orchestrator.sdk.runners.call_wire import Exchange, SentCall
from runs.calls import keys
from runs.calls.keys import RunKeys

MAX_LINES: Final = 32  #: of a flow run and its subflows at once; each may have a stream
LINE_SECONDS: Final = 600  #: after which a line that says nothing counts no more
MAX_PARTS: Final = 256  #: of a mebibyte at most, that no worker has fetched
MAX_GIVEN_UP: Final = 200_000  #: ids that are taken back, stopped and killed, by claims and words to workers, …
GIVEN_UP_SECONDS: Final = keys.CLAIM_SECONDS  #: … in so long a time
MAX_RUN_BYTES: Final = 64 * 1024 * 1024  #: that wait in one queue for one attempt …
MAX_QUEUE_BYTES: Final = 512 * 1024 * 1024  #: … and for all
CALL_BYTES: Final = 256  #: of a call beside its payload, about …
MESSAGE_BYTES: Final = 2_048  #: … and of a message
_LOAD_SECONDS: Final = 30 * 86_400

LINES: Final = f"More than {MAX_LINES} task runners of this flow run ask at once. Ask again when others have closed."
GIVEN_UP: Final = (
    f"More than {MAX_GIVEN_UP} task runs were taken back or stopped within {GIVEN_UP_SECONDS // 60} minutes."
)
PARTS: Final = f"More than {MAX_PARTS} MB of this flow run's big arguments wait for workers. Ask again in a moment."
FULL: Final = "The queue holds as many bytes of task runs as it may, until workers take them. Ask again in a moment."
_WORDS: Final = {"ok": "", "lines": LINES, "given up": GIVEN_UP, "parts": PARTS, "full": FULL}

# All of it in one step, since several server processes answer one flow run: what is refused leaves no trace.
_ADMIT: Final = """
local lines, parts, given_up, list, load = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local now, line, who = tonumber(ARGV[1]), ARGV[2], ARGV[3]
local weight, ids = tonumber(ARGV[4]), tonumber(ARGV[5])
local most = {}
for i = 6, 13 do most[i - 5] = tonumber(ARGV[i]) end
local max_lines, line_seconds, max_ids, id_seconds, max_parts, part_seconds, max_mine, max_all = unpack(most)
local first_part, load_seconds = 15, tonumber(ARGV[14])

redis.call('zremrangebyscore', lines, '-inf', now - line_seconds)
if not redis.call('zscore', lines, line) and redis.call('zcard', lines) >= max_lines then return 'lines' end
if ids > 0 and tonumber(redis.call('get', given_up) or 0) + ids > max_ids then return 'given up' end
redis.call('zremrangebyscore', parts, '-inf', now)
local new = 0
for i = first_part, #ARGV do
    if not redis.call('zscore', parts, ARGV[i]) then new = new + 1 end
end
if new > 0 and redis.call('zcard', parts) + new > max_parts then return 'parts' end

redis.call('zadd', lines, now, line)
redis.call('expire', lines, line_seconds)
if ids > 0 and redis.call('incrby', given_up, ids) == ids then redis.call('expire', given_up, id_seconds) end
for i = first_part, #ARGV do redis.call('zadd', parts, now + part_seconds, ARGV[i]) end
if #ARGV >= first_part then redis.call('expire', parts, part_seconds) end
if weight == 0 then return 'ok' end

if redis.call('llen', list) == 0 then redis.call('del', load) end
local mine, all = tonumber(redis.call('hget', load, who) or 0), tonumber(redis.call('hget', load, 'all') or 0)
if (mine > 0 and mine + weight > max_mine) or (all > 0 and all + weight > max_all) then return 'full' end
redis.call('hincrby', load, who, weight)
redis.call('hincrby', load, 'all', weight)
redis.call('expire', load, load_seconds)
return 'ok'
"""

#: Of `Claims.take`: takes a message's weight off its queue.
TAKE_OFF: Final = """
for _, field in ipairs({ARGV[1], 'all'}) do
    if redis.call('hexists', KEYS[1], field) == 1 and redis.call('hincrby', KEYS[1], field, -ARGV[2]) <= 0 then
        redis.call('hdel', KEYS[1], field)
    end
end
"""


def weight_of(calls: Collection[SentCall]) -> int:
    """Return about how many bytes of the broker a message with these calls takes."""
    return MESSAGE_BYTES + sum(CALL_BYTES + len(call.payload) for call in calls)


def admit(exchange: Exchange, names: RunKeys, queue: UUID) -> str:
    """Count what a flow's process asks for. One round trip.

    Returns:
        Why it may not be done now; empty where it may. `FULL`: only the messages may not be sent.

    Raises:
        redis.RedisError: The broker cannot be reached.
    """
    weight = sum(weight_of(message) for message in exchange.messages)
    celery_queue = keys.celery_queue_of(queue)
    said = keys.broker().eval(
        _ADMIT, 5, names.lines, names.parts, names.given_up, celery_queue, keys.load(celery_queue),
        time.time(), names.line, names.attempt, weight, sum(map(len, (exchange.recall, exchange.stop, exchange.kill))),
        MAX_LINES, LINE_SECONDS, MAX_GIVEN_UP, GIVEN_UP_SECONDS, MAX_PARTS, keys.PART_SECONDS,
        MAX_RUN_BYTES, MAX_QUEUE_BYTES, _LOAD_SECONDS,
        *(names.part(call, number) for call, number, _ in exchange.parts),
    )  # fmt: skip
    return _WORDS[said.decode()]


def forget_parts(names: RunKeys, calls: Sequence[str]) -> None:
    """Drop what is there of the big payloads of calls. Two round trips, one where there is none."""
    gone = set(calls)
    client = keys.broker()
    found = client.zrange(names.parts, 0, -1)
    parts = [part for part in found if part.decode().rpartition(".")[0].rpartition(f"{names.id}.")[2] in gone]
    if parts:
        with client.pipeline(transaction=False) as pipe:
            pipe.delete(*parts)
            pipe.zrem(names.parts, *parts)
            pipe.execute()
