"""The parts of a server: the command that starts each, and how each is told to stop."""

import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field

from orchestrator.sdk.home import Home
from orchestrator.server import broker

STOP_GRACE_SECONDS = 8  # how long runs may go on after Ctrl-C


@dataclass(frozen=True, slots=True)
class Part:
    """One process of the server, of its own group."""

    name: str
    command: list[str]
    environment: dict[str, str] = field(default_factory=dict)  #: besides the server's own
    stop_signal: signal.Signals = signal.SIGTERM
    tells_ready: bool = False  #: writes a line to ORCHESTRATOR_READY_FD


def ingester() -> Part:
    """The process that brings journals in."""
    return Part("ingester", _module("orchestrator.ingester"))


def web(host: str, port: int) -> Part:
    """The site over ASGI. SIGINT is gunicorn's quick stop: open sockets of pages do not hold it up."""
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    options = ["--worker-class", "asgi", "--workers", "1", "--bind", address, "--graceful-timeout", "2"]
    options += ["--timeout", "60", "--config", "python:orchestrator.server.web", "--log-level", "warning"]
    command = _module("gunicorn", "orchestrator.asgi:application", *options)
    return Part("web", command, stop_signal=signal.SIGINT)


def worker(number: int, count: int) -> Part:
    """A Celery worker with its places and its run host."""
    name = "worker" if count == 1 else f"worker-{number}"
    options = ["--hostname", f"{name}@%h", "--without-gossip", "--without-mingle", "--loglevel", "WARNING"]
    return Part(
        name,
        _module("celery", "--quiet", "--app", "orchestrator", "worker", *options),
        {"ORCHESTRATOR_WORKER_GRACE_SECONDS": str(STOP_GRACE_SECONDS)},
        tells_ready=True,
    )


def beat() -> Part:
    """celery-beat, which rings the tick."""
    return Part("beat", _module("celery", "--quiet", "--app", "orchestrator", "beat", "--loglevel", "WARNING", "--pidfile="))


def embedded_broker(home: Home, address: broker.Address) -> Part:
    """A Redis-protocol server on a Unix socket, keeping nothing on disk."""
    return Part("broker", broker.command(home, address))


def all_parts(
    home: Home, host: str, port: int, workers: int, environment: Mapping[str, str], address: broker.Address
) -> list[Part]:
    """Return the parts in the order in which they start; the broker is left out where the environment names one."""
    first = [] if environment.get("ORCHESTRATOR_BROKER_URL") else [embedded_broker(home, address)]
    return [*first, ingester(), web(host, port), *(worker(number, workers) for number in range(1, workers + 1)), beat()]


def _module(name: str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", name, *arguments]
