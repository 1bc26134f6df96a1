"""Names of what the broker keeps about calls, and for how long."""

import re
from functools import cache
from typing import TYPE_CHECKING, Final
from uuid import UUID

from django.conf import settings

if TYPE_CHECKING:
    import redis

CALLS_JOB: Final = "runs.jobs.calls"  #: Celery's name of what takes calls
STOP_COMMAND: Final = "orchestrator_stop_calls"
_PREFIX: Final = "orchestrator.calls"

MESSAGE_SECONDS: Final = 300  #: how long a message may wait for a worker; then its calls are given back, and sent anew
SKEW_SECONDS: Final = 60  #: by how much the clocks of a server and a worker may differ
CLAIM_SECONDS: Final = MESSAGE_SECONDS + 2 * SKEW_SECONDS  #: a claim outlives every copy of its message
PART_SECONDS: Final = CLAIM_SECONDS
WORKER_MS: Final = 4_000  #: after this without a heartbeat, a worker is gone with all that it had
HELD_MS: Final = 10_000
RUN_SECONDS: Final = 30  #: how long nobody may ask for a flow run's calls until its processes end
STREAM_SECONDS: Final = 3_600
BEGUN: Final = b"!"  #: after the worker in a claim: the call may have begun
OFF: Final = b"-"  #: the claim of a call that nobody is to execute


LINE: Final = re.compile(r"[0-9a-f]{8,32}")


class RunKeys:
    """The names for an attempt of a flow run; one of several where its subflows have task runners of their own."""

    def __init__(self, run: UUID | str, attempt: int, line: str) -> None:
        self.attempt = f"{run}.{attempt}"
        self.line = line
        self.id = f"{run}.{attempt}.{line}"
        self.stream = f"{_PREFIX}.back.{self.id}"  #: what workers say
        self.wanted = f"{_PREFIX}.wanted.{self.id}"  #: there while somebody asks for its calls
        self.over = f"{_PREFIX}.over.{self.id}"  #: there once nobody will
        self.waiting = f"{_PREFIX}.waiting.{self.id}"  #: a hash of the calls whose messages wait for a worker
        # Of all lines of the attempt (`bounds`):
        self.lines = f"{_PREFIX}.lines.{self.attempt}"  #: which there are, by when they said something last
        self.parts = f"{_PREFIX}.parts.{self.attempt}"  #: names of parts that no worker has fetched, by their end
        self.given_up = f"{_PREFIX}.given-up.{self.attempt}"  #: how many calls were taken back or stopped lately

    def claim(self, call: str) -> str:
        """Who has a call: a worker (and `BEGUN`), nobody (no key), or never anybody (`OFF`)."""
        return f"{_PREFIX}.claim.{self.id}.{call}"

    def held(self, worker: str) -> str:
        """The calls that a worker has, or of which its last words are on their way: their ids, a line each."""
        return f"{_PREFIX}.held.{self.id}.{worker}"

    def part(self, call: str, number: int) -> str:
        """A part of a payload."""
        return f"{_PREFIX}.part.{self.id}.{call}.{number}"


def worker(id: str) -> str:
    """The heartbeat of a worker that executes calls."""
    return f"{_PREFIX}.worker.{id}"


def load(celery_queue: str) -> str:
    """A hash of about how many bytes wait in a Celery queue: for each attempt of a flow run, and `all`."""
    return f"{_PREFIX}.load.{celery_queue}"


def celery_queue_of(work_queue: UUID | str) -> str:
    """The Celery queue of a work queue's calls."""
    return f"orchestrator.tasks.{work_queue}"


def calls_beside(celery_queue: str) -> str:
    """The same, by the Celery queue of its bells."""
    return celery_queue_of(celery_queue.rpartition(".")[2])


def address() -> str:
    """The broker's address, as redis-py writes it."""
    url: str = settings.CELERY_BROKER_URL
    return url.replace("redis+socket://", "unix://", 1)


@cache
def broker() -> "redis.Redis":
    """Return this process's client; any thread may use it. Its commands raise `redis.RedisError`."""
    import redis  # 0.1 s, which a reader of the database does not pay

    return redis.Redis.from_url(address(), socket_timeout=5.0, socket_connect_timeout=2.0, health_check_interval=15)
