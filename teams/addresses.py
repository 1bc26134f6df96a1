"""From which address a request comes."""

from ipaddress import ip_address
from typing import Final

from django.conf import settings
from django.http import HttpRequest

#: Instead of an address where there is none: a Unix socket without a proxy that names its clients.
NO_ADDRESS: Final = "0.0.0.0"


def client_address(request: HttpRequest) -> str | None:
    """Return the address of the client, as far as it is one.

    It is what connected, or what the outermost of ORCHESTRATOR_TRUSTED_PROXIES wrote at the end of X-Forwarded-For;
    what stands before that was sent by the client, who may write anything.
    """
    address = request.META.get("REMOTE_ADDR", "")
    if settings.TRUSTED_PROXIES:
        forwarded = [part.strip() for part in request.headers.get("X-Forwarded-For", "").split(",")]
        if len(forwarded) >= settings.TRUSTED_PROXIES:
            address = forwarded[-settings.TRUSTED_PROXIES]
    try:
        return str(ip_address(address))
    except ValueError:
        return None
