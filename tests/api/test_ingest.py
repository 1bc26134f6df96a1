"""Journals over REST: facts once, for the team of the token, or for the run of a run's token."""

from datetime import timedelta

import pytest
from django.utils import timezone
from rest_framework.test import APIClient

from orchestrator.sdk.events import AnyFact, FlowRunCreated, FlowRunState, Header, Log, encode
from orchestrator.sdk.ids import uuid7
from orchestrator.sdk.states import StateType
from runs.authentication import run_token
from runs.models import Attempt, FlowRun, Journal
from runs.models import Log as LogRow
from teams.models import Team, User
from tests.api.conftest import RunMaker

NDJSON = "application/x-ndjson"


class Shipped:
    """What a script would send."""

    def __init__(self) -> None:
        self.journal, self.run = str(uuid7()), str(uuid7())
        self.header = Header(journal=self.journal, host="elsewhere")

    def facts(self) -> list[AnyFact]:
        now = int(timezone.now().timestamp() * 1_000_000)
        return [
            FlowRunCreated(n=1, t=now, run=self.run, flow="etl", name="calm-owl"),
            FlowRunState(n=2, t=now + 1, run=self.run, type="RUNNING", name="Running"),
        ]

    def body(self, facts: list[AnyFact]) -> bytes:
        return b"".join(encode(line) + b"\n" for line in (self.header, *facts))


def test_facts_are_taken_once_for_the_tokens_team(api: APIClient, team: Team) -> None:
    shipped = Shipped()
    body = shipped.body(shipped.facts())

    first = api.post("/api/ingest/", body, content_type=NDJSON)
    again = api.post("/api/ingest/", body, content_type=NDJSON)

    assert (first.status_code, first.data["sequence"], first.data["taken"]) == (200, 2, 2)
    assert (again.data["sequence"], again.data["taken"], again.data["repeated"]) == (2, 0, 2)
    run = FlowRun.objects.get(id=shipped.run)
    assert (run.team, run.state_type) == (team, "RUNNING")
    assert Journal.objects.get().team == team


def test_the_header_alone_extends_the_lease_of_its_run(api: APIClient) -> None:
    shipped = Shipped()
    api.post("/api/ingest/", shipped.body(shipped.facts()), content_type=NDJSON)
    FlowRun.objects.update(lease_expires_at=timezone.now() - timedelta(seconds=5))

    answer = api.post("/api/ingest/", shipped.body([]), content_type=NDJSON)

    assert answer.data["sequence"] == 2
    assert FlowRun.objects.get().lease_expires_at > timezone.now() + timedelta(seconds=20)


def test_an_ended_run_has_no_lease(api: APIClient) -> None:
    shipped = Shipped()
    done = FlowRunState(n=3, t=1, run=shipped.run, type="COMPLETED", name="Completed")

    api.post("/api/ingest/", shipped.body([*shipped.facts(), done]), content_type=NDJSON)

    assert FlowRun.objects.get().lease_expires_at is None


def test_another_team_cannot_write_to_a_journal_or_a_run(api: APIClient, strange_api: APIClient) -> None:
    shipped, forged = Shipped(), Shipped()
    api.post("/api/ingest/", shipped.body(shipped.facts()), content_type=NDJSON)
    forged.run = shipped.run
    failed = FlowRunState(n=3, t=1, run=shipped.run, type="FAILED", name="Failed")

    refused = strange_api.post("/api/ingest/", shipped.body([failed]), content_type=NDJSON)
    strange_api.post("/api/ingest/", forged.body([failed]), content_type=NDJSON)

    assert (refused.status_code, refused.data["code"]) == (400, "unusable_batch")
    assert FlowRun.objects.get().state_type == "RUNNING"


def test_a_runs_token_writes_to_its_run_alone_and_a_day_longer(make_run: RunMaker) -> None:
    run, other = make_run(1, StateType.RUNNING), make_run(2, StateType.RUNNING)
    attempt = Attempt.objects.create(flow_run=run, number=1, created_at=timezone.now(), state_type="RUNNING")
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {run_token(attempt)}")
    shipped = Shipped()
    lines: list[AnyFact] = [Log(n=n, t=n, run=str(to.id), message="hello") for n, to in enumerate((run, other), 1)]

    assert client.post("/api/ingest/", shipped.body(lines), content_type=NDJSON).status_code == 200
    assert [log.flow_run for log in LogRow.objects.all()] == [run]
    FlowRun.objects.update(state_type=StateType.COMPLETED)
    Attempt.objects.update(state_type=StateType.COMPLETED, end_time=timezone.now() - timedelta(hours=1))
    assert client.post("/api/ingest/", shipped.body([]), content_type=NDJSON).status_code == 200
    Attempt.objects.update(end_time=timezone.now() - timedelta(hours=25))
    assert client.post("/api/ingest/", shipped.body([]), content_type=NDJSON).status_code == 401


def test_a_runs_token_does_not_end_the_journal_of_another_run(make_run: RunMaker) -> None:
    own, other = (make_run(type_=StateType.RUNNING) for _ in range(2))
    theirs = Shipped()
    fields = {"number": 1, "state_type": "RUNNING", "created_at": timezone.now()}
    Attempt.objects.create(flow_run=other, journal=theirs.journal, **fields)
    token = run_token(Attempt.objects.create(flow_run=own, journal=uuid7(), **fields))
    client = APIClient(headers={"Authorization": f"Bearer {token}"})
    answer = client.post("/api/ingest/", theirs.body([]), content_type=NDJSON)
    assert (answer.status_code, answer.data["code"]) == (400, "unusable_batch"), answer.data
    assert "belongs to another run" in str(answer.data)
    assert not Journal.objects.exists()


@pytest.mark.parametrize("body", [b"", b"{}\n", b"not json\n", b'{"k":"end","n":1}\n'])
def test_what_is_no_journal_is_refused(api: APIClient, body: bytes) -> None:
    assert api.post("/api/ingest/", body, content_type=NDJSON).status_code == 400


def test_too_large_a_batch_and_other_types_are_refused(api: APIClient, user: User) -> None:
    assert api.post("/api/ingest/", b"x" * (17 * 1024 * 1024), content_type=NDJSON).status_code == 413
    assert api.post("/api/ingest/", b"{}", content_type="application/json").status_code == 415
    assert APIClient().post("/api/ingest/", b"", content_type=NDJSON).status_code == 401
