"""The OpenID Connect provider that people may sign in with, read from the environment and checked."""

from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

from django.core.exceptions import ImproperlyConfigured

from orchestrator.environment import listing, text

#: By it the sign-in library tells this provider from others; no address shows it.
PROVIDER_ID: Final = "sso"
_LOOPBACK: Final = {"localhost", "127.0.0.1", "::1"}
_SCOPES: Final = "openid,profile,email"
_DEPENDENT: Final = ("CLIENT_ID", "CLIENT_SECRET", "NAME", "GROUPS_CLAIM", "SCOPES")


@dataclass(frozen=True, slots=True)
class SingleSignOn:
    """Where people sign in, and as which client this site asks.

    Attributes:
        issuer: Its `/.well-known/openid-configuration` names the provider's addresses.
        name: What the button on the sign-in page calls it.
        groups_claim: The claim that lists a person's groups (`teams.models.GroupMapping`).
        scopes: What is asked for; some providers send groups only for a scope of their own.
    """

    issuer: str
    client_id: str
    client_secret: str = field(repr=False)
    name: str = "single sign-on"
    groups_claim: str = "groups"
    scopes: tuple[str, ...] = tuple(_SCOPES.split(","))

    def as_providers(self) -> dict[str, Any]:
        """Return it as django-allauth's SOCIALACCOUNT_PROVIDERS."""
        app = {
            "provider_id": PROVIDER_ID,
            "name": self.name,
            "client_id": self.client_id,
            "secret": self.client_secret,
            "settings": {"server_url": self.issuer, "scope": list(self.scopes)},
        }
        return {"openid_connect": {"OAUTH_PKCE_ENABLED": True, "APPS": [app]}}


def single_sign_on() -> SingleSignOn | None:
    """Read `ORCHESTRATOR_OIDC_…`; None without them. No message shows the secret.

    Raises:
        ImproperlyConfigured: A part is missing, or the issuer is not reached over TLS: what it says about a person is
            trusted because of that. On this machine itself http will do.
    """
    issuer = text("OIDC_ISSUER")
    if not issuer:
        if given := [name for name in _DEPENDENT if text(f"OIDC_{name}")]:
            raise ImproperlyConfigured(
                f"ORCHESTRATOR_OIDC_{given[0]} is set and ORCHESTRATOR_OIDC_ISSUER is not. Write the provider's"
                " address there, like https://id.example.com/realms/main."
            )
        return None
    _check_issuer(issuer)
    for name in ("CLIENT_ID", "CLIENT_SECRET"):
        if not text(f"OIDC_{name}"):
            raise ImproperlyConfigured(
                f"ORCHESTRATOR_OIDC_{name} is missing. The provider shows it where this site is registered as a client."
            )
    scopes = tuple(listing("OIDC_SCOPES", _SCOPES))
    if "openid" not in scopes:
        raise ImproperlyConfigured(f"ORCHESTRATOR_OIDC_SCOPES: openid is missing; write it like {_SCOPES},groups.")
    return SingleSignOn(
        issuer=issuer,
        client_id=text("OIDC_CLIENT_ID"),
        client_secret=text("OIDC_CLIENT_SECRET"),
        name=text("OIDC_NAME") or "single sign-on",
        groups_claim=text("OIDC_GROUPS_CLAIM") or "groups",
        scopes=scopes,
    )


def _check_issuer(issuer: str) -> None:
    try:
        parts = urlsplit(issuer)
        _ = parts.port  # raises where it is no number
    except ValueError:
        parts = urlsplit("")
    is_safe = parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK)
    if not (is_safe and parts.hostname) or parts.query or parts.fragment or parts.username:
        raise ImproperlyConfigured(
            f"ORCHESTRATOR_OIDC_ISSUER: cannot use {parts.scheme}://{parts.hostname or '…'}; write the provider's https"
            " address, like https://id.example.com/realms/main."
        )
