"""How many requests a caller may make, counted for all processes in the broker."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.core.cache import cache, caches
from django.core.exceptions import ImproperlyConfigured
from rest_framework.test import APIClient

from orchestrator import environment


@pytest.fixture
def three_an_hour(settings: Any, redis_url: str) -> Iterator[None]:
    settings.CACHES = {"default": {**settings.CACHES["default"], "LOCATION": redis_url}}
    settings.API_RATE = (3, 3600)
    yield
    cache.clear()
    caches.close_all()


def test_a_caller_is_told_how_it_stands_and_then_refused(
    three_an_hour: None, api: APIClient, strange_api: APIClient
) -> None:
    answers = [api.get("/api/flows/") for _ in range(4)]

    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert [answer.headers["RateLimit-Remaining"] for answer in answers] == ["2", "1", "0", "0"]
    assert answers[0].headers["RateLimit-Limit"] == "3"
    assert 0 < int(answers[3].headers["Retry-After"]) <= 3600
    assert answers[3].data["code"] == "throttled"
    assert strange_api.get("/api/flows/").status_code == 200, "others have a rate of their own"
    assert [APIClient().get("/api/health/").status_code for _ in range(4)] == [200, 200, 200, 429]


def test_what_runs_send_is_not_counted(three_an_hour: None, api: APIClient) -> None:
    codes = {api.post("/api/ingest/", "", content_type="application/x-ndjson").status_code for _ in range(6)} | {
        api.post("/api/slots/", {}).status_code for _ in range(6)
    }

    assert codes == {400}


def test_without_the_broker_each_process_counts(settings: Any, api: APIClient) -> None:
    settings.API_RATE = (1, 3600)

    assert [api.get("/api/flows/").status_code for _ in range(2)] == [200, 429]


@pytest.mark.parametrize(
    ("text", "rate"), [("20000/minute", (20000, 60)), ("5/second", (5, 1)), ("1/hour", (1, 3600)), ("none", (0, 0))]
)
def test_a_rate_is_read(monkeypatch: pytest.MonkeyPatch, text: str, rate: tuple[int, int]) -> None:
    monkeypatch.setenv("ORCHESTRATOR_API_RATE", text)

    assert environment.rate("API_RATE", "1/hour") == rate


@pytest.mark.parametrize("text", ["fast", "0/minute", "5/day", "-1/second", "5 / second"])
def test_what_is_no_rate_stops_the_start(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("ORCHESTRATOR_API_RATE", text)

    with pytest.raises(ImproperlyConfigured, match="ORCHESTRATOR_API_RATE"):
        environment.rate("API_RATE", "1/hour")
