"""The world that permissions are tested in."""

import pytest

from notifications.transports import TRANSPORTS
from tests.permissions.world import World, make_world


@pytest.fixture
def world(db: None, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setitem(TRANSPORTS, "plain", "tests.notifications.receiving.PlainTransport")
    return make_world()
