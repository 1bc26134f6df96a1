"""What the drill does to the parts, and when. The seed decides which and when; what is hit depends on the moment."""

import os
import random
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import redis

from orchestrator.drill.disks import SmallDisk
from orchestrator.drill.parts import Part, children, run_hosts

MEAN_SECONDS: Final = 2.5  # between two faults

Fault = Callable[["Target", random.Random], str | None]


@dataclass(slots=True)
class Target:
    """What can be hit.

    Attributes:
        parts: By name, e.g. `worker-a`, `postgres`, `redis`.
        redis_url: Of the Redis-protocol server.
        cut: Cuts all connections of the database, where it is PostgreSQL.
        disk: The disk that can be filled, if there is one.
        later: Does something after so many seconds.
    """

    parts: dict[str, Part]
    redis_url: str
    later: Callable[[float, Callable[[], None]], None]
    cut: Callable[[], None] | None = None
    disk: SmallDisk | None = None
    is_full: bool = False

    def of(self, kind: str, rng: random.Random) -> Part:
        """One of the parts of a kind."""
        return self.parts[rng.choice(sorted(name for name in self.parts if name.partition("-")[0] == kind))]


def _kill(kind: str) -> Fault:
    def fault(target: Target, rng: random.Random) -> str | None:
        part = target.of(kind, rng)
        return f"kill -9 {part.name} (pid {pid})" if (pid := part.kill()) else None

    return fault


def _kill_host(target: Target, rng: random.Random) -> str | None:
    worker = target.of("worker", rng)
    hosts = run_hosts(worker.pid) if worker.pid else []
    if not hosts:
        return None
    os.kill(hosts[0], signal.SIGKILL)
    return f"kill -9 the run host of {worker.name} (pid {hosts[0]})"


def _kill_run(target: Target, rng: random.Random) -> str | None:
    worker = target.of("worker", rng)
    runs = [run for host in (run_hosts(worker.pid) if worker.pid else []) for run in children(host)]
    if not runs:
        return None
    chosen = rng.sample(runs, min(len(runs), rng.choice([1, 1, 1, 3])))
    for run in chosen:
        _signal(run, signal.SIGKILL)
    return f"kill -9 {len(chosen)} run(s) of {worker.name} (pid {', '.join(map(str, chosen))})"


def _kill_web_worker(target: Target, rng: random.Random) -> str | None:
    web = target.of("web", rng)
    inner = children(web.pid) if web.pid else []
    if not inner:
        return None
    _signal(inner[0], signal.SIGKILL)
    return f"kill -9 the process that serves {web.name} (pid {inner[0]})"


def _kill_machine(target: Target, rng: random.Random) -> str | None:
    """All processes of a home at once, its runs last to know."""
    home = rng.choice("ab")
    doomed = [part for name, part in sorted(target.parts.items()) if name.endswith(f"-{home}")]
    below = [pid for part in doomed if part.pid for pid in _below(part.pid)]
    for part in doomed:
        part.kill()
    for pid in below:
        _signal(pid, signal.SIGKILL)
    return f"kill -9 everything of machine {home}"


def _deploy(target: Target, rng: random.Random) -> str | None:
    worker = target.of("worker", rng)
    if worker.pid is None:
        return None
    worker.ask_to_stop()
    return f"SIGTERM to {worker.name} (pid {worker.pid}), as a deploy does"


def _restart_postgres(target: Target, rng: random.Random) -> str | None:
    postgres = target.parts["postgres"]
    if postgres.pid is None:
        return None
    postgres.ask_to_stop()
    return "restart PostgreSQL"


def _cut(target: Target, rng: random.Random) -> str | None:
    assert target.cut is not None
    target.cut()
    return "cut every connection of the database"


def _flush_redis(target: Target, rng: random.Random) -> str | None:
    try:
        with redis.Redis.from_url(target.redis_url, socket_timeout=2) as client:
            client.flushall()
    except redis.RedisError:
        return None
    return "empty Redis (FLUSHALL)"


def _fill_disk(target: Target, rng: random.Random) -> str | None:
    disk = target.disk
    if disk is None or target.is_full:
        return None
    seconds = rng.uniform(2.0, 6.0)
    disk.fill()
    target.is_full = True
    target.later(seconds, lambda: free_disk(target))
    return f"fill the disk of machine b for {seconds:.1f} s"


def free_disk(target: Target) -> None:
    """Make room on the disk again."""
    if target.disk is not None:
        target.disk.free()
    target.is_full = False


#: name → (how often, what)
FAULTS: Final[dict[str, tuple[int, Fault]]] = {
    "worker": (5, _kill("worker")),
    "run": (7, _kill_run),
    "host": (4, _kill_host),
    "beat": (3, _kill("beat")),
    "web": (3, _kill("web")),
    "web process": (2, _kill_web_worker),
    "ingester": (4, _kill("ingester")),
    "machine": (2, _kill_machine),
    "deploy": (2, _deploy),
    "postgres": (2, _kill("postgres")),
    "postgres restart": (2, _restart_postgres),
    "connections": (2, _cut),
    "redis": (3, _kill("redis")),
    "redis flush": (3, _flush_redis),
    "disk": (3, _fill_disk),
}


def available(target: Target) -> list[str]:
    """Return the names of the faults that can be done here."""
    missing = set()
    if "postgres" not in target.parts:
        missing |= {"postgres", "postgres restart"}
    if target.cut is None:
        missing.add("connections")
    if target.disk is None:
        missing.add("disk")
    return [name for name in FAULTS if name not in missing]


def plan(
    rng: random.Random, names: list[str], seconds: float, mean_seconds: float = MEAN_SECONDS
) -> list[tuple[float, str]]:
    """Return which faults happen when (seconds from the start): every kind once, then at random."""
    return list(_plan(rng, names, seconds, mean_seconds))


def _plan(rng: random.Random, names: list[str], seconds: float, mean_seconds: float) -> Iterator[tuple[float, str]]:
    at = rng.uniform(1.0, 2.0)
    first = rng.sample(names, len(names))
    while at < seconds:
        name = first.pop() if first else rng.choices(names, [FAULTS[each][0] for each in names])[0]
        yield at, name
        at += rng.expovariate(1 / mean_seconds)


def _below(pid: int) -> list[int]:
    direct = children(pid)
    return direct + [below for child in direct for below in _below(child)]


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass
