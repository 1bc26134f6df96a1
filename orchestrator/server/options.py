"""What a person asks of `server start`, and the environment that its parts get for it."""

import os
import socket
from dataclasses import dataclass
from typing import Final

from orchestrator.sdk.home import Home
from orchestrator.server import broker
from orchestrator.server.checks import is_loopback
from orchestrator.server.parts import STOP_GRACE_SECONDS

WILDCARDS: Final = {"0.0.0.0", "::", ""}


@dataclass(frozen=True, slots=True)
class Options:
    """The options of `server start`."""

    host: str = "127.0.0.1"
    port: int = 4200
    workers: int = 1

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach the site."""
        return is_loopback(self.host)

    @property
    def local_host(self) -> str:
        """The address by which this machine reaches the site."""
        return "127.0.0.1" if self.host in WILDCARDS else self.host

    @property
    def url(self) -> str:
        """The site's address, for this machine."""
        host = f"[{self.local_host}]" if ":" in self.local_host else self.local_host
        return f"http://{host}:{self.port}"


def server_environment(home: Home, options: Options, address: broker.Address | None) -> dict[str, str]:
    """Return the environment of the parts: the person's own, and what follows from the options.

    Args:
        home: The server's home.
        options: What the person asked for.
        address: Where the embedded broker is, if there is one.
    """
    environment = dict(os.environ)
    environment["ORCHESTRATOR_HOME"] = str(home.root)
    environment["ORCHESTRATOR_API_URL"] = options.url
    environment["ORCHESTRATOR_WORKER_GRACE_SECONDS"] = str(STOP_GRACE_SECONDS)
    environment["PYTHONUNBUFFERED"] = "1"
    environment.pop("ORCHESTRATOR_API_TOKEN", None)  # the person's own, for another server
    environment.pop("ORCHESTRATOR_RUN_ID", None)
    if address is not None and address.url:
        environment["ORCHESTRATOR_BROKER_URL"] = address.url
    if not options.is_local and not environment.get("ORCHESTRATOR_ALLOWED_HOSTS"):
        names = ["localhost", "127.0.0.1", "[::1]", socket.gethostname()]
        names += [] if options.host in WILDCARDS else [options.host]
        environment["ORCHESTRATOR_ALLOWED_HOSTS"] = ",".join(names)
    return environment
