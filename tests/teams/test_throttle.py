"""Attempts to sign in are counted by account and by address, by all processes together: asked over HTTP."""

import re
from collections.abc import Iterator

import pytest
import requests
from django.core.cache import cache, caches
from pytest_django import Settings

from orchestrator.cache import SharedCache
from teams import actions
from tests.pages.conftest import Site, channels, site
from tests.teams.conftest import PASSWORD

__all__ = ["channels", "site"]
WRONG = "no-such-password"


@pytest.fixture
def counted(settings: Settings, redis_url: str) -> Iterator[None]:
    """The cache on a real server, as the settings have it."""
    settings.CACHES = {"default": {**settings.CACHES["default"], "LOCATION": redis_url}}
    yield
    caches["default"].close()


@pytest.fixture
def people(transactional_db: None) -> None:
    for name in ("ada", "bob"):
        actions.create_user(name, password=PASSWORD, email=f"{name}@example.com")


class Browser:
    """Signs in over HTTP; through a trusted proxy it may come from any address."""

    def __init__(self, site: Site, address: str) -> None:
        self.url, self.session = f"{site.url}/sign-in/", requests.Session()
        self.session.headers["X-Forwarded-For"] = address

    def try_in(self, login: str, password: str = WRONG) -> requests.Response:
        page = self.session.get(self.url, timeout=30)
        token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page.text)
        assert token is not None
        data = {"login": login, "password": password, "csrfmiddlewaretoken": token[1]}
        return self.session.post(self.url, data=data, allow_redirects=False, timeout=30)


def test_an_account_is_tried_five_times(site: Site, people: None, counted: None, settings: Settings) -> None:
    settings.TRUSTED_PROXIES = 1
    names = ["ada", "ADA", "ada@example.com", "ada", "Ada@example.com"]
    for number, name in enumerate(names):
        assert Browser(site, f"203.0.113.{number}").try_in(name).status_code == 422
    refused = Browser(site, "203.0.113.99").try_in("ada", PASSWORD)
    assert refused.status_code == 429
    assert 240 < int(refused.headers["Retry-After"]) <= 300
    assert "Wait 5 minutes, then try again" in refused.text
    assert Browser(site, "203.0.113.99").try_in("bob", PASSWORD).status_code == 302


def test_an_address_fails_ten_times_a_minute(site: Site, people: None, counted: None, settings: Settings) -> None:
    settings.TRUSTED_PROXIES = 1
    browser = Browser(site, "203.0.113.7")
    for number in range(10):
        assert browser.try_in(f"nobody{number}").status_code == 422
    refused = browser.try_in("bob", PASSWORD)
    assert refused.status_code == 429
    assert 1 <= int(refused.headers["Retry-After"]) <= 60
    assert re.search(r"Wait \d+ seconds", refused.text)
    assert Browser(site, "203.0.113.8").try_in("bob", PASSWORD).status_code == 302


def test_who_signs_in_rightly_is_not_counted(site: Site, people: None, counted: None) -> None:
    for _ in range(12):
        assert Browser(site, "").try_in("ada", PASSWORD).status_code == 302


def test_all_processes_count_together(settings: Settings, redis_url: str) -> None:
    options = {**settings.CACHES["default"], "LOCATION": redis_url}
    first, second = SharedCache(redis_url, dict(options)), SharedCache(redis_url, dict(options))
    first.set("attempts", [3.5, 2.25], 60)
    assert second.get("attempts") == [3.5, 2.25]
    assert second.add("attempts", True, 60) is False
    assert second.delete("attempts") is True
    assert first.get("attempts") is None


def test_while_the_broker_is_away_each_process_counts_by_itself(caplog: pytest.LogCaptureFixture) -> None:
    cache.clear()
    for number in (1, 2):
        cache.set("attempts", [number])
        assert cache.get("attempts") == [number]
    assert cache.add("attempts", [3]) is False
    assert cache.touch("attempts", 60) is True
    assert caplog.text.count("each process counts sign-ins by itself") <= 1
    assert cache.delete("attempts") is True
