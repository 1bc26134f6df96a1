"""The mail server that ORCHESTRATOR_EMAIL_URL names, read and checked."""

import re
from dataclasses import dataclass
from email.utils import formataddr, parseaddr
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured

from orchestrator.environment import text

TIMEOUT_SECONDS = 8
_PORTS = {"smtp": 587, "smtps": 465}
_EXAMPLE = "smtp://user:password@smtp.example.com:587/?from=orchestrator@example.com"
_ADDRESS = re.compile(r"[^@\s<>,;\"]+@[^@\s<>,;\"]+")


@dataclass(frozen=True, slots=True)
class EmailServer:
    """Where mail is handed over, and as whom.

    Attributes:
        host: Empty: this server sends no mail.
        tls: From the first byte on (smtps).
        starttls: After a greeting in the clear; a server that cannot is given no mail.
        sender: As mail shows it: an address, or a name and an address.
    """

    host: str = ""
    port: int = 25
    user: str = ""
    password: str = ""
    tls: bool = False
    starttls: bool = False
    sender: str = "orchestrator@localhost"

    def __repr__(self) -> str:
        return f"EmailServer({self.host}:{self.port})"


def email_server() -> EmailServer:
    """Read ORCHESTRATOR_EMAIL_URL; without it there is no mail. No message of it shows the password."""
    url = text("EMAIL_URL")
    if not url:
        return EmailServer()
    parts = _split(url)
    options = {name: values[-1].strip() for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
    if unknown := set(options) - {"from", "tls"}:
        raise _wrong(f"does not know {', '.join(sorted(unknown))}; after the ? there can be from and tls")
    security = options.get("tls", "starttls" if parts.scheme == "smtp" else "tls")
    if security not in (("starttls", "none") if parts.scheme == "smtp" else ("tls",)):
        raise _wrong("write tls=starttls (the default of smtp://) or tls=none, or smtps:// for TLS from the start")
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    if not (user + password).isascii():
        raise _wrong("has a user or password beyond ASCII, which Python's SMTP cannot send")
    return EmailServer(
        host=parts.hostname or "",
        port=parts.port or _PORTS[parts.scheme],
        user=user,
        password=password,
        tls=security == "tls",
        starttls=security == "starttls",
        sender=_sender(options.get("from") or user),
    )


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        readable = parts.scheme in _PORTS and parts.hostname and parts.path in {"", "/"} and parts.port != 0
    except ValueError:
        readable = False
    if not readable or parts.fragment or any(character.isspace() for character in parts.netloc):
        raise _wrong(
            "cannot be read; a password's special characters are percent-encoded (/ is %2F, # is %23, @ is %40)"
        )
    if bool(parts.username) != bool(parts.password):
        raise _wrong("has only one of user and password")
    return parts


def _sender(written: str) -> str:
    name, address = parseaddr(written)
    if not _ADDRESS.fullmatch(address) or not address.isascii() or any(ord(character) < 32 for character in written):
        raise _wrong("needs the address that mail comes from: from=orchestrator@example.com")
    return formataddr((name, address)) if name else address


def _wrong(what: str) -> ImproperlyConfigured:
    return ImproperlyConfigured(f"ORCHESTRATOR_EMAIL_URL: {what}. Write it like {_EXAMPLE}.")
