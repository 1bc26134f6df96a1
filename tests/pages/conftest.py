"""A site to look at: sample rows, a signed-in client, and a real server on a port for browsers and sockets."""

import os
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import uvicorn
from django.db import connections
from django.test import Client
from playwright.sync_api import BrowserContext, Page
from pytest_django import Settings

from tests import servers
from tests.browser.conftest import browser, complaints, page, pytest_collection_modifyitems
from tests.pages import sample

__all__ = ["browser", "complaints", "page", "pytest_collection_modifyitems"]

# Playwright's synchronous API keeps a loop in this thread, which Django would take for asynchronous code.
os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"


@pytest.fixture
def channels(settings: Settings, redis_server: str) -> None:
    """The channel layer, on a real Redis-protocol server."""
    layer = {"BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer", "CONFIG": {"hosts": [redis_server]}}
    settings.CHANNEL_LAYERS = {"default": layer}
    settings.BROKER_URL = redis_server


@dataclass
class Site:
    """A running site: its address, what is on it, and who is signed in."""

    url: str
    made: dict[str, Any] = field(default_factory=dict)

    def sign_in(self, context: BrowserContext) -> None:
        """Sign the browser in as the first administrator."""
        from teams.models import User

        client = Client()
        client.force_login(User.first_admin())
        context.add_cookies([{"name": "sessionid", "value": client.cookies["sessionid"].value, "url": self.url}])


@pytest.fixture
def site(transactional_db: None, channels: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """A real server over an empty database."""
    from orchestrator.asgi import application

    # its threads leave no connection behind that would keep the test database from being dropped
    monkeypatch.setitem(connections.settings["default"], "CONN_MAX_AGE", 0)
    port = servers.free_port()
    server = uvicorn.Server(
        uvicorn.Config(application, port=port, log_level="warning", lifespan="off", ws="websockets-sansio")
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 10
    while not server.started:
        assert thread.is_alive()
        assert time.monotonic() < deadline
        time.sleep(0.01)  # uvicorn tells nobody when it listens
    yield Site(f"http://127.0.0.1:{port}")
    server.should_exit = True
    server.force_exit = True
    thread.join(10)


@pytest.fixture
def typical(site: Site) -> Site:
    """A server with what a small team has."""
    site.made = sample.typical()
    return site


@pytest.fixture
def signed_in(site: Site, page: Page) -> Page:
    """A page of a browser that is signed in and has told its time zone."""
    page.goto(site.url + "/sign-in/")
    site.sign_in(page.context)
    return page


@pytest.fixture
def reader(db: None) -> Client:
    """A client signed in as the first administrator."""
    from teams.models import User

    client = Client(headers={"host": "localhost"})
    client.force_login(User.first_admin())
    return client
