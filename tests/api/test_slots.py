"""Limits of tags and their slots over REST, and the stream that tells of granted ones."""

import asyncio
from typing import Any
from uuid import UUID

import pytest
from asgiref.testing import ApplicationCommunicator
from django.conf import settings
from rest_framework.test import APIClient

from orchestrator.sdk.ids import uuid7
from orchestrator.sdk.states import StateType
from runs import grants, limits_file, slot_stream, streams, tag_limits
from runs.authentication import run_token
from runs.models import Attempt, ConcurrencyLimit, FlowRun, Slot
from teams.models import ApiToken, Team, User
from tests.api.conftest import RunMaker, client_of

LIMITS = "/api/concurrency-limits/"


@pytest.fixture(autouse=True)
def _no_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits_file, "refresh", lambda: False)


@pytest.fixture
def user(user: User) -> User:
    """Limits are for administrators of the team."""
    user.memberships.update(role="admin")
    return user


@pytest.fixture
def run(make_run: RunMaker) -> FlowRun:
    return make_run(type_=StateType.RUNNING, attempt=1)


def ask(api: APIClient, run: UUID, *tags: str, **fields: Any) -> Any:
    task_run = str(uuid7())
    body = {"run": str(run), "attempt": 1, "task_run": task_run, "name": "load", "tags": tags, "listener": None}
    return api.post("/api/slots/", {**body, **fields})


# Limits


def test_limits_are_made_changed_listed_and_deleted(api: APIClient, strange_api: APIClient, run: FlowRun) -> None:
    made = api.post(LIMITS, {"tag": " prod-database ", "limit": 1})
    assert (made.status_code, made.data["tag"], made.data["used"], made.data["holders"]) == (
        201,
        "prod-database",
        0,
        [],
    )
    api.post(LIMITS, {"tag": "quota", "limit": 0})
    assert api.post(LIMITS, {"tag": "quota", "limit": 2}).status_code == 409
    first, second = str(uuid7()), str(uuid7())
    for task_run in (first, second):
        ask(api, run.pk, "prod-database", task_run=task_run)
    shown = api.get(f"{LIMITS}{made.data['id']}/").data
    assert (shown["used"], shown["waiting"]) == (1, 1)
    (holder,), (waiter,) = shown["holders"], shown["waiters"]
    assert (str(holder["task_run"]), holder["name"], holder["flow_run_name"]) == (first, "load", run.name)
    assert holder["granted_at"].endswith("Z")
    assert (str(waiter["task_run"]), waiter["granted_at"]) == (second, None)
    assert [(one["tag"], one["used"], one["waiting"]) for one in api.get(LIMITS).data["results"]] == [
        ("prod-database", 1, 1), ("quota", 0, 0),
    ]  # fmt: skip
    assert [one["tag"] for one in api.get(LIMITS, {"tag": "quota"}).data["results"]] == ["quota"]
    assert api.post(f"{LIMITS}{made.data['id']}/reset/").data == {"freed": 1}
    assert api.patch(f"{LIMITS}{made.data['id']}/", {"limit": 5}).data["limit"] == 5
    assert strange_api.get(LIMITS).data["results"] == []
    for method in ("get", "patch", "delete"):
        assert getattr(strange_api, method)(f"{LIMITS}{made.data['id']}/", {"limit": 2}).status_code == 404
    assert api.delete(f"{LIMITS}{made.data['id']}/").status_code == 204
    assert ConcurrencyLimit.objects.get().tag == "quota"


@pytest.mark.parametrize(
    ("body", "field"),
    [({}, "tag"), ({"limit": -1}, "limit"), ({"limit": "x"}, "limit"), ({"tags": "x"}, "tags"), ({"tag": ""}, "tag")],
)
def test_what_is_no_limit_is_refused(api: APIClient, body: dict[str, object], field: str) -> None:
    answer = api.post(LIMITS, body and {"tag": "x", "limit": 1, **body})
    assert answer.status_code == 400
    fields = [error["field"] for error in answer.data.get("errors", [answer.data])]
    assert field in fields


# Slots


def test_a_task_run_asks_and_gives_back(api: APIClient, run: FlowRun, team: Team) -> None:
    assert ask(api, run.pk, "prod-database").data == {"granted": True, "limits": []}
    assert ask(api, uuid7(), "prod-database").data == {"granted": True, "limits": []}
    tag_limits.create_limit(team, tag="prod-database", limit=1)
    assert api.get("/api/slots/tags/").data == {"tags": ["prod-database"]}
    task_run = str(uuid7())
    granted = ask(api, run.pk, "prod-database", "other", task_run=task_run)
    assert (granted.status_code, granted.data) == (200, {"granted": True, "limits": ["prod-database"]})
    waits = ask(api, run.pk, "prod-database", name="x" * 300)
    assert waits.status_code == 202
    assert waits.json() == {
        "granted": False,
        "waits_for": [
            {
                "tag": "prod-database", "limit": 1, "position": 1,
                "holders": [
                    {"task_run": task_run, "name": "load", "flow_run": str(run.pk), "flow_run_name": run.name}
                ],
            }
        ],
    }  # fmt: skip
    assert api.delete(f"/api/slots/{task_run}/").status_code == 204
    assert api.delete(f"/api/slots/{task_run}/").status_code == 204
    (slot,) = Slot.objects.all()
    assert (slot.granted_at is not None, len(slot.task_name)) == (True, 200)


def test_runs_that_get_none_are_told_apart(api: APIClient, run: FlowRun, team: Team) -> None:
    tag_limits.create_limit(team, tag="x", limit=1)
    unknown = [ask(api, uuid7(), "x"), ask(api, run.pk, "x", attempt=2)]
    unknown.append(ask(api, run.pk, "x", journal=str(uuid7()), sequence=3))
    assert [(answer.status_code, answer.data["code"]) for answer in unknown] == [(409, "unknown_run")] * 3
    FlowRun.objects.update(state_type=StateType.CRASHED)
    ended = ask(api, run.pk, "x")
    assert (ended.status_code, ended.data["code"]) == (409, "run_ended")
    assert ask(api, run.pk, "x", task_run="nonsense").data["field"] == "task_run"


def test_runs_and_teams_speak_for_their_own_alone(
    api: APIClient, strange_api: APIClient, run: FlowRun, make_run: RunMaker, team: Team
) -> None:
    tag_limits.create_limit(team, tag="x", limit=1)
    other = make_run(type_=StateType.RUNNING)
    journal = uuid7()
    attempt = Attempt.objects.create(flow_run=run, number=1, created_at=run.state_time, journal=journal)
    subflow = make_run(type_=StateType.RUNNING)
    Attempt.objects.create(flow_run=subflow, number=1, created_at=run.state_time, journal=journal)
    own = APIClient()
    own.credentials(HTTP_AUTHORIZATION=f"Bearer {run_token(attempt)}")
    assert own.get("/api/slots/tags/").data == {"tags": ["x"]}
    task_run = str(uuid7())
    assert ask(own, subflow.pk, "x", task_run=task_run).status_code == 200
    assert ask(own, run.pk, "x").status_code == 202
    assert ask(own, other.pk, "x").status_code == 404
    assert ask(strange_api, run.pk, "x").status_code == 404
    assert strange_api.get("/api/slots/tags/").data == {"tags": []}
    foreign = str(uuid7())
    ask(api, other.pk, "x", task_run=foreign)
    for client, its in ((strange_api, task_run), (own, foreign)):
        assert client.delete(f"/api/slots/{its}/").status_code == 204
    assert Slot.objects.count() == 3
    assert own.get(LIMITS).status_code == 403
    assert APIClient().post("/api/slots/", {}).status_code == 401


# The stream


class Stream:
    """A process that listens."""

    def __init__(self, token: str, listener: str, host: str = "localhost") -> None:
        scope = {
            "type": "http", "method": "GET", "path": slot_stream.PATH, "query_string": f"listener={listener}".encode(),
            "headers": [(b"host", host.encode()), (b"authorization", f"Bearer {token}".encode())],
        }  # fmt: skip
        self._connection = ApplicationCommunicator(slot_stream.stream, scope)

    async def start(self) -> int:
        await self._connection.send_input({"type": "http.request", "body": b""})
        return int((await self._connection.receive_output(20))["status"])

    async def next(self) -> bytes:
        body: bytes = (await self._connection.receive_output(20))["body"]
        return body

    async def leave(self) -> None:
        await self._connection.send_input({"type": "http.disconnect"})
        await self._connection.wait(20)


@pytest.fixture
def broker(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A channel layer over a real broker, as in a server."""
    layers = {"default": {**settings.CHANNEL_LAYERS["default"], "CONFIG": {"hosts": [redis_url]}}}
    monkeypatch.setattr(settings, "BROKER_URL", redis_url)
    monkeypatch.setattr(settings, "CHANNEL_LAYERS", layers)
    from channels.layers import channel_layers  # a registry that reads the settings once

    monkeypatch.setattr(channel_layers, "backends", {})
    return redis_url


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("where", ["in this process", "in another"])
def test_a_grant_is_heard_on_the_stream(
    where: str, user: User, run: FlowRun, team: Team, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    if where == "in another":
        request.getfixturevalue("broker")
        heard_here = grants.from_message
        monkeypatch.setattr(slot_stream, "from_message", lambda message: heard_here({**message, "from": "another"}))
        monkeypatch.setattr(grants.Ear, "hear", lambda ear, grant: None)
    listener, first, second = str(uuid7()), str(uuid7()), str(uuid7())
    api, token = client_of(user), ApiToken.issue(name="stream", user=user, team=team)[1]
    tag_limits.create_limit(team, tag="x", limit=1)
    ask(api, run.pk, "x", task_run=first)
    ask(api, run.pk, "x", task_run=second, listener=listener)

    async def hear() -> list[bytes]:
        stream = Stream(token, listener)
        assert await stream.start() == 200
        heard = [await stream.next()]
        await streams.in_thread(api.delete, f"/api/slots/{first}/")
        heard.append(await stream.next())
        await stream.leave()
        return heard

    ready, granted = asyncio.run(hear())
    assert ready == b"event: ready\ndata: {}\n\n"
    assert granted == f'event: granted\ndata: {{"task_run": "{second}"}}\n\n'.encode()
    assert not grants._ears


@pytest.mark.django_db(transaction=True)
def test_who_may_listen(user: User, run: FlowRun, make_run: RunMaker, stranger: User, team: Team) -> None:
    attempt = Attempt.objects.create(flow_run=run, number=1, created_at=run.state_time)
    other = make_run(type_=StateType.RUNNING)
    tag_limits.create_limit(team, tag="x", limit=0)
    listener = str(uuid7())
    strange = ApiToken.issue(name="s", user=stranger, team=stranger.memberships.get().team)[1]
    of_run = run_token(attempt)
    mine, its = uuid7(), uuid7()

    async def refused() -> list[int]:
        streams = [Stream("orc_no", listener), Stream(of_run, "no-id"), Stream(of_run, listener, host="evil.example")]
        return [await stream.start() for stream in streams]

    async def hear(token: str) -> list[bytes]:
        stream = Stream(token, listener)
        await stream.start()
        heard = [await stream.next()]
        for task_run, flow_run in ((its, other.pk), (mine, run.pk)):
            grants._tell([grants.Grant(task_run, flow_run, team.pk, UUID(listener))])
        try:
            heard.append(await asyncio.wait_for(stream.next(), 1))
        except TimeoutError:
            pass
        await stream.leave()
        return heard

    assert asyncio.run(refused()) == [401, 400, 400]
    assert str(mine).encode() in asyncio.run(hear(of_run))[1]
    assert len(asyncio.run(hear(strange))) == 1


@pytest.mark.django_db(transaction=True)
def test_a_stream_ends_with_its_token(run: FlowRun, monkeypatch: pytest.MonkeyPatch) -> None:
    attempt = Attempt.objects.create(flow_run=run, number=1, created_at=run.state_time)
    monkeypatch.setattr(slot_stream, "COMMENT_SECONDS", 0.05)

    def crash() -> None:
        FlowRun.objects.filter(pk=run.pk).update(state_type=StateType.CRASHED)

    async def hear() -> list[bytes]:
        stream = Stream(run_token(attempt), str(uuid7()))
        await stream.start()
        heard = [await stream.next(), await stream.next()]
        await streams.in_thread(crash)
        while heard[-1]:
            heard.append(await stream.next())
        return heard

    heard = asyncio.run(hear())
    assert heard[1].startswith(b":")
    assert heard[-1] == b""
