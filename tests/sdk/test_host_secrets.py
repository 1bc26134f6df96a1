"""What a run host passes on: whole, or with an error that says that nobody has it."""

import os
import socket
from collections.abc import Iterable
from typing import Any

import pytest

from orchestrator.sdk.host_protocol import Start, pack
from orchestrator.sdk.host_secrets import SecretFiles, part, send


class Quick(socket.socket):
    """A socket whose other end reads a message, acts on it and leaves, before the sender's next step."""

    other: socket.socket

    def sendmsg(self, buffers: Iterable[Any], *more: Any) -> int:  # type: ignore[override]
        sent = super().sendmsg(buffers, *more)
        self.received = SecretFiles().receive(self.other, 1024 * 1024)
        self.other.close()
        return sent


@pytest.fixture
def start() -> Start:
    """An attempt with a token."""
    return Start(
        run="run",
        attempt=1,
        journal="j",
        entrypoint="a.py:f",
        flow="f",
        name="n",
        directory="/",
        token="hush",
    )


def test_message_that_was_taken_is_sent_even_if_its_reader_has_left(start: Start) -> None:
    ours, other = socket.socketpair()
    quick = Quick(fileno=ours.detach())
    quick.other = other
    public, secrets = part(start)
    send(quick, pack(public), secrets)  # else a host would run the attempt once more
    assert quick.received == pack(public)
    os.close(secrets)
    quick.close()


def test_message_that_nobody_takes_is_an_error(start: Start) -> None:
    ours, other = socket.socketpair()
    other.close()
    public, secrets = part(start)
    with ours, pytest.raises(OSError):
        send(ours, pack(public), secrets)
    os.close(secrets)
