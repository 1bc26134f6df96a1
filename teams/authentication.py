"""Bearer tokens for the REST API."""

from datetime import timedelta

from django.utils import timezone
from rest_framework.authentication import BaseAuthentication, get_authorization_header
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from teams import audit
from teams.models import ApiToken, User, fingerprint
from teams.rights import OF_SCOPE, Confinement

#: A key of the WSGI environ that no HTTP header can set: headers arrive as HTTP_…, as text.
IN_PROCESS = "orchestrator.in_process"
_USED_EVERY = timedelta(minutes=1)  # last_used_at is written at most this often


class TokenAuthentication(BaseAuthentication):
    """`Authorization: Bearer orc_…`. One indexed read of the token with its user."""

    def authenticate(self, request: Request) -> tuple[User, ApiToken] | None:
        """Return the token's user and the token; None without a bearer header. Raises AuthenticationFailed."""
        scheme, _, secret = get_authorization_header(request).decode("latin-1").partition(" ")
        if scheme.lower() != "bearer":
            return None
        token = ApiToken.objects.usable().select_related("user").filter(digest=fingerprint(secret.strip())).first()
        if token is None or not token.user.is_active:
            raise AuthenticationFailed(
                "This token is unknown or has expired. Make one: orchestrator token create NAME."
            )
        now = timezone.now()
        if token.last_used_at is None or now - token.last_used_at > _USED_EVERY:
            ApiToken.objects.filter(pk=token.pk).update(last_used_at=now)
        token.user.confinement = Confinement(OF_SCOPE[token.scope], token.deployment, token.expires_at)
        audit.by_token(token.prefix)
        return token.user, token

    def authenticate_header(self, request: Request) -> str:
        """Make DRF answer 401, not 403, where no credentials were given."""
        return "Bearer"


class InProcessAuthentication(BaseAuthentication):
    """The command line, calling the site in its own process while no server runs: it may open the database anyway."""

    def authenticate(self, request: Request) -> tuple[User, None] | None:
        """Return the first administrator where the caller put `True` itself into the environ; else None."""
        if request.META.get(IN_PROCESS) is not True:
            return None
        return User.first_admin(), None
