"""`Idempotency-Key`: what is sent twice is done once."""

from datetime import timedelta
from threading import Event, Thread
from typing import Any

import pytest
from django.db import connections
from django.db.models import F
from rest_framework.test import APIClient

from flows import calendar_actions
from flows.models import Calendar, Deployment
from runs.models import FlowRun
from teams import idempotency
from teams.models import ApiToken, IdempotencyKey, User
from tests.api.conftest import RunMaker, client_of

FRENCH = {"name": "french", "country": "FR"}


def send(client: APIClient, path: str, body: Any, key: str) -> Any:
    return client.post(f"/api/{path}", body, headers={"Idempotency-Key": key})


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("calendars/", FRENCH),
        ("work-queues/", {"name": "slow"}),
        ("deployments/", {"flow": "etl", "name": "nightly", "entrypoint": "etl.py:etl"}),
        ("destinations/", {"address": "https://example.com/hook", "kind": "webhook"}),
    ],
)
def test_the_same_request_again_is_answered_as_the_first_time(api: APIClient, path: str, body: Any) -> None:
    first, second = send(api, path, body, "one"), send(api, path, body, "one")

    assert first.status_code == second.status_code == 201
    assert second.json() == first.json()
    assert "Idempotency-Replayed" not in first.headers
    assert second.headers["Idempotency-Replayed"] == "true"


def test_the_same_key_with_another_request_is_refused(api: APIClient) -> None:
    send(api, "calendars/", FRENCH, "one")
    other = send(api, "calendars/", {**FRENCH, "name": "other"}, "one")

    assert (other.status_code, other.data["code"]) == (409, "idempotency_key_reused")
    assert Calendar.objects.count() == 1


def test_a_request_that_failed_releases_its_key(api: APIClient) -> None:
    assert send(api, "calendars/", {"name": ""}, "one").status_code == 400
    assert send(api, "calendars/", FRENCH, "one").status_code == 201


def test_keys_of_others_are_others(api: APIClient, strange_api: APIClient, user: User) -> None:
    send(api, "calendars/", FRENCH, "one")

    assert "Idempotency-Replayed" not in send(strange_api, "calendars/", FRENCH, "one").headers
    assert send(client_of(user), "calendars/", FRENCH, "one").status_code == 400, "another token of the same user"
    assert Calendar.objects.count() == 2


def test_a_secret_is_answered_again_and_is_not_readable_in_the_database(api: APIClient) -> None:
    first, second = (send(api, "tokens/", {"name": "ci"}, "one") for _ in range(2))

    assert first.data["token"] == second.data["token"]
    assert second.headers["Cache-Control"] == "no-store"
    assert first.data["token"] not in str(IdempotencyKey.objects.get().body)
    assert ApiToken.objects.filter(name="ci").count() == 1


def test_many_runs_are_rerun_once(api: APIClient, make_run: RunMaker, deployment: Deployment) -> None:
    make_run(10, deployment=deployment, queue=deployment.queue)
    body = {"verb": "rerun", "filter": {"state": "COMPLETED"}}
    first, second = (send(api, "flow-runs/bulk/", body, "one") for _ in range(2))

    assert first.data["done"] == 1
    assert second.json() == first.json()
    assert FlowRun.objects.count() == 2


def test_a_runs_key_is_the_runs(api: APIClient, deployment: Deployment) -> None:
    first, second = (send(api, f"deployments/{deployment.id}/runs/", {}, "one") for _ in range(2))

    assert first.data["id"] == second.data["id"]
    assert second.headers["Idempotency-Replayed"] == "true"
    assert not IdempotencyKey.objects.exists()


def test_a_key_that_is_too_long_is_refused(api: APIClient) -> None:
    answer = send(api, "calendars/", FRENCH, "x" * 201)

    assert (answer.status_code, answer.data["field"]) == (400, "Idempotency-Key")


def test_a_request_whose_server_was_killed_can_be_sent_again(api: APIClient, user: User) -> None:
    send(api, "calendars/", FRENCH, "one")
    Calendar.objects.all().delete()
    IdempotencyKey.objects.update(status=None, body=None)

    assert send(api, "calendars/", FRENCH, "one").data["code"] == "in_progress"
    IdempotencyKey.objects.update(created_at=F("created_at") - idempotency.ABANDONED)
    assert send(api, "calendars/", FRENCH, "one").status_code == 201
    assert Calendar.objects.count() == 1


def test_after_a_day_a_key_is_forgotten(api: APIClient) -> None:
    send(api, "calendars/", FRENCH, "one")
    IdempotencyKey.objects.update(created_at=F("created_at") - idempotency.KEPT)
    again = send(api, "calendars/", FRENCH, "one")

    assert again.status_code == 400, "the calendar is there"
    send(api, "calendars/", {**FRENCH, "name": "other"}, "two")
    IdempotencyKey.objects.update(created_at=F("created_at") - idempotency.KEPT - timedelta(seconds=1))
    assert idempotency.sweep() == 1


@pytest.mark.django_db(transaction=True)
def test_the_second_of_two_at_once_is_told_so(user: User, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go_on = Event(), Event()
    create = calendar_actions.create_calendar

    def slow(*args: Any, **kwargs: Any) -> Calendar:
        begun.set()
        go_on.wait(20)
        return create(*args, **kwargs)

    monkeypatch.setattr(calendar_actions, "create_calendar", slow)
    client, answers = client_of(user), []

    def first() -> None:
        answers.append(send(client, "calendars/", FRENCH, "one"))
        connections.close_all()

    thread = Thread(target=first)
    thread.start()
    try:
        assert begun.wait(20)
        if connections["default"].vendor == "postgresql":  # SQLite has one writer: the second waits for the first
            second = send(client, "calendars/", FRENCH, "one")
            assert (second.status_code, second.data["code"]) == (409, "in_progress")
    finally:
        go_on.set()
        thread.join()
    assert answers[0].status_code == 201
    assert send(client, "calendars/", FRENCH, "one").headers["Idempotency-Replayed"] == "true"
