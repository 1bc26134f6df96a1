"""The OpenAPI description: ways to sign in (importing it registers them), refusals, headers, the order of lists."""

from typing import Any, Final

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.openapi import AutoSchema
from rest_framework.permissions import AllowAny

#: What a call may be refused with, by status.
PROBLEMS: Final = {
    "400": "The request is not valid: `field` and `errors` say where.",
    "401": "No token, or one that is unknown or has expired.",
    "403": "You may see it, and not do this with it.",
    "404": "There is none that you may see.",
    "406": "An answer was asked for in a format that there is not.",
    "409": "It does not fit the state that the thing is in, or an idempotency key was used before.",
    "412": "It was changed since the version that `If-Match` names.",
    "413": "The body is too large.",
    "415": "The body is of a type that is not read here.",
    "429": "More requests than the caller's rate: `Retry-After` says when to go on.",
    "501": "Not on this server.",
    "503": "The database cannot be used now; send it again in a moment.",
}
_PART: Final = {
    "type": "object",
    "required": ["code", "message"],
    "properties": {
        "code": {"type": "string", "description": "For programs."},
        "message": {"type": "string", "description": "For people: what happened, and what to do."},
        "field": {"type": "string", "description": "The part of the request that is wrong: `parameters.day`."},
    },
}
_PROBLEM: Final = {
    **_PART,
    "description": "Why a call was refused.",
    "properties": {
        **_PART["properties"],  # type: ignore[dict-item]
        "errors": {"type": "array", "items": _PART, "description": "Every such part, where there are several."},
    },
}
_ETAG: Final = {"description": "The version of the object, for `If-Match`.", "schema": {"type": "string"}}
_HEADERS: Final = {
    "RateLimit-Limit": "How many requests the caller may make in a window.",
    "RateLimit-Remaining": "How many are left in this one.",
    "RateLimit-Reset": "Seconds until the next one.",
}
_KEY: Final = {
    "name": "Idempotency-Key",
    "in": "header",
    "schema": {"type": "string", "maxLength": 200},
    "description": "The same key with the same request is answered as it was the first time, for 24 hours, with the"
    " header `Idempotency-Replayed: true`; with another request it answers 409.",
}
_TEAM: Final = {
    "name": "Orchestrator-Team",
    "in": "header",
    "schema": {"type": "string"},
    "description": "Act for this team of the caller's, by name or id; without it for the token's.",
}
_IF_MATCH: Final = {
    "name": "If-Match",
    "in": "header",
    "schema": {"type": "string"},
    "description": "The `ETag` that was read; 412 where the object was changed since.",
}


class Described(AutoSchema):
    """Adds to each call what `orchestrator.api_views` does for all of them."""

    def get_operation(self, *args: Any, **kwargs: Any) -> dict[str, Any] | None:
        """Return the description of a call."""
        operation: dict[str, Any] | None = super().get_operation(*args, **kwargs)
        if operation is None:
            return None
        if headers := self._headers():
            operation.setdefault("parameters", []).extend(headers)
        for status, answer in operation["responses"].items():
            answer.setdefault("headers", {}).update(self._answered_headers(status))
        for status in self._refusals(operation):
            operation["responses"][status] = {"$ref": f"#/components/responses/Problem{status}"}
        return operation

    def get_description(self) -> str:
        """Add the order of a list, which its cursor keeps."""
        said = str(super().get_description() or "")
        pagination = getattr(self.view, "pagination_class", None)
        ordering = getattr(pagination, "ordering", None)
        if not ordering or self.method != "GET" or not self._is_list_view():
            return said
        order = ", ".join(
            f"`{name.lstrip('-').replace('__', '.')}`" + (" (descending)" if name.startswith("-") else "")
            for name in ordering
        )
        return f"{said}\n\nIn the order of {order}.".strip()

    @property
    def verb(self) -> str:
        """The action of the call, as views name it."""
        return str(getattr(self.view, "action", None) or self.method.lower())

    def _headers(self) -> list[dict[str, Any]]:
        if self.method == "POST":
            own = self.verb in getattr(self.view, "own_keys", ())
            return [_TEAM] if own else [_KEY, _TEAM]
        return [_IF_MATCH] if self._matches else []

    @property
    def _matches(self) -> bool:
        return self.method in {"PATCH", "PUT", "DELETE"} and self._is_versioned

    @property
    def _is_versioned(self) -> bool:
        ask = getattr(self.view, "is_versioned", None)
        return ask is not None and bool(ask(self.verb))

    def _answered_headers(self, status: str) -> dict[str, Any]:
        whole = self._is_versioned and status == "200"
        rated = {} if self.verb in getattr(self.view, "unrated", ()) else _HEADERS
        numbers = {name: {"description": meaning, "schema": {"type": "integer"}} for name, meaning in rated.items()}
        return {**({"ETag": _ETAG} if whole else {}), **numbers}

    def _refusals(self, operation: dict[str, Any]) -> list[str]:
        """The statuses that this call may be refused with, in order."""
        is_open = AllowAny in self.view.permission_classes
        queried = any(parameter["in"] == "query" for parameter in operation.get("parameters", ()))
        may = {
            "400": self.method != "GET" or queried,
            "401": True,
            "403": not is_open,
            "404": "{" in self.path or self.method == "POST",
            "406": True,
            "409": self.method != "GET",
            "412": self._matches,
            "413": self.method in {"POST", "PUT", "PATCH"},
            "415": self.method in {"POST", "PUT", "PATCH"},
            "429": self.verb not in getattr(self.view, "unrated", ()),
            "501": self.verb in getattr(self.view, "elsewhere", ()),
            "503": not is_open,
        }
        return [status for status, can in may.items() if can]


def with_problems(result: dict[str, Any], generator: Any, request: Any, public: bool) -> dict[str, Any]:
    """Describe refusals once; the calls refer to them."""
    components = result.setdefault("components", {})
    components.setdefault("schemas", {})["Problem"] = _PROBLEM
    schema = {"$ref": "#/components/schemas/Problem"}
    components["responses"] = {
        f"Problem{status}": {"description": meaning, "content": {"application/json": {"schema": schema}}}
        for status, meaning in PROBLEMS.items()
    }
    components["responses"]["Problem429"]["headers"] = {
        "Retry-After": {"description": "Seconds.", "schema": {"type": "integer"}}
    }
    return result


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
