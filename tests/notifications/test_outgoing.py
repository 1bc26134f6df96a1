"""A POST to a stranger's address, against servers that misbehave."""

import gzip
import socket
import threading
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pytest_django import Settings

from notifications import outgoing
from notifications.outgoing import BODY_BYTES, Reply, checked_url, post, redirect_target
from tests.notifications.receiving import Receiver
from tests.notifications.receiving import Reply as Says
from tests.notifications.wires import Wire, certificate, server_context, wire
from tests.servers import free_port

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
LIMIT = 0.5
SLACK = 0.5  # a busy machine


def timed(url: str, **how: Any) -> tuple[Reply, float]:
    began = time.monotonic()
    reply = post(url, b"{}", {"Content-Type": "application/json"}, total_seconds=LIMIT, **how)
    return reply, time.monotonic() - began


@pytest.fixture
def private(settings: Settings) -> None:
    settings.ALLOW_PRIVATE_ADDRESSES = True


@pytest.fixture
def no_thread_stays() -> Iterator[None]:
    """The thread that did the work ends too."""
    yield
    ends = time.monotonic() + 2
    for thread in threading.enumerate():
        if thread.name == "within":
            thread.join(max(0.0, ends - time.monotonic()))
            assert not thread.is_alive()


def test_a_post_arrives_as_it_was_sent(receiver: Receiver) -> None:
    receiver.reply = Says(201, "schön".encode(), {"Retry-After": "3"})
    reply = post(f"{receiver.url}/a%20b?c=d", b'{"x": 1}', {"Content-Type": "application/json", "X-Own": "1"})
    assert (reply.status, reply.text, reply.headers["retry-after"]) == (201, "schön", "3")
    (request,) = receiver.received
    assert (request.path, request.body) == ("/a%20b?c=d", b'{"x": 1}')
    assert request.headers["host"] == f"127.0.0.1:{receiver.port}"
    assert request.headers["x-own"] == "1"
    assert request.headers["user-agent"].startswith("Orchestrator/")
    assert request.headers["accept-encoding"] == "identity"


def test_the_environment_s_proxies_are_not_asked(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{free_port()}")
    assert post(receiver.url, b"", {}).status == 200


# Time.


def says_nothing(server: Wire, connection: socket.socket) -> None:
    server.over.wait(10)


def drips_headers(server: Wire, connection: socket.socket) -> None:
    server.send(connection, b"HTTP/1.1 200 OK\r\n")
    server.drip(connection, b"X-A: b\r\n", 0.05)


def drips_the_status(server: Wire, connection: socket.socket) -> None:
    server.drip(connection, b"H", 0.05)


def sends_continues(server: Wire, connection: socket.socket) -> None:
    server.flood(connection, 10**9, b"HTTP/1.1 100 Continue\r\n\r\n")


def drips_the_body(server: Wire, connection: socket.socket) -> None:
    server.send(connection, b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    server.drip(connection, b"ok", 0.05)


def drips_chunks(server: Wire, connection: socket.socket) -> None:
    server.send(connection, b"HTTP/1.1 503 Busy\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\n")
    server.drip(connection, b"1\r\na\r\n", 0.05)


@pytest.mark.usefixtures("private", "no_thread_stays")
@pytest.mark.parametrize("speak", [says_nothing, drips_headers, drips_the_status, sends_continues])
def test_a_server_that_gives_no_answer_is_left_in_time(speak: Any) -> None:
    with wire(speak) as server:
        reply, seconds = timed(server.url)
    assert reply == Reply(text=f"127.0.0.1:{server.port} did not answer within 0.5 seconds.")
    assert seconds < LIMIT + SLACK


@pytest.mark.usefixtures("private", "no_thread_stays")
@pytest.mark.parametrize(("speak", "status"), [(drips_the_body, 200), (drips_chunks, 503)])
def test_a_status_counts_though_the_body_never_ends(speak: Any, status: int) -> None:
    with wire(speak) as server:
        reply, seconds = timed(server.url)
    assert reply.status == status
    assert seconds < LIMIT + SLACK


@pytest.mark.usefixtures("private", "no_thread_stays")
def test_a_server_that_does_not_read_is_left_in_time() -> None:
    with wire(says_nothing, hears=False) as server:
        began = time.monotonic()
        reply = post(server.url, b"x" * 50_000_000, {}, total_seconds=LIMIT)
    assert reply.status == 0
    assert time.monotonic() - began < LIMIT + SLACK


@pytest.mark.usefixtures("private", "no_thread_stays")
def test_a_handshake_that_never_comes_is_left_in_time() -> None:
    with wire(says_nothing) as server:
        reply, seconds = timed(server.url.replace("http:", "https:"))
    assert reply.status == 0
    assert seconds < LIMIT + SLACK


def test_a_name_server_that_hangs_is_left_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    over = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: over.wait(10) and [])
    reply, seconds = timed("https://hooks.example.com/")
    over.set()
    assert (reply.status, reply.is_final) == (0, False)
    assert seconds < LIMIT + SLACK


# Size.


def answers_ten_gigabytes(server: Wire, connection: socket.socket) -> None:
    server.send(connection, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    server.flood(connection, 10 * 1024**3, b"10000\r\n" + b"a" * 65536 + b"\r\n")


def announces_ten_gigabytes(server: Wire, connection: socket.socket) -> None:
    server.send(connection, b"HTTP/1.1 200 OK\r\nContent-Length: 10737418240\r\n\r\n")
    server.flood(connection, 10 * 1024**3, b"a" * 65536)


def answers_headers_without_end(server: Wire, connection: socket.socket) -> None:
    server.send(connection, b"HTTP/1.1 200 OK\r\n")
    server.flood(connection, 10 * 1024**3, b"X-Header: " + b"a" * 1000 + b"\r\n")


@pytest.mark.usefixtures("private", "no_thread_stays")
@pytest.mark.parametrize("speak", [answers_ten_gigabytes, announces_ten_gigabytes, answers_headers_without_end])
def test_an_answer_of_ten_gigabytes_takes_no_memory(speak: Any) -> None:
    with wire(speak) as server:
        tracemalloc.start()
        reply, seconds = timed(server.url)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert len(reply.text) <= BODY_BYTES
    assert peak < 2_000_000
    assert server.sent < 20_000_000
    assert seconds < LIMIT + SLACK


@pytest.mark.usefixtures("private")
def test_a_compressed_answer_stays_compressed() -> None:
    bomb = gzip.compress(b"\0" * 50_000_000)

    def speak(server: Wire, connection: socket.socket) -> None:
        head = f"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {len(bomb)}\r\n\r\n"
        server.send(connection, head.encode() + bomb)

    with wire(speak) as server:
        tracemalloc.start()
        reply, _ = timed(server.url)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert (reply.status, reply.text) == (200, "")
    assert peak < 2_000_000


# Whom it may reach.


def resolved(monkeypatch: pytest.MonkeyPatch, *answers: list[str]) -> list[str]:
    """Answer name lookups in turn; return the list of names that were asked for."""
    asked: list[str] = []
    waiting = list(answers)

    def getaddrinfo(host: str, port: int, *_: Any, **__: Any) -> list[Any]:
        asked.append(host)
        found = waiting.pop(0) if waiting else []
        return [
            (socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))
            for address in found
        ]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return asked


@pytest.mark.parametrize("address", ["10.1.2.3", "127.0.0.1", "::1", "::ffff:10.1.2.3", "100.64.1.1"])
def test_a_name_of_a_private_address_is_refused(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    resolved(monkeypatch, [address])
    reply = post("https://hooks.example.com/x", b"", {})
    assert reply == Reply(
        text="hooks.example.com is a private address: nothing is sent there."
        " ORCHESTRATOR_ALLOW_PRIVATE_ADDRESSES=1 allows receivers in the server's own network.",
        is_final=True,
    )


def test_each_address_of_a_name_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    resolved(monkeypatch, ["8.8.8.8", "10.1.2.3"])
    assert post("https://hooks.example.com/x", b"", {}).is_final


def test_the_metadata_service_is_refused_even_where_private_addresses_are_allowed(private: None) -> None:
    reply = post("http://169.254.169.254/latest/meta-data/", b"", {})
    assert (reply.text, reply.is_final) == ("169.254.169.254 is a link-local address: nothing is sent there.", True)


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "2130706433", "0x7f.1", "0177.0.0.1", "127.1", "[::1]", "[::ffff:7f00:1]"]
)
def test_loopback_is_refused_in_every_spelling(receiver: Receiver, settings: Settings, host: str) -> None:
    settings.ALLOW_PRIVATE_ADDRESSES = False
    reply = post(f"http://{host}:{receiver.port}/", b"", {})
    assert (reply.status, reply.is_final) == (0, True)
    assert receiver.received == []


def test_a_name_is_resolved_once_and_the_checked_address_used(
    receiver: Receiver, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DNS rebinding: a name that is public when it is checked and private when it is used."""
    settings.ALLOW_PRIVATE_ADDRESSES = False
    asked = resolved(monkeypatch, ["192.0.0.170"], ["127.0.0.1"], ["127.0.0.1"])
    connected: list[Any] = []

    class Noting(socket.socket):
        def connect(self, address: Any) -> None:
            connected.append(address)
            raise ConnectionRefusedError(111, "Connection refused")

    monkeypatch.setattr(
        outgoing, "refusal", lambda address, **_: "" if address == "192.0.0.170" else "a private address"
    )
    monkeypatch.setattr(socket, "socket", Noting)
    reply = post(f"http://hooks.example.com:{receiver.port}/", b"", {})
    assert reply.text == f"hooks.example.com:{receiver.port} refused the connection."
    assert asked == ["hooks.example.com"]
    assert connected == [("192.0.0.170", receiver.port)]
    assert receiver.received == []


@pytest.mark.usefixtures("private")
def test_the_next_address_is_tried_where_one_does_not_answer(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolved(monkeypatch, ["127.9.9.9", "127.0.0.1"])
    assert post(f"http://hooks.example.com:{receiver.port}/", b"", {}).status == 200


@pytest.mark.usefixtures("private")
def test_ipv6_is_spoken() -> None:
    with wire(lambda server, connection: server.send(connection, OK), host="::1") as server:
        assert post(server.url, b"", {}).text == "ok"
    assert f"Host: [::1]:{server.port}\r\n".encode() in server.heard[0]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_not_followed(receiver: Receiver, status: int) -> None:
    to = f"http://user:pw@169.254.169.254:{receiver.port}/latest/?token=secret#x"
    receiver.reply = Says(status, b"", {"Location": to})
    reply = post(receiver.url, b"", {})
    assert (reply.status, redirect_target(reply)) == (status, f"http://169.254.169.254:{receiver.port}/latest/")
    assert len(receiver.received) == 1


def test_a_redirect_to_nowhere_is_told_as_such() -> None:
    assert redirect_target(Reply(302, headers={"location": "http://[::1"})) == ""
    assert redirect_target(Reply(302)) == ""


# What goes wrong, in words.


@pytest.mark.usefixtures("private")
def test_a_refused_connection_is_said() -> None:
    port = free_port()
    assert post(f"http://127.0.0.1:{port}/s3cret-token", b"", {}) == Reply(
        text=f"127.0.0.1:{port} refused the connection."
    )


def test_an_unknown_host_is_said() -> None:
    assert post("https://no-such-host.invalid/s3cret", b"", {}) == Reply(
        text="no-such-host.invalid: there is no host of this name."
    )


@pytest.mark.usefixtures("private")
@pytest.mark.parametrize(
    ("said", "text"),
    [
        (b"", "closed the connection without an answer."),
        (b"SSH-2.0-OpenSSH_9.6\r\n", "did not answer in HTTP."),
        (b"HTTP/1.1 200 OK\r\n" + b"A" * 100_000 + b"\r\n", "did not answer in HTTP."),
    ],
)
def test_what_is_no_http_is_said(said: bytes, text: str) -> None:
    with wire(lambda server, connection: server.send(connection, said)) as server:
        assert post(server.url, b"", {}) == Reply(text=f"127.0.0.1:{server.port} {text}")


@pytest.mark.usefixtures("private")
def test_half_a_body_leaves_its_status() -> None:
    said = b"HTTP/1.1 503 Busy\r\nContent-Length: 100\r\n\r\nnot now"
    with wire(lambda server, connection: server.send(connection, said)) as server:
        reply = post(server.url, b"", {})
    assert (reply.status, reply.text) == (503, "not now")


def speaks_tls(path: Path) -> Any:
    context = server_context(path)

    def speak(server: Wire, connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as secure:
            server.heard.append(secure.recv(64 * 1024))
            secure.sendall(OK)

    return speak


@pytest.mark.usefixtures("private")
def test_a_certificate_that_nobody_vouches_for_is_refused(tmp_path: Path) -> None:
    with wire(speaks_tls(certificate(tmp_path, "127.0.0.1")), hears=False) as server:
        reply = post(server.url.replace("http:", "https:"), b"s3cret", {})
    assert reply == Reply(text=f"127.0.0.1:{server.port}: its certificate is not valid (self-signed certificate).")
    assert server.heard == []


@pytest.fixture
def trusting(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Trust a certificate, as a company trusts its own authority."""

    def trust(path: Path) -> None:
        monkeypatch.setenv("SSL_CERT_FILE", str(path))
        outgoing._tls.cache_clear()

    yield trust
    outgoing._tls.cache_clear()


@pytest.mark.usefixtures("private")
def test_a_certificate_for_another_name_is_refused(tmp_path: Path, trusting: Any) -> None:
    path = certificate(tmp_path, "other.example.com")
    trusting(path)
    with wire(speaks_tls(path), hears=False) as server:
        reply = post(f"https://localhost:{server.port}/", b"s3cret", {})
    assert "its certificate is not valid (Hostname mismatch, certificate is not valid for 'localhost'.)" in reply.text
    assert server.heard == []


@pytest.mark.usefixtures("private")
def test_tls_is_spoken_for_the_name_with_the_checked_address(
    tmp_path: Path, trusting: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = certificate(tmp_path, "hooks.example.com")
    trusting(path)
    with wire(speaks_tls(path), hears=False) as server:
        resolved(monkeypatch, ["127.0.0.1"])
        reply = post(f"https://hooks.example.com:{server.port}/x", b"", {})
    assert (reply.status, reply.text) == (200, "ok")
    assert server.heard[0].startswith(b"POST /x HTTP/1.1\r\n")


@pytest.mark.usefixtures("private")
def test_tls_with_a_server_that_has_none_is_said(receiver: Receiver) -> None:
    reply = post(receiver.url.replace("http:", "https:"), b"", {})
    assert "no secure connection" in reply.text or "closed the connection" in reply.text


@pytest.mark.parametrize(
    "url", ["", "nonsense", "https://", "https://[::1", "ftp://x/", "https://h:99999/", "https://\udcff/"]
)
def test_whatever_stands_there_nothing_is_raised(url: str) -> None:
    assert post(url, b"", {}).status == 0


def test_a_header_that_would_break_the_request_sends_nothing(receiver: Receiver) -> None:
    assert post(receiver.url, b"", {"X-A": "b\r\nX-C: d"}).status == 0
    assert receiver.received == []


# Addresses as people write them.


@pytest.mark.parametrize(
    ("written", "used"),
    [
        ("https://hooks.slack.com/services/T/B/x", "https://hooks.slack.com/services/T/B/x"),
        ("  https://Example.COM:8443/a?b=c#d ", "https://example.com:8443/a?b=c"),
        ("https://bücher.example/ä?q=ö", "https://xn--bcher-kva.example/%C3%A4?q=%C3%B6"),
        ("https://example.com", "https://example.com"),
        ("https://8.8.8.8/x", "https://8.8.8.8/x"),
        ("https://[2606:4700:4700::1111]/x", "https://[2606:4700:4700::1111]/x"),
        ("https://example.com/a%20b%2Fc?x=%26", "https://example.com/a%20b%2Fc?x=%26"),
    ],
)
def test_addresses_are_taken(written: str, used: str) -> None:
    assert checked_url(written) == used
    assert checked_url(used) == used


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("", "Write one web address"),
        ("hooks.slack.com/services", "begins with https://"),
        ("http://example.com/", "ORCHESTRATOR_ALLOW_PRIVATE_ADDRESSES=1"),
        ("ftp://example.com/", "begins with https://"),
        ("file:///etc/passwd", "begins with https://"),
        ("gopher://example.com/", "begins with https://"),
        ("javascript:alert(1)", "begins with https://"),
        ("https://user:pw@example.com/", "Leave user and password out"),
        ("https://user@example.com/", "Leave user and password out"),
        ("https://example.com@127.0.0.1/", "Leave user and password out"),
        ("https://", "no host"),
        ("https:///x", "no host"),
        ("https://exa_mple..com%00/", "no host"),
        ("https://example.com:0/", "port 0"),
        ("https://example.com:99999/", "port of the address cannot be read"),
        ("https://example.com:http/", "port of the address cannot be read"),
        ("https://[::1/", "cannot be read"),
        ("https://a b.com/", "Write one web address"),
        ("https://example.com/\nHost: x", "Write one web address"),
        ("https://example.com\\@127.0.0.1/", "Write one web address"),
        ("https://example.com/" + "a" * 3000, "at most 2,000 characters"),
        ("https://127.0.0.1/", "private address"),
        ("https://2130706433/", "private address"),
        ("https://0x7f.1/", "private address"),
        ("https://0177.0.0.1/", "private address"),
        ("https://[::1]/", "private address"),
        ("https://[::ffff:127.0.0.1]/", "private address"),
        ("https://localhost/", "private address"),
        ("https://169.254.169.254/", "link-local"),
    ],
)
def test_other_addresses_are_refused_with_what_to_write(written: str, words: str) -> None:
    with pytest.raises(ValueError, match=words.replace(".", r"\.")):
        checked_url(written)


@pytest.mark.usefixtures("private")
def test_http_and_private_addresses_are_taken_where_that_is_allowed() -> None:
    assert checked_url("http://mattermost.internal:8065/hooks/x") == "http://mattermost.internal:8065/hooks/x"
    assert checked_url("http://127.0.0.1:9/") == "http://127.0.0.1:9/"
    with pytest.raises(ValueError, match="link-local"):
        checked_url("http://169.254.169.254/")
