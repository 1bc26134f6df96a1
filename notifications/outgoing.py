"""One POST to an address that a user gave, contained: in time, in size, and in whom it may reach.

`http.client` rather than requests: everything that requests adds (redirects, proxies, cookies, decompression, retries,
pooled connections) would have to be switched off here, and where a connection goes is what must be in our hands.
"""

import contextlib
import http.client
import re
import socket
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from urllib.parse import SplitResult, quote, urlsplit

import certifi
from django.conf import settings

from notifications.addresses import PERMISSION, literal, refusal
from notifications.time_limits import Overdue, within
from orchestrator import __version__

TOTAL_SECONDS = 10.0
BODY_BYTES = 64 * 1024
_CONNECT_SECONDS = 4.0  # for one of a name's addresses: a dead IPv6 way leaves time for IPv4
_GRACE_SECONDS = 0.5
_MAX_URL = 2_000
_READ_BYTES = 16 * 1024
_HOST = re.compile(r"[a-z0-9_](?:[a-z0-9_.-]*[a-z0-9_.])?|\[[0-9a-f:.]+(?:%[\w.~-]+)?\]", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back.

    Attributes:
        status: The HTTP status; 0 where none came.
        text: The beginning of the body (at most 64 KB), or why there is no status, as a sentence.
        headers: By lower-case name.
        is_final: There is no status, and trying again would change nothing.
    """

    status: int = 0
    text: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    is_final: bool = False


class _Refused(Exception):
    """Nothing is sent to this address; the message says why."""


def checked_url(text: str) -> str:
    """Return a web address that a person wrote as it is used: ASCII, without a fragment.

    Only its form is checked, and addresses that are spelled out; a name is resolved and checked when it is used.

    Raises:
        ValueError: What is wrong, and what to write; without the address, which may hold a secret.
    """
    text = text.strip()
    if not text or len(text) > _MAX_URL or re.search(r"[\s\x00-\x1f\x7f\\]", text):
        raise ValueError("Write one web address like https://hooks.example.com/… (at most 2,000 characters).")
    parts = _split(text)
    schemes = ("https", "http") if settings.ALLOW_PRIVATE_ADDRESSES else ("https",)
    if parts.scheme not in schemes:
        raise ValueError(
            "Write an address that begins with https://."
            + (f" http:// is for receivers in one's own network ({PERMISSION})." if parts.scheme == "http" else "")
        )
    if "@" in parts.netloc:
        raise ValueError("Leave user and password out of the address.")
    host = parts.hostname or ""
    with contextlib.suppress(UnicodeError):
        host = host.encode("idna").decode()
    if not _HOST.fullmatch(f"[{host}]" if ":" in host else host):
        raise ValueError("The address has no host; write one like https://hooks.example.com/….")
    if why := _refusal_of_spelled(host):
        raise ValueError(why)
    netloc = (f"[{host}]" if ":" in host else host) + (f":{parts.port}" if parts.port else "")
    return f"{parts.scheme}://{netloc}{_ascii(parts.path)}" + (f"?{_ascii(parts.query)}" if parts.query else "")


def post(
    url: str,
    body: bytes,
    headers: Mapping[str, str],
    *,
    total_seconds: float | None = None,
    body_bytes: int = BODY_BYTES,
) -> Reply:
    """Send a POST and return what came back, `total_seconds` (TOTAL_SECONDS) later at the latest. Raises nothing.

    The host's name is resolved once, all its addresses are checked, and the connection goes to one of those. Redirects
    are not followed. Of the answer's body `body_bytes` are read as they come, undecoded, and then the line is cut.
    """
    total_seconds = TOTAL_SECONDS if total_seconds is None else total_seconds
    try:
        exchange = _Exchange(url, body, headers, time.monotonic() + total_seconds, body_bytes)
    except ValueError:
        return Reply(text="The address cannot be read.", is_final=True)
    try:
        return within(total_seconds, exchange.run, exchange.stop)
    except Overdue:
        return exchange.reply() or Reply(text=f"{exchange.place} did not answer within {total_seconds:g} seconds.")
    except _Refused as refused:
        return Reply(text=str(refused), is_final=True)
    except Exception as error:  # a network begins here; the text of an unknown error could hold the address
        return exchange.reply() or Reply(text=_in_words(error, exchange.place))


class _Exchange:
    """One request and its answer. What has come is kept, so that a body that never ends leaves its status."""

    def __init__(self, url: str, body: bytes, headers: Mapping[str, str], ends_at: float, body_bytes: int) -> None:
        self._parts = urlsplit(url)
        self._body = body
        self._headers = headers
        self._ends_at = ends_at
        self._wanted = body_bytes
        self._socket: socket.socket | None = None
        self._response: http.client.HTTPResponse | None = None
        self._received = bytearray()
        self._is_stopped = False
        self.place = self._parts.netloc.rpartition("@")[2]

    def run(self) -> Reply:
        """Do it. Raises what the network raises, and _Refused."""
        try:
            self._connect()
            connection = http.client.HTTPConnection(self._parts.hostname or "")
            connection.sock = self._socket
            target = (self._parts.path or "/") + (f"?{self._parts.query}" if self._parts.query else "")
            fixed = {"Host": self.place, "User-Agent": f"Orchestrator/{__version__}", "Connection": "close"}
            connection.request("POST", target, self._body, {**self._headers, **fixed})
            response = connection.getresponse()
            if self._is_stopped:  # headers that break off look complete to http.client: that is no answer
                response.close()
                raise TimeoutError
            self._response = response
            self._read()
            return self.reply() or Reply()
        finally:
            if self._response is not None:
                self._response.close()  # it holds the socket open, too
            if self._socket is not None:
                self._socket.close()

    def stop(self) -> None:
        """End every wait of the thread that runs it."""
        self._is_stopped = True
        if self._socket is not None:
            with contextlib.suppress(OSError):
                # not SSLSocket's own, which takes the TLS state away from under the thread that reads
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def reply(self) -> Reply | None:
        """What has come so far; None before the status."""
        if self._response is None:
            return None
        headers = {name.lower(): value for name, value in self._response.headers.items()}
        is_text = headers.get("content-encoding", "identity").lower() == "identity"
        text = bytes(self._received).decode(errors="replace") if is_text else ""
        return Reply(self._response.status, text, headers)

    def _connect(self) -> None:
        host = self._parts.hostname or ""
        port = self._parts.port or {"https": 443, "http": 80}[self._parts.scheme]
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        for *_, address in found:
            if why := refusal(str(address[0]), allow_private=settings.ALLOW_PRIVATE_ADDRESSES):
                raise _Refused(_refused(host, why))
        connected = self._first_that_connects(found)
        if self._parts.scheme == "https":
            self._socket = _tls().wrap_socket(connected, server_hostname=host, do_handshake_on_connect=False)
            self._socket.settimeout(self._remaining())
            self._socket.do_handshake()

    def _first_that_connects(self, found: list[tuple]) -> socket.socket:
        failure: OSError | None = None
        for family, kind, protocol, _, address in found:
            self._socket = socket.socket(family, kind, protocol)
            self._socket.settimeout(min(self._remaining(), _CONNECT_SECONDS))
            try:
                self._socket.connect(address)
            except OSError as error:
                self._socket.close()
                failure = failure or error
            else:
                self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._socket.settimeout(self._remaining())
                return self._socket
        raise failure or OSError("The name has no address.")

    def _read(self) -> None:
        while len(self._received) < self._wanted:
            piece = self._response.read1(min(_READ_BYTES, self._wanted - len(self._received)))  # type: ignore[union-attr]
            if not piece:
                return
            self._received += piece

    def _remaining(self) -> float:
        """Seconds for one wait on a socket: a little longer than `within` waits, which then tells why it ended."""
        return max(0.0, self._ends_at - time.monotonic()) + _GRACE_SECONDS


def redirect_target(reply: Reply) -> str:
    """Return where a redirect points, without its query; empty where that cannot be read."""
    with contextlib.suppress(ValueError):
        parts = urlsplit(reply.headers.get("location", ""))
        return SplitResult(parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", "").geturl()
    return ""


def _split(text: str) -> SplitResult:
    try:
        parts = urlsplit(text)
        _ = parts.port, parts.hostname
    except ValueError:
        raise ValueError("The host or port of the address cannot be read.") from None
    if parts.port == 0:
        raise ValueError("The address has the port 0, which there is not.")
    return parts


def _ascii(text: str) -> str:
    """Percent-encode what HTTP cannot carry, and nothing else."""
    return quote(text, safe="/?:@!$&'()*+,;=%~-._[]{}|^`\"<>") if not text.isascii() else text


def _refusal_of_spelled(host: str) -> str:
    if settings.ALLOW_PRIVATE_ADDRESSES is False and (host == "localhost" or host.endswith(".localhost")):
        return _refused(host, "a private address")
    address = literal(host)
    why = refusal(address, allow_private=settings.ALLOW_PRIVATE_ADDRESSES) if address else ""
    return _refused(host, why) if why else ""


def _refused(host: str, why: str) -> str:
    hint = f" {PERMISSION} allows receivers in the server's own network." if why == "a private address" else ""
    return f"{host} is {why}: nothing is sent there.{hint}"


def _in_words(error: Exception, place: str) -> str:
    match error:
        case socket.gaierror():
            return f"{place}: there is no host of this name."
        case ssl.SSLCertVerificationError():
            return f"{place}: its certificate is not valid ({error.verify_message})."
        case ssl.SSLError():
            return f"{place}: no secure connection ({(error.reason or 'TLS failed').replace('_', ' ').lower()})."
        case ConnectionRefusedError():
            return f"{place} refused the connection."
        case TimeoutError():
            return f"{place} did not answer in time."
        case http.client.RemoteDisconnected() | ConnectionError():
            return f"{place} closed the connection without an answer."
        case http.client.HTTPException():
            return f"{place} did not answer in HTTP."
        case OSError():
            return f"{place} cannot be reached ({error.strerror or type(error).__name__})."
    return f"{place}: sending failed ({type(error).__name__})."


@cache
def _tls() -> ssl.SSLContext:
    """The system's authorities (and SSL_CERT_FILE's, for a company's own), and Mozilla's: a slim image has none.

    Reading them takes 20 ms, so once a process.
    """
    context = ssl.create_default_context()
    context.load_verify_locations(certifi.where())
    return context
