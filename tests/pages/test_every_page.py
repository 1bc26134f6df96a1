"""Every page that a browser looks at is answered. Its looks are the same on each database; its queries may differ."""

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from tests.pages import (
    sample,
    test_blocks_browser,
    test_browser,
    test_notifications_browser,
    test_people_browser,
    told,
)

Made = dict[str, Any]


def all_told(of: Callable[[Made], list[str]]) -> Callable[[Made], list[str]]:
    """The same addresses, of a team that is told."""
    return lambda made: of(made | told.told(made["team"]))


@pytest.mark.parametrize(
    "addresses",
    [
        pytest.param(test_browser.addresses, id="runs"),
        pytest.param(test_blocks_browser.addresses, id="blocks"),
        pytest.param(test_people_browser.addresses, id="people"),
        pytest.param(all_told(test_notifications_browser.addresses), id="notifications"),
        pytest.param(all_told(test_notifications_browser.overfull_addresses), id="overfull notifications"),
    ],
)
def test_it_is_answered(reader: Client, addresses: Callable[[Made], list[str]]) -> None:
    for address in addresses(sample.typical()):
        assert reader.get(address).status_code == (404 if address == "/nothing/" else 200), address


def test_it_is_answered_where_it_is_overfull(reader: Client) -> None:
    for address in test_browser.overfull_addresses():
        assert reader.get(address).status_code == 200, address
