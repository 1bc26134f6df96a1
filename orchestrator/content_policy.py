"""The Content-Security-Policy of every answer: scripts and styles of this host alone, none of them inline.

Two parts of the site are other people's code and need more; they have it for their own addresses alone.
"""

from typing import Any, Final

from csp.constants import NONCE, NONE, SELF, UNSAFE_EVAL, UNSAFE_INLINE
from csp.middleware import CSPMiddleware, PolicyParts
from django.http import HttpRequest, HttpResponseBase

DIRECTIVES: Final[dict[str, list[Any]]] = {
    "default-src": [NONE],
    "script-src": [SELF, NONCE],
    "style-src": [SELF],
    "img-src": [SELF, "data:"],  # the QR code of a second factor, small pictures in styles
    "font-src": [SELF],
    "connect-src": [SELF],
    "manifest-src": [SELF],
    "form-action": [SELF],
    "frame-ancestors": [NONE],
    "base-uri": [NONE],
}
_INLINE_STYLES: Final = {"style-src": [UNSAFE_INLINE]}
#: What is added below an address.
MORE: Final[dict[str, dict[str, list[Any]]]] = {
    "/admin/": {"script-src": [UNSAFE_EVAL], **_INLINE_STYLES},  # Alpine makes functions of what attributes say
    "/api/docs/": _INLINE_STYLES,
}


class ContentPolicyMiddleware(CSPMiddleware):
    """Sends the policy of the address."""

    def get_policy_parts(
        self, request: HttpRequest, response: HttpResponseBase, report_only: bool = False
    ) -> PolicyParts:
        """Return the policy, with what the address needs beyond the site's own."""
        parts = super().get_policy_parts(request, response, report_only)
        for prefix, more in MORE.items():
            if request.path_info.startswith(prefix):
                parts.update = more
        return parts
