"""The time zones that pages offer."""

from functools import cache
from zoneinfo import available_timezones

_CONTINENTS = (
    "Africa/",
    "America/",
    "Antarctica/",
    "Asia/",
    "Atlantic/",
    "Australia/",
    "Europe/",
    "Indian/",
    "Pacific/",
)


@cache
def common_zones() -> list[str]:
    """IANA names of places, and UTC; not the aliases of old (reads tzdata's list once)."""
    return ["UTC", *sorted(zone for zone in available_timezones() if zone.startswith(_CONTINENTS))]
