"""What one worker asks and tells the broker about calls. Each method is one round trip, and raises `redis.RedisError`.

A call is executed by whoever sets its claim, and at most once. The claim is renewed with the worker's heartbeat. Where
a flow run has given a call up, its claim says so (`keys.OFF`), and the worker that still has it ends it. A call begins
only by a compare-and-set on its own worker's claim: where that is gone, since the broker forgot it, nobody can say any
more what became of the call meanwhile, and it is given back.
"""

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from orchestrator.sdk.runners.call_wire import SentCall
from runs.calls import keys
from runs.calls.bounds import TAKE_OFF, weight_of
from runs.calls.keys import BEGUN, OFF, RunKeys

#: Begins a call if this worker's claim stands; takes it off where there is none; leaves it where it is not this one's.
_BEGIN: Final = """
local claim = redis.call('get', KEYS[1])
if claim == ARGV[1] or claim == ARGV[2] then
    redis.call('set', KEYS[1], ARGV[2], 'ex', ARGV[4])
    return 'begun'
elseif not claim then
    redis.call('set', KEYS[1], ARGV[3], 'ex', ARGV[4])
    return 'gone'
end
return 'off'
"""


@dataclass(frozen=True, slots=True)
class Begun:
    """What came of beginning calls: those that must not begin, and of them those that nobody has any more."""

    off: frozenset[str] = frozenset()
    gone: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Taken:
    """What came of claiming the calls of a message: those that are this worker's, and how their flow run stands."""

    mine: list[SentCall]
    is_over: bool
    is_wanted: bool


@dataclass(frozen=True, slots=True)
class Held:
    """What a worker has of a flow run: its calls, by id whether they may have begun, and the ids of what just ended."""

    names: RunKeys
    calls: dict[str, bool]
    ended: Sequence[str]


@dataclass(frozen=True, slots=True)
class Heard:
    """How a flow run stands, and which of its calls were given up."""

    is_over: bool
    is_wanted: bool
    given_up: list[str]


class Claims:
    """The claims of a worker."""

    def __init__(self, worker: UUID) -> None:
        self._id = worker.hex.encode()
        self._beat_key = keys.worker(worker.hex)

    def take(self, names: RunKeys, calls: Sequence[SentCall], queue: str, *, refuse: bool) -> Taken:
        """Claim the calls of a message of a Celery queue; with `refuse`, so that nobody executes them by these ids."""
        with keys.broker().pipeline(transaction=False) as pipe:
            pipe.set(self._beat_key, b"1", px=keys.WORKER_MS)
            pipe.exists(names.over)
            pipe.exists(names.wanted)
            for call in calls:
                pipe.set(names.claim(call.id), OFF if refuse else self._id, nx=True, ex=keys.CLAIM_SECONDS)
            pipe.hdel(names.waiting, *(call.id for call in calls))
            pipe.eval(TAKE_OFF, 1, keys.load(queue), names.attempt, weight_of(calls))
            _, is_over, is_wanted, *claimed, _, _ = pipe.execute()
        mine = [call for call, is_mine in zip(calls, claimed, strict=True) if is_mine]
        return Taken(mine, bool(is_over), bool(is_wanted))

    def begin(self, names: RunKeys, calls: Collection[str]) -> Begun:
        """Note in the claims that calls may have begun, where these are this worker's; again is as once."""
        mine = self._id, self._id + BEGUN, OFF, keys.CLAIM_SECONDS
        with keys.broker().pipeline(transaction=False) as pipe:
            for call in calls:
                pipe.eval(_BEGIN, 1, names.claim(call), *mine)
            said = dict(zip(calls, pipe.execute(), strict=True))
        off = frozenset(call for call, how in said.items() if how != b"begun")
        return Begun(off, frozenset(call for call in off if said[call] == b"gone"))

    def payload(self, names: RunKeys, call: str, parts: int, digest: bytes) -> bytes | None:
        """Take out a payload that travels in parts; None where they are gone, or are others than were signed."""
        names_of_parts = [names.part(call, number) for number in range(parts)]
        with keys.broker().pipeline(transaction=False) as pipe:
            pipe.mget(names_of_parts)
            pipe.delete(*names_of_parts)
            pipe.zrem(names.parts, *names_of_parts)
            found, _, _ = pipe.execute()
        data = b"" if None in found else b"".join(found)
        return data if hashlib.sha256(data).digest() == digest else None

    def beat(self, held: Sequence[Held]) -> list[Heard]:
        """Say that this worker lives and what it has, and hear how that stands, in the same order."""
        with keys.broker().pipeline(transaction=False) as pipe:
            pipe.set(self._beat_key, b"1", px=keys.WORKER_MS)
            for one in held:
                ids = "\n".join((*one.ended, *one.calls))
                pipe.set(one.names.held(self._id.decode()), ids, px=keys.HELD_MS)
                pipe.exists(one.names.over)
                pipe.exists(one.names.wanted)
                for call, has_begun in one.calls.items():
                    claim = one.names.claim(call)
                    if has_begun:  # the broker may have been emptied
                        pipe.set(claim, self._id + BEGUN, nx=True, ex=keys.CLAIM_SECONDS)
                    pipe.expire(claim, keys.CLAIM_SECONDS)
                    pipe.get(claim)
            answers = iter(pipe.execute()[1:])
        heard = []
        for one in held:
            _, is_over, is_wanted = next(answers), next(answers), next(answers)
            claims = {}
            for call, has_begun in one.calls.items():
                claims[call] = [next(answers) for _ in range(2 + has_begun)][-1]
            given_up = [call for call, claim in claims.items() if claim == OFF]
            heard.append(Heard(bool(is_over), bool(is_wanted), given_up))
        return heard
