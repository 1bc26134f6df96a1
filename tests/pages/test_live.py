"""The socket of live pages: a page that followed the events equals a page that was loaded anew."""

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest
import websockets
from asgiref.sync import sync_to_async
from django.db import transaction
from django.http import QueryDict
from django.test import Client
from django.utils import timezone
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import InvalidStatus

from runs.live import announce
from runs.log_window import LogFilter, inserts, last_ids
from runs.models import FlowRun, Log
from runs.views.live_page import Reader
from runs.views.run_list import RunsPage
from runs.views.run_page import RunPage
from teams.actions import create_user
from teams.members import create_team, remove_member, set_role
from teams.models import ApiToken, Membership, Role, Team, User
from tests.pages import sample
from tests.pages.conftest import Site


@pytest.fixture
def made(typical: Site) -> dict[str, Any]:
    return typical.made


@pytest.fixture
async def connect(typical: Site) -> AsyncIterator[Callable[..., Any]]:
    """Open a page's socket, saying what the page shows."""
    opened: list[ClientConnection] = []

    async def open_socket(page: str, user: User | None = None, **shows: Any) -> ClientConnection:
        def sign_in() -> str:
            client = Client()
            client.force_login(user or typical.made["admin"])
            return client.cookies["sessionid"].value

        socket = await dial(typical, Cookie=f"sessionid={await sync_to_async(sign_in)()}")
        opened.append(socket)
        await socket.send(json.dumps({"page": page, **shows}))
        return socket

    yield open_socket
    for socket in opened:
        await socket.close()


async def dial(site: Site, **headers: str) -> ClientConnection:
    """Open a socket as a browser on the site's own page would."""
    address = site.url.replace("http", "ws", 1) + "/live/"
    return await websockets.connect(address, additional_headers={"Origin": site.url} | headers, proxy=None)


def fresh(page_class: Any, user: User, address: str, *args: Any) -> dict[str, str]:
    """The regions of a page that is loaded now."""
    parts = urlsplit(address)
    page = page_class(Reader(user, parts.path, QueryDict(parts.query), timezone.now()), *args)
    return {name: str(region.html) for name, region in page.rendered().items()}


async def next_with(socket: ClientConnection, part: str) -> dict[str, Any]:
    """The next message that has this part."""
    while True:
        message: dict[str, Any] = json.loads(await asyncio.wait_for(socket.recv(), 5))
        if part in message:
            return message


async def closing_code(socket: ClientConnection) -> int:
    """The code with which the server closes the socket."""
    await asyncio.wait_for(socket.wait_closed(), 5)
    assert socket.close_code is not None
    return socket.close_code


def finish(run: FlowRun) -> None:
    """End a run and its tasks as ingest does: in one transaction, the revision raised, told after commit."""
    with transaction.atomic():
        now = timezone.now()
        run.task_runs.update(state_type="COMPLETED", state_name="Completed", end_time=now)
        FlowRun.objects.filter(id=run.id).update(
            state_type="COMPLETED", state_name="Completed", end_time=now, revision=run.revision + 1
        )
        announce([run.id])


async def test_snapshot_and_events_equal_a_new_snapshot(connect: Any, made: dict[str, Any]) -> None:
    run, address = made["running"], f"/runs/{made['running'].id}/"
    socket = await connect(address)
    shown: dict[str, str] = {}
    message = await next_with(socket, "regions")
    shown.update({name: html for name, (_, html) in message["regions"].items()})
    assert "Running" in shown["head"]
    await sync_to_async(finish)(run)
    while "Completed" not in shown["head"]:
        message = await next_with(socket, "regions")
        shown.update({name: html for name, (_, html) in message["regions"].items()})
    assert message["revision"] == run.revision + 1
    assert shown == await sync_to_async(fresh)(RunPage, made["admin"], address, run.id)


async def test_nothing_is_sent_for_what_the_page_shows_already(connect: Any, made: dict[str, Any]) -> None:
    run = made["completed"]

    def digests() -> dict[str, Any]:
        page = RunPage(Reader(made["admin"], f"/runs/{run.id}/", QueryDict(), timezone.now()), run.id)
        lines = [str(id) for id in last_ids(run, LogFilter())]
        regions = {name: region.digest for name, region in page.rendered().items()}
        return {"regions": regions, "log": {"first": lines[0], "last": lines[-1], "count": len(lines)}}

    socket = await connect(f"/runs/{run.id}/", **await sync_to_async(digests)())
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(socket.recv(), 0.6)


async def test_every_change_reaches_an_open_page(connect: Any, made: dict[str, Any]) -> None:
    run = made["running"]
    socket = await connect(f"/runs/{run.id}/")
    await next_with(socket, "regions")
    for index in range(12):
        await asyncio.sleep(0.05 * (index % 5))  # changes come at any moment of the rest between messages

        def change(name: str = f"name-{index}") -> None:
            FlowRun.objects.filter(id=run.id).update(name=name)
            announce([run.id])

        await sync_to_async(change)()
        while f"name-{index}" not in (await next_with(socket, "regions"))["regions"].get("head", ["", ""])[1]:
            pass  # how soon is the benchmarks' to hold


async def test_at_most_four_messages_a_second(connect: Any, made: dict[str, Any]) -> None:
    run = made["running"]
    socket = await connect(f"/runs/{run.id}/")
    await next_with(socket, "regions")

    def change(index: int) -> None:
        FlowRun.objects.filter(id=run.id).update(name=f"name-{index}")
        announce([run.id])

    messages, begin = 0, time.monotonic()
    for index in range(60):
        await sync_to_async(change)(index)
        await asyncio.sleep(0.02)
        with suppress(TimeoutError):
            while True:
                await asyncio.wait_for(socket.recv(), 0.001)
                messages += 1
    assert messages <= 4 * (time.monotonic() - begin) + 1


async def test_log_lines_are_appended_once_and_in_order(connect: Any, made: dict[str, Any]) -> None:
    run = made["running"]
    socket = await connect(f"/runs/{run.id}/")
    message = await next_with(socket, "log")
    assert message["log"]["replace"].count("<li id=") == 8
    await sync_to_async(sample.make_logs)(run, [(60, 20, "x", "first new"), (61, 20, "x", "second new")])
    announce_async = sync_to_async(announce)
    await announce_async([run.id])
    (part,) = (await next_with(socket, "log"))["log"]["insert"]
    assert part["before"] is None
    assert part["html"].index("first new") < part["html"].index("second new")
    # a line of another journal, brought in late, belongs before them
    await sync_to_async(sample.make_logs)(run, [(59, 20, "x", "late")])
    await announce_async([run.id])
    (part,) = (await next_with(socket, "log"))["log"]["insert"]
    lines = await sync_to_async(lambda: list(Log.objects.filter(flow_run=run, message="first new")))()
    assert "late" in part["html"]
    assert part["before"] == str(lines[0].id)
    await announce_async([run.id])
    assert "log" not in await next_with(socket, "regions")


async def test_reconnecting_page_gets_the_lines_that_it_missed(connect: Any, made: dict[str, Any]) -> None:
    run = made["completed"]
    ids = [str(id) for id in await sync_to_async(last_ids)(run, LogFilter())]
    shows = {"first": ids[0], "last": ids[-3], "count": len(ids) - 2}
    socket = await connect(f"/runs/{run.id}/", log=shows)
    assert (await next_with(socket, "log"))["log"]["replace"].count("<li id=") == len(ids)


async def test_list_shows_new_runs(connect: Any, made: dict[str, Any]) -> None:
    socket = await connect("/runs/?state=running")
    await next_with(socket, "regions")

    def start() -> FlowRun:
        run = sample.make_run(made["flows"]["new-thing"], timezone.now(), None, "RUNNING")
        announce([run.id])
        return run

    run = await sync_to_async(start)()
    message = await next_with(socket, "regions")
    rows = message["regions"]["rows"][1]
    assert str(run.id) in rows
    assert rows.count("<li") == (await sync_to_async(fresh)(RunsPage, made["admin"], "/runs/?state=running"))[
        "rows"
    ].count("<li")


async def test_stranger_is_not_told_of_another_team_s_run(connect: Any, made: dict[str, Any]) -> None:
    def make() -> User:
        user = User.objects.create_user("stranger")
        Membership.objects.create(user=user, team=Team.objects.create(name="other"))
        return user

    socket = await connect(f"/runs/{made['running'].id}/", user=await sync_to_async(make)())
    assert await closing_code(socket) == 4404


async def test_signed_out_page_is_told_so(connect: Any, made: dict[str, Any]) -> None:
    from django.contrib.sessions.models import Session

    run = made["running"]
    socket = await connect(f"/runs/{run.id}/")
    await next_with(socket, "regions")
    await sync_to_async(lambda: Session.objects.all().delete())()
    await sync_to_async(announce)([run.id])
    assert await closing_code(socket) == 4401


async def test_socket_without_a_session_is_closed(typical: Site) -> None:
    assert await closing_code(await dial(typical)) == 4401


@pytest.mark.parametrize("origin", ["http://evil.example", "http://127.0.0.1:9", "null", "", "127.0.0.1", "http://["])
async def test_pages_of_another_origin_cannot_open_the_socket(typical: Site, origin: str) -> None:
    with pytest.raises(InvalidStatus, match="403"):
        await dial(typical, Origin=origin)


async def test_a_page_at_the_address_outside_opens_the_socket(typical: Site, settings: Any) -> None:
    settings.CSRF_TRUSTED_ORIGINS = ["https://runs.example.com"]
    assert await closing_code(await dial(typical, Origin="https://runs.example.com")) == 4401


async def test_a_token_opens_no_socket(typical: Site) -> None:
    secret = (await sync_to_async(ApiToken.issue)(name="t", user=typical.made["admin"], team=typical.made["team"]))[1]
    assert await closing_code(await dial(typical, Authorization=f"Bearer {secret}")) == 4401


@pytest.mark.parametrize("role", [*Role.values, None])
async def test_a_page_is_followed_by_whoever_may_see_it(connect: Any, made: dict[str, Any], role: str | None) -> None:
    team = made["team"] if role else await sync_to_async(create_team)("others")
    person = await sync_to_async(create_user)("pat", team=team, role=role or "admin")
    socket = await connect(f"/runs/{made['running'].id}/", person)
    if role:
        assert (await next_with(socket, "regions"))["regions"]
    else:
        assert await closing_code(socket) == 4404


@pytest.mark.parametrize("page", ["/", "/runs/", "run"])
async def test_a_change_of_rights_closes_an_open_page_before_it_looks_by_itself(
    connect: Any, made: dict[str, Any], page: str
) -> None:
    member = await sync_to_async(create_user)("pat", team=made["team"], role="operator")
    socket = await connect(f"/runs/{made['running'].id}/" if page == "run" else page, member)
    await next_with(socket, "regions")
    await sync_to_async(set_role)(made["team"], member, "viewer", user=made["admin"])
    assert await closing_code(socket) == 4403


async def test_who_leaves_is_cut_off_and_does_not_find_the_page_again(connect: Any, made: dict[str, Any]) -> None:
    member, address = await sync_to_async(create_user)("pat", team=made["team"]), f"/runs/{made['running'].id}/"
    socket = await connect(address, member)
    await next_with(socket, "regions")
    await sync_to_async(remove_member)(made["team"], member, user=made["admin"])
    assert await closing_code(socket) == 4403
    assert await closing_code(await connect(address, member)) == 4404


async def test_rights_that_changed_unheard_hold_at_the_next_look(connect: Any, made: dict[str, Any]) -> None:
    member = await sync_to_async(create_user)("pat", team=made["team"])
    socket = await connect(f"/runs/{made['running'].id}/", member)
    await next_with(socket, "regions")
    await sync_to_async(Membership.objects.filter(user=member).delete)()
    await sync_to_async(announce)([made["running"].id])
    assert await closing_code(socket) == 4404


def test_announcing_without_a_broker_fails_nothing(
    db: None, settings: Any, django_capture_on_commit_callbacks: Any
) -> None:
    run = sample.make_run(sample.typical()["flows"]["flights"], timezone.now(), 1)
    with django_capture_on_commit_callbacks(execute=True):
        announce([run.id])


def test_inserts_find_their_places(db: None) -> None:
    run = sample.make_run(sample.typical()["flows"]["flights"], timezone.now() - timedelta(minutes=1), None, "RUNNING")
    lines = sample.make_logs(run, ((n, 20, "x", f"line {n}") for n in range(6)))
    ids = [line.id for line in lines]
    found = inserts(run, ids, {ids[1], ids[3]})
    places = [([line.shown for line in part.lines], part.before) for part in found]
    assert places == [(["line 0"], ids[1]), (["line 2"], ids[3]), (["line 4", "line 5"], None)]


async def test_page_stays_right_while_the_broker_is_away(connect: Any, made: dict[str, Any], settings: Any) -> None:
    run = made["running"]
    layer = {"BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer", "CONFIG": {"hosts": ["redis://127.0.0.1:1"]}}
    settings.CHANNEL_LAYERS = {"default": layer}
    socket = await connect(f"/runs/{run.id}/")
    await next_with(socket, "regions")
    await sync_to_async(lambda: FlowRun.objects.filter(id=run.id).update(name="seen-by-the-sweep"))()
    while "seen-by-the-sweep" not in (await next_with(socket, "regions"))["regions"].get("head", ["", ""])[1]:
        pass


@pytest.mark.parametrize("path", ["/", "/nothing/here/", "/live", "/api/"])
async def test_an_address_without_a_socket_is_refused_quietly(
    typical: Site, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    address = typical.url.replace("http", "ws", 1) + path
    with pytest.raises(InvalidStatus) as refused:
        await websockets.connect(address, additional_headers={"Origin": typical.url}, proxy=None)
    assert refused.value.response.status_code == 403
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


@pytest.mark.parametrize(
    "said",
    ["", "{", "[]", "5", '{"log": 5}', '{"log": {"count": "x"}}', '{"regions": [1]}', '{"regions": "ab"}', b"\x00\xff"],
)
async def test_what_no_page_says_closes_the_socket(
    connect: Any, typical: Site, said: str | bytes, caplog: pytest.LogCaptureFixture
) -> None:
    def sign_in() -> str:
        client = Client()
        client.force_login(typical.made["admin"])
        return client.cookies["sessionid"].value

    socket = await dial(typical, Cookie=f"sessionid={await sync_to_async(sign_in)()}")
    await socket.send(said)
    assert await closing_code(socket) == 1003
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


@pytest.mark.parametrize("page", ["/nothing/", "http://[", "/runs/?q=\x00", "/sign-in/", "/admin/", "", "x"])
async def test_a_page_that_is_none_closes_the_socket_or_shows_nothing_wrong(
    connect: Any, page: str, caplog: pytest.LogCaptureFixture
) -> None:
    socket = await connect(page)
    try:
        assert await closing_code(socket) == 4404
    except TimeoutError:
        assert page == "/runs/?q=\x00"  # SQLite takes a NUL
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
