"""Two people change the same thing at the same moment: who comes second is told so."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import connection, connections, transaction
from django.test import Client
from rest_framework.test import APIClient

from flows import calendar_actions
from flows.models import Calendar, Deployment
from teams.models import Team, User

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.database,
    pytest.mark.skipif(
        connection.vendor != "postgresql", reason="on SQLite one waits for the other from its first look"
    ),
]


@contextmanager
def overtaking(change: Callable[[], Any]) -> Iterator[None]:
    """Have another thread make a change, which it commits when a transaction of this one waits for it."""
    made, failures = threading.Event(), []

    def overtake() -> None:
        try:
            with transaction.atomic():
                change()
                made.set()
                with connection.cursor() as cursor:
                    until = time.monotonic() + 30
                    while not waiting(cursor):
                        assert time.monotonic() < until, "nobody waits for it"
                        time.sleep(0.01)
        except BaseException as error:
            failures.append(error)
        finally:
            made.set()
            connections.close_all()

    thread = threading.Thread(target=overtake)
    thread.start()
    made.wait()
    yield
    thread.join()
    assert failures == []


def waiting(cursor: Any) -> bool:
    """Whether somebody waits for a lock of this transaction."""
    cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted AND pg_backend_pid() = ANY(pg_blocking_pids(pid))")
    return bool(cursor.fetchone()[0])


@pytest.fixture
def calendar(team: Team) -> Calendar:
    return calendar_actions.create_calendar(team, name="france", country="FR")


@pytest.mark.parametrize("verb", ["delete", "patch"])
def test_a_calendar_that_is_deleted_meanwhile(api: APIClient, calendar: Calendar, verb: str) -> None:
    with overtaking(lambda: calendar_actions.delete_calendar(calendar)):
        answer = getattr(api, verb)(f"/api/calendars/{calendar.pk}/", {"name": "gaul"} if verb == "patch" else None)
    assert (answer.status_code, answer.data["code"]) == (409, "conflict")
    assert answer.data["message"].startswith("Somebody else changed or deleted this at the same moment.")
    assert not Calendar.objects.exists()


@pytest.mark.parametrize("verb", ["post", "patch"])
def test_a_name_that_is_taken_meanwhile(api: APIClient, team: Team, calendar: Calendar, verb: str) -> None:
    path = f"/api/calendars/{calendar.pk}/" if verb == "patch" else "/api/calendars/"
    with overtaking(lambda: calendar_actions.create_calendar(team, name="spain", country="ES")):
        answer = getattr(api, verb)(path, {"name": "spain"})
    assert (answer.status_code, answer.data["code"]) == (409, "conflict")
    assert sorted(Calendar.objects.values_list("name", "country")) == [("france", "FR"), ("spain", "ES")]


def test_a_schedule_whose_calendar_is_deleted_meanwhile(
    api: APIClient, calendar: Calendar, deployment: Deployment
) -> None:
    hourly = {"kind": "cron", "expression": "0 * * * *", "calendar": "france"}
    with overtaking(lambda: calendar_actions.delete_calendar(calendar)):
        answer = api.post(f"/api/deployments/{deployment.pk}/schedules/", hourly)
    assert (answer.status_code, answer.data["code"]) == (409, "conflict")
    assert not deployment.schedules.exists()
    assert api.post(f"/api/deployments/{deployment.pk}/schedules/", hourly).status_code == 400


def test_the_page_says_so_too(client: Client, user: User, calendar: Calendar) -> None:
    client.force_login(user)
    with overtaking(lambda: calendar_actions.delete_calendar(calendar)):
        answer = client.post(f"/calendars/{calendar.pk}/delete/")
    assert answer.status_code == 409
    assert "Somebody else changed or deleted this at the same moment." in answer.content.decode()
