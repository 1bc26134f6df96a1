"""Pages of work queues and workers: what they show, at what cost, and what their buttons do."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from flows.models import Deployment, WorkQueue
from orchestrator.sdk.ids import uuid7
from runs.models import Attempt, FlowRun, Worker
from teams.models import Membership, Team, User
from tests.pages import sample

pytestmark = pytest.mark.database


@pytest.fixture
def made(db: None) -> dict[str, Any]:
    return sample.typical()


@pytest.fixture
def stranger(made: dict[str, Any]) -> Client:
    person = User.objects.create_user("eve")
    Membership.objects.create(user=person, team=Team.objects.create(name="others"))
    client = Client(headers={"host": "localhost"})
    client.force_login(person)
    return client


def make_worker(name: str, **values: Any) -> Worker:
    now = timezone.now()
    known = {"host": "h", "pid": 1, "places": 4, "started_at": now, "heartbeat_at": now, "heard_at": now}
    return Worker.objects.create(name=name, **{**known, **values})


def text(response: Any) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", response.content.decode()))


def queries(client: Client, address: str) -> int:
    with CaptureQueriesContext(
        connection,
    ) as captured:
        assert client.get(address).status_code == 200
    return len(captured)


def test_the_list_shows_what_each_queue_does_at_a_cost_that_does_not_grow(reader: Client, made: dict[str, Any]) -> None:
    team = Team.default()
    before = queries(reader, "/work-queues/")
    for number in range(60):
        WorkQueue.objects.create(team=team, name=f"q{number:02}", limit=1, priority=number)
    assert queries(reader, "/work-queues/") == before
    first = WorkQueue.objects.get(name="q59")
    flow = FlowRun.objects.first().flow  # type: ignore[union-attr]
    now = timezone.now()
    for state in ("RUNNING", "SCHEDULED", "SCHEDULED"):
        sample.make_run(flow, now - timedelta(seconds=5), None, state, queue=first)
    page = reader.get("/work-queues/")
    shown = text(page)
    assert "q59 1 of 1 in progress 2 waiting priority 59" in shown
    assert 'rel="next"' in page.content.decode()
    assert text(reader.get("/work-queues/?from=50")).count("in progress") == 11


def test_a_queues_page_says_who_holds_it_who_waits_in_order_and_who_serves_it(
    reader: Client, made: dict[str, Any]
) -> None:
    queue = WorkQueue.objects.create(team=Team.default(), name="warehouse", limit=1)
    flow = FlowRun.objects.first().flow  # type: ignore[union-attr]
    now = timezone.now()
    address = f"/work-queues/{queue.id}/"
    Worker.objects.all().delete()
    assert "orchestrator worker start --queue warehouse" in text(reader.get(address))
    make_worker("w1@h", queues=[str(queue.id)])
    make_worker("elsewhere@h", queues=[str(uuid7())])
    sample.make_run(flow, now, None, "RUNNING", queue=queue, name="holder")
    for name, seconds, priority in (("late", 5, 0), ("early", 50, 0), ("urgent", 1, 7)):
        at = now - timedelta(seconds=seconds)
        sample.make_run(flow, at, None, "SCHEDULED", queue=queue, name=name, priority=priority)
    shown = text(reader.get(address))
    assert "1 of 1 in progress · 3 waiting" in shown
    assert shown.index("holder") < shown.index("urgent") < shown.index("early") < shown.index("late")
    assert "w1@h" in shown
    assert "elsewhere@h" not in shown


def test_a_queue_is_made_changed_paused_and_deleted_and_nothing_typed_is_lost(
    reader: Client, made: dict[str, Any]
) -> None:
    refused = reader.post("/work-queues/new/", {"name": "", "limit": "many", "priority": "0", "description": "kept"})
    assert refused.status_code == 422
    assert "kept" in refused.content.decode()
    assert "Write a whole number." in text(refused)
    said = reader.post("/work-queues/new/", {"name": "warehouse", "limit": "1", "priority": "-5", "description": ""})
    queue = WorkQueue.objects.get(name="warehouse")
    assert (said.status_code, queue.limit, queue.priority) == (302, 1, -5)
    taken = reader.post("/work-queues/new/", {"name": "warehouse", "limit": "", "priority": ""})
    assert "already" in text(taken)

    reader.post(f"/work-queues/{queue.id}/edit/", {"name": "stock", "limit": "", "priority": "", "description": "x"})
    queue.refresh_from_db()
    assert (queue.name, queue.limit, queue.priority, queue.description) == ("stock", None, 0, "x")
    reader.post(f"/work-queues/{queue.id}/pause/")
    queue.refresh_from_db()
    assert queue.paused
    assert "Paused" in text(reader.get(f"/work-queues/{queue.id}/"))
    reader.post(f"/work-queues/{queue.id}/resume/")

    default = WorkQueue.objects.get(name="default")
    kept = reader.post(f"/work-queues/{default.id}/delete/")
    assert (kept.status_code, "It can be limited or paused" in text(kept)) == (422, True)
    assert "Delete stock?" in text(reader.get(f"/work-queues/{queue.id}/delete/"))
    assert reader.post(f"/work-queues/{queue.id}/delete/").status_code == 302
    assert not WorkQueue.objects.filter(pk=queue.pk).exists()


def test_a_deployments_form_has_its_queue_limit_and_collision(reader: Client, made: dict[str, Any]) -> None:
    deployment = made["deployments"]["flights"]
    address = f"/deployments/{deployment.id}/edit/"
    form = {"queue": "warehouse", "limit": "2", "collision": "cancel", "tags": "", "parameter.table": "x"}
    wrong = reader.post(address, {**form, "limit": "-1"})
    assert wrong.status_code == 422
    reader.post(address, form)
    changed = Deployment.objects.select_related("queue").get(pk=deployment.pk)
    assert (changed.queue.name, changed.limit, changed.collision) == ("warehouse", 2, "cancel")
    assert "2 runs at most; another one is cancelled" in text(reader.get(f"/deployments/{deployment.id}/"))
    reader.post(address, {**form, "limit": ""})
    assert Deployment.objects.get(pk=deployment.pk).limit is None


def test_workers_are_shown_alive_deaf_gone_and_stopped_with_what_they_run(reader: Client, made: dict[str, Any]) -> None:
    Worker.objects.all().delete()
    now, long_ago = timezone.now(), timezone.now() - timedelta(minutes=2)
    queue = WorkQueue.objects.create(team=Team.default(), name="warehouse")
    alive = make_worker("alive@h", load=0.5, queues=[str(queue.id)])
    make_worker("deaf@h", started_at=long_ago, heard_at=long_ago)
    gone = make_worker("gone@h", heartbeat_at=long_ago)
    make_worker("stopped@h", stopped_at=now)
    run = sample.make_run(made["running"].flow, now, None, "RUNNING", name="on-it", lease_expires_at=now)
    Attempt.objects.filter(flow_run=run).update(worker=alive)
    shown = text(reader.get("/workers/"))
    assert "Alive alive@h warehouse 1 of 4 places · load 0.50" in shown
    assert "Does not hear bells deaf@h every work queue 0 of 4 places" in shown
    assert "gone@h" not in shown
    everyone = text(reader.get("/workers/?all=1"))
    assert "Gone gone@h" in everyone
    assert "Stopped stopped@h" in everyone
    page = text(reader.get(f"/workers/{alive.id}/"))
    assert "on-it" in page
    assert "Nothing was heard of it" in text(reader.get(f"/workers/{gone.id}/"))
    before = queries(reader, "/workers/")
    for number in range(30):
        make_worker(f"more{number}@h", queues=[str(queue.id)])
    assert queries(reader, "/workers/") == before


def test_other_teams_see_neither_queues_nor_their_workers_nor_runs(stranger: Client, made: dict[str, Any]) -> None:
    queue = WorkQueue.objects.create(team=Team.default(), name="warehouse")
    theirs = make_worker("theirs@h", team=Team.default())
    servers = make_worker("servers@h")
    now = timezone.now()
    run = sample.make_run(made["running"].flow, now, None, "RUNNING", name="secret-run", lease_expires_at=now)
    Attempt.objects.filter(flow_run=run).update(worker=servers)
    for address in (f"/work-queues/{queue.id}/", f"/work-queues/{queue.id}/edit/", f"/workers/{theirs.id}/"):
        assert stranger.get(address).status_code == 404
    assert stranger.post(f"/work-queues/{queue.id}/pause/").status_code == 404
    assert "warehouse" not in text(stranger.get("/work-queues/"))
    assert "theirs@h" not in text(stranger.get("/workers/"))
    assert "secret-run" not in text(stranger.get(f"/workers/{servers.id}/"))
