"""People who sign in, and a browser's requests without one."""

from collections.abc import Iterator

import pytest
from django.core.cache import cache
from django.test import Client

from teams import actions
from teams.models import User

PASSWORD = "seven-herons-at-dawn"


@pytest.fixture(autouse=True)
def uncounted() -> Iterator[None]:
    """No attempt to sign in was made before."""
    cache.clear()
    yield
    cache.clear()


@pytest.fixture
def visitor(db: None) -> Client:
    """A browser in which nobody is signed in."""
    return Client(headers={"host": "localhost", "user-agent": "Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0"})


@pytest.fixture
def ada(db: None) -> User:
    """Somebody with a password and an e-mail address."""
    return actions.create_user("ada", password=PASSWORD, email="ada@example.com")
