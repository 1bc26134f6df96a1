"""Packs of snapshots are sent beside Django: who reads slowly, or much, keeps neither the site nor code from others."""

import asyncio
import io
from collections.abc import Coroutine
from typing import Any

import pytest
from django.db import connections
from django.test import Client

from flows.snapshots import Snapshot, SnapshotPiece
from orchestrator.sdk.snapshots.pack import read_pack
from orchestrator.sdk.states import StateType
from runs import pack_stream
from runs.authentication import run_token
from runs.models import Attempt
from teams.models import Team
from tests.api.test_snapshots import client_for, post
from tests.notifications.making import Make
from tests.snapshots.making import Made, made

pytestmark = pytest.mark.django_db(transaction=True)

FILES = {f"part-{number}.py": f"print({number})\n" for number in range(30)} | {"data.bin": bytes(3_000_000)}


@pytest.fixture(autouse=True)
def _own_places(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test has a loop of its own, and its threads leave no connection behind."""
    monkeypatch.setattr(pack_stream, "_places", pack_stream.Places())
    monkeypatch.setattr(pack_stream, "WAIT_SECONDS", 60.0)  # however slow the machine is
    monkeypatch.setitem(connections.settings["default"], "CONN_MAX_AGE", 0)


@pytest.fixture
def client() -> Client:
    return client_for(Team.objects.create(name="owners"))


@pytest.fixture
def snapshot(client: Client) -> Made:
    snapshot = made(FILES)
    post(client, snapshot, None, 201)
    return snapshot


def token_of(client: Client) -> str:
    return str(client.defaults["HTTP_AUTHORIZATION"])


class Fetch:
    """A request of the site's HTTP side, by somebody who takes the body when it is let go on."""

    def __init__(self, path: str, token: str, method: str = "GET", goes_on: bool = True) -> None:
        self.scope = {
            "type": "http", "http_version": "1.1", "method": method, "path": path, "query_string": b"",
            "headers": [(b"host", b"localhost"), (b"authorization", token.encode())],
            "server": ("localhost", 80), "client": ("127.0.0.1", 1),
        }  # fmt: skip
        self.status, self.body, self.is_whole = 0, b"", False
        self.began, self.goes_on, self.left = asyncio.Event(), asyncio.Event(), asyncio.Event()
        if goes_on:
            self.goes_on.set()
        self._asked = False

    async def receive(self) -> dict[str, Any]:
        if not self._asked:
            self._asked = True
            return {"type": "http.request", "body": b""}
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.began.set()
            return
        await self.goes_on.wait()
        self.body += message["body"]
        self.is_whole = not message.get("more_body")

    async def answered(self) -> "Fetch":
        from orchestrator.asgi import route_http  # sets the site up

        await asyncio.wait_for(route_http(self.scope, self.receive, self.send), 60)
        return self


async def any_of(fetches: list[Fetch]) -> None:
    """Wait until one of them is answered: which one is first is left to threads."""
    waiting = [asyncio.create_task(one.began.wait()) for one in fetches]
    await asyncio.wait(waiting, timeout=60, return_when=asyncio.FIRST_COMPLETED)
    assert any(one.began.is_set() for one in fetches)


def run(work: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(work)


def pack_of(snapshot: Made) -> str:
    return f"/api/snapshots/{snapshot.manifest.hash}/pack/"


@pytest.mark.parametrize("slash", ["/", ""])
def test_slow_readers_leave_the_site_its_threads(client: Client, snapshot: Made, slash: str) -> None:
    async def work() -> tuple[Fetch, list[Fetch]]:
        path = pack_of(snapshot).rstrip("/") + slash
        slow = [Fetch(path, token_of(client), goes_on=False) for _ in range(pack_stream.MOST_OF_CALLER + 8)]
        tasks = [asyncio.create_task(one.answered()) for one in slow]
        await any_of(slow)
        answer = await Fetch("/api/snapshots/limits/", token_of(client)).answered()
        for one in slow:
            one.goes_on.set()
        return answer, list(await asyncio.gather(*tasks))

    answer, slow = run(work())
    assert answer.status == 200
    assert {one.status for one in slow} == {200}
    assert all(read_pack(io.BytesIO(one.body).read)[0] == snapshot.manifest for one in slow)


def test_it_is_what_was_stored_and_who_may_not_read_it_has_none(client: Client, snapshot: Made) -> None:
    team = Team.objects.get(name="owners")
    attempt = Attempt.objects.get(flow_run=Make(team, "").run(StateType.RUNNING))
    attempt.source = {"kind": "snapshot", "hash": snapshot.manifest.hash}
    attempt.save()
    other = made({"a": "1"})
    post(client, other, None, 201)
    as_run, path = f"Bearer {run_token(attempt)}", pack_of(snapshot)
    strange = token_of(client_for(Team.objects.create(name="others")))

    async def work() -> list[Fetch]:
        fetches = [
            Fetch(path, as_run), Fetch(path, as_run, "HEAD"), Fetch(pack_of(other), as_run), Fetch(path, strange),
            Fetch(path, "Bearer orc_no"), Fetch("/api/snapshots/x/pack/", as_run),
        ]  # fmt: skip
        return [await one.answered() for one in fetches]

    whole, head, *refused = run(work())
    _, pieces = read_pack(io.BytesIO(whole.body).read, snapshot.manifest.hash)
    assert {digest: piece for digest, piece, _ in pieces} == snapshot.pieces
    assert (whole.status, whole.is_whole, head.status, head.body) == (200, True, 200, b"")
    assert [one.status for one in refused] == [404, 404, 401, 404]


def test_a_caller_waits_for_its_own_and_nobody_for_them(
    client: Client, snapshot: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pack_stream, "WAIT_SECONDS", 0.1)
    other = token_of(client_for(Team.objects.get(name="owners"), name="another"))

    async def work() -> list[Fetch]:
        slow = [Fetch(pack_of(snapshot), token_of(client), goes_on=False) for _ in range(pack_stream.MOST_OF_CALLER)]
        tasks = [asyncio.create_task(one.answered()) for one in slow]
        for one in slow:
            await asyncio.wait_for(one.began.wait(), 20)
        more = [await Fetch(pack_of(snapshot), token).answered() for token in (token_of(client), other)]
        for one in slow:
            one.goes_on.set()
        await asyncio.gather(*tasks)
        return [*more, await Fetch(pack_of(snapshot), token_of(client)).answered()]

    refused, another, after = run(work())
    assert (refused.status, another.status, after.status) == (503, 200, 200)
    assert b"Many fetch code" in refused.body


@pytest.mark.parametrize("why", ["slow", "slow in all", "gone", "lost"])
def test_what_cannot_be_sent_whole_breaks_off_and_frees_its_place(
    client: Client, snapshot: Made, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    if why == "slow":
        monkeypatch.setattr(pack_stream, "SEND_SECONDS", 0.05)
    elif why == "slow in all":
        monkeypatch.setattr(pack_stream, "GRACE_SECONDS", -Snapshot.objects.get().size / 32_768)
    elif why == "lost":
        SnapshotPiece.objects.order_by("?").first().delete()

    async def work() -> Fetch:
        fetch = Fetch(pack_of(snapshot), token_of(client), goes_on=why in ("gone", "lost"))
        if why == "gone":
            fetch.left.set()
        return await fetch.answered()

    fetch = run(work())
    assert (fetch.status, fetch.is_whole) == (200, False)
    assert not pack_stream._places._taken


def test_a_group_is_a_mebibyte_at_most() -> None:
    sizes = {f"{number:064x}": 600_000 if number < 3 else 1 for number in range(500)}
    groups = list(pack_stream._grouped(sizes))
    assert b"".join(groups).hex() == "".join(sizes)
    assert [len(group) // 32 for group in groups] == [1, 1, 200, 200, 98]
