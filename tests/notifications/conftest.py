"""A receiver and a mailbox that are really there, and a maker of what is to be told."""

from collections.abc import Iterator

import pytest
from pytest_django import Settings

from notifications.transports import TRANSPORTS
from teams.models import Team
from tests.notifications.making import Make
from tests.notifications.receiving import Mailbox, Receiver


@pytest.fixture
def receiver(settings: Settings) -> Iterator[Receiver]:
    """An HTTP server on loopback, which destinations may be on in this test."""
    settings.ALLOW_PRIVATE_ADDRESSES = True
    receiver = Receiver()
    yield receiver
    receiver.close()


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    """An SMTP server on loopback."""
    mailbox = Mailbox()
    yield mailbox
    mailbox.close()


@pytest.fixture
def make(db: None, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Make:
    """Makes rows of the default team; destinations lie at the receiver, where the test has one."""
    monkeypatch.setitem(TRANSPORTS, "plain", "tests.notifications.receiving.PlainTransport")
    address = (
        request.getfixturevalue("receiver").url + "/" if "receiver" in request.fixturenames else "http://127.0.0.1:9/"
    )
    return Make(Team.default(), address)
