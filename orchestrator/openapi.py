"""How the OpenAPI description names the ways to sign in. Importing it registers them."""

from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.openapi import AutoSchema


class TokenScheme(OpenApiAuthenticationExtension):
    """A person's token."""

    target_class = "teams.authentication.TokenAuthentication"
    name = "token"

    def get_security_definition(self, auto_schema: AutoSchema) -> dict[str, Any]:
        """Return the scheme."""
        return {"type": "http", "scheme": "bearer", "description": "`orchestrator token create NAME` makes one."}


class RunTokenScheme(OpenApiAuthenticationExtension):
    """A run's own token."""

    target_class = "runs.authentication.RunTokenAuthentication"
    name = "run_token"

    def get_security_definition(self, auto_schema: AutoSchema) -> dict[str, Any]:
        """Return the scheme."""
        return {"type": "http", "scheme": "bearer", "description": "ORCHESTRATOR_API_TOKEN inside a run."}
