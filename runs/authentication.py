"""The token of a run: good for that run while its attempt is the current one, and a day more for facts."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

from django.core import signing
from django.utils import timezone
from rest_framework.authentication import BaseAuthentication, get_authorization_header
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from runs.models import Attempt
from teams.models import Team
from teams.rights import Level

PREFIX: Final = "orun_"
FACTS_AFTER_END: Final = timedelta(days=1)
_SALT: Final = "runs.authentication"


@dataclass(frozen=True, slots=True)
class RunPrincipal:
    """Who asks, when a run asks: it acts for its team, as no person."""

    attempt: Attempt  #: with its flow run loaded

    is_authenticated = True
    is_active = True
    is_superuser = False
    is_staff = False
    is_anonymous = False

    def level_on(self, row: Any) -> Level:
        """What it may do in its team: what an operator may, since its team's flows run one another."""
        team_id = row.pk if isinstance(row, Team) else row.team_id
        return Level.RUN if team_id == self.attempt.flow_run.team_id else Level.NONE


def run_token(attempt: Attempt) -> str:
    """Return the token of an attempt. It is signed, not stored: what it allows is read from the run at each use."""
    return PREFIX + signing.dumps({"run": str(attempt.flow_run_id), "attempt": attempt.number}, salt=_SALT)


def attempt_of(token: str, *, for_facts: bool = False) -> Attempt | None:
    """Return the attempt that a token is good for now, with its flow run; None when it is good for none.

    Args:
        token: What `run_token` returned.
        for_facts: Also accept an attempt that was superseded or ended, up to a day after its end.

    Queries: one, by the run's primary key; another for a process that has retried the run within itself.
    """
    try:
        claims = signing.loads(token.removeprefix(PREFIX), salt=_SALT)
        run_id, number = UUID(claims["run"]), int(claims["attempt"])
    except (signing.BadSignature, KeyError, TypeError, ValueError):
        return None
    attempts = Attempt.objects.select_related("flow_run__team", "flow_run__flow")
    attempt = attempts.filter(flow_run=run_id, number=number).first()
    if attempt is None:
        return None
    if for_facts:
        ended_at = attempt.end_time
        if ended_at is None or timezone.now() - ended_at < FACTS_AFTER_END:
            return attempt
    return attempt if not attempt.flow_run.is_final and attempt.is_current() else None


class RunTokenAuthentication(BaseAuthentication):
    """`Authorization: Bearer orun_…`, for views that serve runs. Other bearers are left to the next class.

    `request.user` is a `RunPrincipal`, `request.auth` the attempt.
    """

    for_facts = False

    def authenticate(self, request: Request) -> tuple[RunPrincipal, Attempt] | None:
        """Return the principal and the attempt, None without a run's token; AuthenticationFailed on a stale one."""
        scheme, _, token = get_authorization_header(request).decode("latin-1").partition(" ")
        if scheme.lower() != "bearer" or not token.strip().startswith(PREFIX):
            return None
        attempt = attempt_of(token.strip(), for_facts=self.for_facts)
        if attempt is None:
            raise AuthenticationFailed("This run's token is no longer good: its attempt has ended or was superseded.")
        return RunPrincipal(attempt), attempt

    def authenticate_header(self, request: Request) -> str:
        """Make DRF answer 401, not 403, where no credentials were given."""
        return "Bearer"


class FactTokenAuthentication(RunTokenAuthentication):
    """The same for the address that takes facts, up to a day after the attempt's end."""

    for_facts = True
