"""Telling a person's open pages that what they may see or do changed: they are loaded anew, at once."""

from collections.abc import Iterable
from typing import Final

from django.db import transaction

from orchestrator import telling
from teams.models import Membership, Team, User

RIGHTS_CHANGED: Final = "rights.changed"


def person_group(user_id: int) -> str:
    """The channel group of the pages that a person has open."""
    return f"person.{user_id}"


def announce_rights(holders: Iterable[User | Team]) -> None:
    """Have the open pages of these people, or of the members of these teams, loaded anew after the commit.

    One query where a team is among them. Without a broker their next look, within seconds, finds it out.
    """
    people = {holder.pk for holder in holders if isinstance(holder, User)}
    teams = [holder.pk for holder in holders if isinstance(holder, Team)]
    if teams:
        people |= set(Membership.objects.filter(team__in=teams).values_list("user_id", flat=True))
    messages = [(person_group(pk), {"type": RIGHTS_CHANGED}) for pk in sorted(people)]
    transaction.on_commit(lambda: telling.send(messages))
