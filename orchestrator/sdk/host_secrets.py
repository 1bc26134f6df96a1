"""What a run host must not read: the token of a run, and the credentials of its block and of its code.

A run host forks user code, which may look at every page of memory that the host ever had. So a worker puts an attempt's
secrets into a file without a name, passes that along with `Start`, and the process that is forked for the attempt reads
it. The host holds the descriptor alone, and every process that it forks closes those of others before user code runs.
"""

import os
import socket
import sys
import tempfile
from typing import Any, Final

import msgspec

from orchestrator.sdk.host_protocol import Start

MAX_FILES: Final = 64  #: that come with one message at most
_CLOSED_BY_EXEC: Final = getattr(socket, "MSG_CMSG_CLOEXEC", 0)
_CHUNK_BYTES: Final = 1024 * 1024


class Secrets(msgspec.Struct, omit_defaults=True):
    """An attempt's, as they stand in the file."""

    token: str = ""
    credentials: dict[str, dict[str, Any]] = {}
    source: dict[str, str] = {}


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Secrets).decode


def part(start: Start) -> tuple[Start, int]:
    """Return what a host may read of a start, and the file with the rest, which is the caller's to close.

    Raises:
        OSError: No file could be made.
    """
    placement = start.infrastructure
    secrets = Secrets(start.token, placement.credentials if placement else {}, start.source_credentials)
    fd = _nameless()
    try:
        data = memoryview(_encode(secrets))
        while data:
            data = data[os.write(fd, data) :]
        public = msgspec.structs.replace(start, token="", source_credentials={}, secrets=os.fstat(fd).st_ino)
    except BaseException:
        os.close(fd)
        raise
    if placement is not None:
        public.infrastructure = msgspec.structs.replace(placement, credentials={})
    return public, fd


def send(connection: socket.socket, message: bytes, fd: int) -> None:
    """Send a message and a file along with it. Raises OSError where the other end has not taken all of it."""
    sent = socket.send_fds(connection, [message], [fd])
    if sent < len(message):  # even a send of nothing fails, where the other end has read all of it and left since
        connection.sendall(memoryview(message)[sent:])


class SecretFiles:
    """The files that came, by number. None is read but by the process for whose attempt it is."""

    def __init__(self) -> None:
        self._files: dict[int, int] = {}

    def receive(self, connection: socket.socket, most: int) -> bytes:
        """Return what comes, and keep the files that come with it. Raises OSError."""
        data, files, _flags, _address = socket.recv_fds(connection, most, MAX_FILES, _CLOSED_BY_EXEC)
        for fd in files:
            os.set_inheritable(fd, False)
            self._files[os.fstat(fd).st_ino] = fd
        return data

    def has(self, start: Start) -> bool:
        """Whether a start's secrets are here, or it came with its own."""
        return not start.secrets or start.secrets in self._files

    def send(self, connection: socket.socket, message: bytes, start: Start) -> None:
        """Send a start on, as it came. Raises OSError."""
        if start.secrets:
            send(connection, message, self._files[start.secrets])
        else:
            connection.sendall(message)

    def restored(self, start: Start) -> Start:
        """Return a start with its secrets, in the process that is forked for it. Raises OSError, MsgspecError."""
        if not start.secrets:
            return start
        secrets = _decode(_read(self._files[start.secrets]))
        whole = msgspec.structs.replace(start, token=secrets.token, source_credentials=secrets.source, secrets=0)
        if whole.infrastructure is not None:
            whole.infrastructure = msgspec.structs.replace(whole.infrastructure, credentials=secrets.credentials)
        return whole

    def close(self, start: Start) -> None:
        """Let a start's secrets go."""
        if (fd := self._files.pop(start.secrets, None)) is not None:
            os.close(fd)

    def close_all(self) -> None:
        """Let all of them go: user code comes next."""
        for fd in self._files.values():
            os.close(fd)
        self._files.clear()


def _nameless() -> int:
    if sys.platform == "linux":
        fd = os.memfd_create("orchestrator-secrets")
    else:
        with tempfile.TemporaryFile() as file:
            fd = os.dup(file.fileno())
    return fd


def _read(fd: int) -> bytes:
    data = b""
    while chunk := os.pread(fd, _CHUNK_BYTES, len(data)):  # its offset is shared with whoever else has it
        data += chunk
    return data
