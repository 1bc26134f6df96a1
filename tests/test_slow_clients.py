"""Whoever sends or reads slowly keeps no thread of the site from the others."""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest

from orchestrator import slow_clients
from orchestrator.slow_clients import AHEAD_BYTES, OnThreads

SECONDS = 30


class Client:
    """A request, its body in parts that come when they are let, and what was taken of the answer."""

    def __init__(self, *parts: bytes, comes: bool = True, takes: bool = True) -> None:
        self._parts = list(parts)
        self.comes, self.takes, self.began = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self.status, self.body, self.is_whole = 0, b"", False
        for event, is_set in ((self.comes, comes), (self.takes, takes)):
            if is_set:
                event.set()

    async def receive(self) -> dict[str, Any]:
        if len(self._parts) < 2:
            await self.comes.wait()
        part = self._parts.pop(0) if self._parts else b""
        return {"type": "http.request", "body": part, "more_body": bool(self._parts)}

    async def send(self, message: Any) -> None:
        self.began.set()
        await self.takes.wait()
        self.status = message.get("status", self.status)
        self.body += message.get("body", b"")
        self.is_whole = message["type"] == "http.response.body" and not message.get("more_body")

    async def asks(self, http: OnThreads, path: str = "/") -> "Client":
        headers = [(b"content-length", b"%d" % sum(map(len, self._parts)))] if self._parts else []
        scope = {
            "type": "http", "http_version": "1.1", "method": "POST", "path": path, "query_string": b"",
            "headers": headers, "server": ("localhost", 80), "client": ("127.0.0.1", 1),
        }  # fmt: skip
        await asyncio.wait_for(http(scope, self.receive, self.send), SECONDS)
        return self


def echo(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterator[bytes]:
    """Answer with the body; `/many`: in a hundred parts."""
    body = environ["wsgi.input"].read() if "CONTENT_LENGTH" in environ else b"nothing"
    start_response("200 OK", [])
    yield from [b"x"] * 100 if environ["PATH_INFO"] == "/many" else [body]


def run(work: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(work)


@pytest.mark.parametrize("beginning", [b"", bytes(AHEAD_BYTES)], ids=["nothing", "a large beginning"])
def test_bodies_that_do_not_come_leave_threads(beginning: bytes) -> None:
    async def work() -> None:
        http = OnThreads(echo, 2)
        slow = [Client(beginning, b"end", comes=False) for _ in range(6)]
        if not beginning:
            slow = [Client(b"end", comes=False) for _ in range(6)]
        tasks = [asyncio.create_task(one.asks(http)) for one in slow]
        await asyncio.sleep(0)  # they have begun
        assert (await Client().asks(http)).body == b"nothing"
        for one in slow:
            one.comes.set()
        await asyncio.gather(*tasks)
        assert {(one.status, one.body, one.is_whole) for one in slow} == {(200, beginning + b"end", True)}

    run(work())


def test_answers_that_are_not_taken_leave_threads() -> None:
    async def work() -> None:
        http = OnThreads(echo, 2)
        slow = [Client(takes=False) for _ in range(6)]
        tasks = [asyncio.create_task(one.asks(http, "/many")) for one in slow]
        for one in slow:
            await asyncio.wait_for(one.began.wait(), SECONDS)
        assert (await Client().asks(http)).body == b"nothing"
        for one in slow:
            one.takes.set()
        await asyncio.gather(*tasks)
        assert {(one.body, one.is_whole) for one in slow} == {(b"x" * 100, True)}

    run(work())


def test_a_body_that_never_comes_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slow_clients, "BODY_SECONDS", 0.05)
    assert run(_asked(Client, b"end")).status == 408


def test_a_rest_that_never_comes_is_an_error_in_its_thread_and_no_short_body(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slow_clients, "BODY_SECONDS", 0.2)
    with pytest.raises(TimeoutError):
        run(_asked(Client, bytes(AHEAD_BYTES), b"end"))


async def _asked(client: type[Client], *parts: bytes) -> Client:
    return await client(*parts, comes=False).asks(OnThreads(echo, 1))


def test_an_answer_that_is_never_taken_lets_its_thread_come_to_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slow_clients, "SEND_SECONDS", 0.05)
    ended = threading.Event()

    def endless(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterator[bytes]:
        start_response("200 OK", [])
        yield from [b"x"] * (2 * slow_clients.QUEUED_PARTS)
        ended.set()

    async def work() -> Client:
        return await Client(takes=False).asks(OnThreads(endless, 1))

    client = run(work())
    assert ended.is_set()
    assert not client.is_whole
