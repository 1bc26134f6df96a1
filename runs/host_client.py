"""A worker's end of its run host: starts the process, sends it runs, and tells what comes back."""

import logging
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from orchestrator.sdk.host_protocol import FromHost, Start, ToHost, decode_from_host, pack
from orchestrator.sdk.host_secrets import part, send

READ_BYTES: Final = 65536

_log = logging.getLogger(__name__)


class RunHost:
    """One run host process. When it is gone, `on_gone` is called once, and a new one has to be made."""

    def __init__(
        self,
        environment: Mapping[str, str],
        directory: str,
        on_message: Callable[[FromHost], None],
        on_gone: Callable[[], None],
    ) -> None:
        """Start the process; it says `Ready` when it can take runs.

        Args:
            environment: The whole of what it and its runs see.
            directory: Where it works; a user's project must not be there (`-m` puts it on its path).
            on_message: Called with each message, in the reader's thread.
            on_gone: Called when the process has closed its end, in the reader's thread.
        """
        self._on_message = on_message
        self._on_gone = on_gone
        self._sending = threading.Lock()
        self._socket, theirs = socket.socketpair()
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "orchestrator.sdk.host", "--fd", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                env=dict(environment),
                cwd=directory,
                stdin=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C at a worker's terminal is the worker's business
            )
        self._reader = threading.Thread(target=self._read, name="run-host-reader", daemon=True)
        self._reader.start()

    def send(self, message: ToHost) -> None:
        """Send a message, and what the host must not read beside it. Raises OSError when the host is gone."""
        if not isinstance(message, Start):
            with self._sending:
                self._socket.sendall(pack(message))
            return
        public, fd = part(message)
        try:
            with self._sending:
                send(self._socket, pack(public), fd)
        finally:
            os.close(fd)

    def close(self, timeout_seconds: float) -> None:
        """Tell the host, by closing the socket, to kill what runs, to write the endings and to exit; wait for that."""
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:  # it closed its end first
            pass
        try:
            self.process.wait(timeout_seconds)
        except subprocess.TimeoutExpired:
            _log.warning("The run host did not end within %.1f s and is killed.", timeout_seconds)
            self.process.kill()
            self.process.wait()
        self._reader.join(1.0)
        self._socket.close()

    def _read(self) -> None:
        buffer = bytearray()
        while True:
            try:
                data = self._socket.recv(READ_BYTES)
            except OSError:
                data = b""
            if not data:
                break
            buffer += data
            *lines, rest = bytes(buffer).split(b"\n")
            buffer = bytearray(rest)
            for line in lines:
                self._hear(line)
        self._on_gone()

    def _hear(self, line: bytes) -> None:
        try:
            message = decode_from_host(line)
        except msgspec.MsgspecError as error:
            _log.error("The run host said something unknown: %s", error)
            return
        self._on_message(message)
