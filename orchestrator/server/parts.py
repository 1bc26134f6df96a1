"""The parts of a server: what each runs, and how each is told to stop."""

import signal
import sys
from dataclasses import dataclass

from orchestrator.sdk.home import Home
from orchestrator.server import broker

STOP_GRACE_SECONDS = 8  # how long runs may go on after Ctrl-C


@dataclass(frozen=True, slots=True)
class Part:
    """One process of the server, with a session of its own: a Python module (`python -m`) or a program."""

    name: str
    arguments: tuple[str, ...]
    module: str = ""
    preload: tuple[str, ...] = ()  #: modules that it needs, imported while the database is being prepared
    stop_signal: signal.Signals = signal.SIGTERM
    hurry_signal: signal.Signals = signal.SIGTERM  #: after a second Ctrl-C
    tells_ready: bool = False  #: writes a line to ORCHESTRATOR_READY_FD

    @property
    def command(self) -> list[str]:
        """The command line that starts it."""
        return [sys.executable, "-m", self.module, *self.arguments] if self.module else list(self.arguments)


def ingester() -> Part:
    """The process that brings journals in."""
    return Part("ingester", (), "orchestrator.ingester", preload=("runs.tailer",))


def web(host: str, port: int) -> Part:
    """The site over ASGI. SIGINT is gunicorn's quick stop: open sockets of pages do not hold it up."""
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return Part(
        "web",
        ("orchestrator.asgi:application", "--config", "python:orchestrator.server.web", "--bind", address),
        "gunicorn",
        preload=("orchestrator.asgi", "orchestrator.urls", "gunicorn.app.wsgiapp", "gunicorn.workers.gasgi"),
        stop_signal=signal.SIGINT,
    )


def worker(number: int, count: int) -> Part:
    """A Celery worker with its places and its run host."""
    name = "worker" if count == 1 else f"worker-{number}"
    options = (
        "worker",
        "--hostname",
        f"{name}@%h",
        "--without-gossip",
        "--without-mingle",
        "--without-heartbeat",
        "--loglevel",
        "WARNING",
    )
    return Part(
        name,
        (*_CELERY, *options),
        "celery",
        preload=(*_CELERY_MODULES, "runs.bootsteps"),
        hurry_signal=signal.SIGQUIT,  # Celery's cold shutdown
        tells_ready=True,
    )


def beat() -> Part:
    """celery-beat, which rings the tick."""
    options = ("beat", "--loglevel", "WARNING", "--pidfile=")
    return Part("beat", (*_CELERY, *options), "celery", preload=(*_CELERY_MODULES, "celery.apps.beat"))


def embedded_broker(home: Home, address: broker.Address) -> Part:
    """A Redis-protocol server on a Unix socket, keeping nothing on disk."""
    return Part("broker", tuple(broker.command(home, address)))


def all_parts(home: Home, host: str, port: int, workers: int, address: broker.Address | None) -> list[Part]:
    """Return the parts in the order in which they start; without an address the broker is somebody else's."""
    first = [] if address is None else [embedded_broker(home, address)]
    return [*first, web(host, port), *(worker(number, workers) for number in range(1, workers + 1)), beat(), ingester()]


# What workers tell each other, which nobody here listens to.
_QUIET = ("--without-gossip", "--without-mingle", "--without-heartbeat")
_CELERY = ("--quiet", "--app", "orchestrator")
_CELERY_MODULES = ("celery.bin.celery", "celery.apps.worker", "kombu.transport.redis", "orchestrator.celery")
