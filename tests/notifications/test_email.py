"""Mail, through real SMTP servers: polite ones, ones that refuse, hang, or want TLS and a password."""

import asyncio
import socket
import time
from collections.abc import Callable, Iterator
from email.message import Message
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from django.core.exceptions import ValidationError
from pytest_django import Settings

from notifications import outgoing
from notifications.content import Content, Item
from notifications.transports import email as email_module
from notifications.transports import transport
from tests.notifications.receiving import Mailbox
from tests.notifications.wires import Wire, certificate, server_context, wire
from tests.servers import free_port

CONTENT = Content(
    id="0190-aaaa",
    event="FAILED",
    tone="bad",
    title="fuzzy-leopard of new-thing failed",
    text="The fuzzy-leopard run failed.\nKeyError: '<b>'",
    time="2022-06-27T20:21:37+00:00",
    log_lines=["one", "<script>alert(1)</script>"],
    items=[Item(text="etl & co", count=12, url="https://o.example.com/d/1/")],
    url="https://o.example.com/runs/1/?a=1&b=2",
    url_label="Open the run",
)
email = transport("email")


@pytest.fixture
def configured(settings: Settings) -> Callable[..., None]:
    """Points the settings at a mail server on loopback."""

    def configure(port: int, *, user: str = "", password: str = "", starttls: bool = False, tls: bool = False) -> None:
        settings.EMAIL_HOST, settings.EMAIL_PORT = "localhost", port
        settings.EMAIL_HOST_USER, settings.EMAIL_HOST_PASSWORD = user, password
        settings.EMAIL_USE_TLS, settings.EMAIL_USE_SSL = starttls, tls
        settings.EMAIL_TIMEOUT = 8
        settings.DEFAULT_FROM_EMAIL = "Orchestrator <orchestrator@example.com>"

    return configure


def sent(mailbox: Mailbox, configured: Callable[..., None], content: Content = CONTENT) -> Message:
    configured(mailbox.port)
    answer = email.send(email.parse("ada@example.com"), content)
    assert answer.ok, answer.text
    return mailbox.wait(1)[-1]


def part(mail: Any, kind: str) -> str:
    text: str = mail.get_body((kind,)).get_content()
    return text.replace("\r\n", "\n")


def test_a_mail_reads_well_as_text(mailbox: Mailbox, configured: Callable[..., None]) -> None:
    mail = sent(mailbox, configured)
    assert part(mail, "plain") == (
        "The fuzzy-leopard run failed.\nKeyError: '<b>'\n"
        "\n- 12 × etl & co\n  https://o.example.com/d/1/\n"
        "\n    one\n    <script>alert(1)</script>\n"
        "\nOpen the run: https://o.example.com/runs/1/?a=1&b=2\n"
    )


def test_a_mail_reads_well_as_html(mailbox: Mailbox, configured: Callable[..., None]) -> None:
    html = part(sent(mailbox, configured), "html")
    assert "KeyError: &#x27;&lt;b&gt;&#x27;" in html
    assert "<script>" not in html
    assert 'href="https://o.example.com/runs/1/?a=1&amp;b=2"' in html
    assert "12 × <a" in html
    assert '<meta name="color-scheme" content="light dark">' in html
    assert "prefers-color-scheme: dark" in html
    assert "<img" not in html


def test_headers(mailbox: Mailbox, configured: Callable[..., None]) -> None:
    mail = sent(mailbox, configured)
    assert mail["Subject"] == "fuzzy-leopard of new-thing failed"
    assert mail["From"] == "Orchestrator <orchestrator@example.com>"
    assert mail["To"] == "ada@example.com"
    assert mail["Message-ID"] == "<0190-aaaa@example.com>"
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail["Date"]
    assert mailbox.envelopes[0].mail_from == "orchestrator@example.com"


@pytest.mark.parametrize(
    "title", ["a\r\nBcc: eve@example.com", "a\nBcc: eve@example.com\n\nhello", "a\x0b\x85\u2028Bcc: b"]
)
def test_a_title_cannot_write_headers(mailbox: Mailbox, configured: Callable[..., None], title: str) -> None:
    content = Content(id="m", event="FAILED", tone="bad", title=title, text="x", time="")
    mail = sent(mailbox, configured, content)
    assert mail["Bcc"] is None
    assert mailbox.envelopes[0].rcpt_tos == ["ada@example.com"]
    assert str(mail["Subject"]).startswith("a")


def test_a_line_of_a_single_dot_arrives(mailbox: Mailbox, configured: Callable[..., None]) -> None:
    content = Content(id="m", event="FAILED", tone="bad", title="t", text="a\n.\nb\nFrom me", time="")
    assert part(sent(mailbox, configured, content), "plain") == "a\n.\nb\nFrom me\n"


def test_the_server_s_own_words_are_the_answer(mailbox: Mailbox, configured: Callable[..., None]) -> None:
    configured(mailbox.port)
    assert email.send(email.parse("ada@example.com"), CONTENT).text == "250 OK"


class Handler:
    """Says what it is told to say."""

    def __init__(self, **said: str) -> None:
        self.said = said
        self.taken: list[list[str]] = []

    async def handle_MAIL(self, server: SMTP, session: Session, envelope: Envelope, address: str, options: Any) -> str:
        envelope.mail_from = address
        return self.said.get("MAIL", "250 OK")

    async def handle_RCPT(self, server: SMTP, session: Session, envelope: Envelope, address: str, options: Any) -> str:
        said = self.said.get(address.partition("@")[0], "250 OK")
        if said.startswith("250"):
            envelope.rcpt_tos.append(address)
        return said

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        self.taken.append(envelope.rcpt_tos)
        return self.said.get("DATA", "250 2.0.0 Ok: queued as 4XyZ")


@pytest.fixture
def serving() -> Iterator[Callable[..., int]]:
    """Starts SMTP servers; each call returns a port."""
    started: list[Controller] = []

    def serve(handler: Any, **how: Any) -> int:
        controller = Controller(handler, hostname="127.0.0.1", port=free_port(), **how)
        controller.start()
        started.append(controller)
        return int(controller.port)

    yield serve
    for controller in started:
        controller.stop()


@pytest.mark.parametrize(
    ("said", "text", "is_final"),
    [
        ({"ada": "550 5.1.1 No such user here"}, "ada@example.com: 550 5.1.1 No such user here", True),
        ({"ada": "451 4.7.1 Greylisted, try again"}, "ada@example.com: 451 4.7.1 Greylisted, try again", False),
        ({"MAIL": "553 5.1.8 Sender refused"}, "553 5.1.8 Sender refused", True),
        ({"MAIL": "452 4.3.1 Out of storage"}, "452 4.3.1 Out of storage", False),
        ({"DATA": "554 5.7.1 Spam"}, "554 5.7.1 Spam", True),
        ({"DATA": "421 4.3.2 Shutting down"}, "421 4.3.2 Shutting down", False),
    ],
)
def test_refusals_are_told_in_the_server_s_words(
    serving: Callable[..., int], configured: Callable[..., None], said: dict[str, str], text: str, is_final: bool
) -> None:
    configured(serving(Handler(**said)))
    answer = email.send(email.parse("ada@example.com"), CONTENT)
    assert (answer.ok, answer.text, answer.is_final) == (False, text, is_final)


def test_a_mail_that_some_refuse_is_sent_and_the_answer_says_who(
    serving: Callable[..., int], configured: Callable[..., None]
) -> None:
    handler = Handler(bob="550 5.1.1 No such user")
    configured(serving(handler))
    answer = email.send(email.parse("ada@example.com, bob@example.com"), CONTENT)
    assert (answer.ok, answer.is_final) == (True, False)
    assert answer.text == "250 2.0.0 Ok: queued as 4XyZ; bob@example.com: 550 5.1.1 No such user"
    assert handler.taken == [["ada@example.com"]]


def test_refusals_of_which_one_may_pass_are_tried_again(
    serving: Callable[..., int], configured: Callable[..., None]
) -> None:
    configured(serving(Handler(ada="450 4.2.0 Later", bob="550 5.1.1 No such user")))
    assert not email.send(email.parse("ada@example.com, bob@example.com"), CONTENT).is_final


# TLS and passwords.


def authenticator(server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any) -> AuthResult:
    assert isinstance(data, LoginPassword)
    return AuthResult(success=(data.login, data.password) == (b"orchestrator", b"p/a@#"), handled=False)


@pytest.fixture
def trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A certificate for localhost that this process trusts."""
    path = certificate(tmp_path, "localhost")
    monkeypatch.setenv("SSL_CERT_FILE", str(path))
    email_module._tls.cache_clear()
    yield path
    email_module._tls.cache_clear()


def test_starttls_then_the_password(
    serving: Callable[..., int], configured: Callable[..., None], trusted: Path
) -> None:
    port = serving(
        Handler(),
        tls_context=server_context(trusted),
        require_starttls=True,
        authenticator=authenticator,
        auth_required=True,
    )
    configured(port, user="orchestrator", password="p/a@#", starttls=True)
    answer = email.send(email.parse("ada@example.com"), CONTENT)
    assert answer.ok, answer.text
    configured(port, user="orchestrator", password="wr0ng", starttls=True)
    answer = email.send(email.parse("ada@example.com"), CONTENT)
    assert (answer.ok, answer.is_final) == (False, False)
    assert answer.text.startswith("535 ")


def test_tls_from_the_first_byte(serving: Callable[..., int], configured: Callable[..., None], trusted: Path) -> None:
    class Secure(Controller):
        def factory(self) -> SMTP:
            return SMTP(self.handler, hostname="localhost")

    controller = Secure(Handler(), hostname="localhost", port=free_port(), ssl_context=server_context(trusted))
    controller.start()
    try:
        configured(controller.port, tls=True)
        answer = email.send(email.parse("ada@example.com"), CONTENT)
    finally:
        controller.stop()
    assert answer.ok, answer.text


def test_a_server_without_starttls_gets_no_password(
    serving: Callable[..., int], configured: Callable[..., None]
) -> None:
    handler = Handler()
    configured(serving(handler), user="orchestrator", password="s3cret", starttls=True)
    answer = email.send(email.parse("ada@example.com"), CONTENT)
    assert (answer.ok, answer.is_final) == (False, False)
    assert "STARTTLS" in answer.text
    assert handler.taken == []


def test_a_certificate_that_nobody_vouches_for_gets_no_password(
    serving: Callable[..., int], configured: Callable[..., None], tmp_path: Path
) -> None:
    handler = Handler()
    port = serving(handler, tls_context=server_context(certificate(tmp_path, "localhost")))
    configured(port, user="orchestrator", password="s3cret", starttls=True)
    answer = email.send(email.parse("ada@example.com"), CONTENT)
    assert answer.text == "The mail server's certificate is not valid (self-signed certificate)."
    assert handler.taken == []


# Servers that misbehave.


def greets_by_the_byte(server: Wire, connection: socket.socket) -> None:
    server.drip(connection, b"220-hello\r\n", 0.05)


def hangs_after_the_greeting(server: Wire, connection: socket.socket) -> None:
    server.send(connection, b"220 hello\r\n")
    server.over.wait(10)


@pytest.mark.parametrize(
    "speak", [greets_by_the_byte, hangs_after_the_greeting, lambda server, _: server.over.wait(10)]
)
@pytest.mark.parametrize("tls", [False, True])
def test_a_server_that_hangs_is_left_in_time(
    configured: Callable[..., None], monkeypatch: pytest.MonkeyPatch, speak: Any, tls: bool
) -> None:
    monkeypatch.setattr(outgoing, "TOTAL_SECONDS", 0.5)
    with wire(speak, hears=False) as server:
        configured(server.port, tls=tls)
        began = time.monotonic()
        answer = email.send(email.parse("ada@example.com"), CONTENT)
    assert (answer.ok, answer.is_final) == (False, False)
    assert time.monotonic() - began < 1.5


def test_a_server_that_hangs_over_a_mail_is_left_in_time(
    serving: Callable[..., int], configured: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outgoing, "TOTAL_SECONDS", 0.5)

    class Hanging(Handler):
        async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
            await asyncio.sleep(3)
            return "250 OK"

    configured(serving(Hanging()))
    answer = email.send(email.parse("ada@example.com"), CONTENT)
    assert answer.text == "The mail server did not answer within 0.5 seconds."


@pytest.mark.parametrize(
    ("said", "text"),
    [
        (b"", "The mail server closed the connection without an answer."),
        (b"554 5.7.1 Go away\r\n", "554 5.7.1 Go away"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "HTTP/1.1 400 Bad Request"),
    ],
)
def test_other_servers_are_told(configured: Callable[..., None], said: bytes, text: str) -> None:
    with wire(lambda server, connection: server.send(connection, said), hears=False) as server:
        configured(server.port)
        answer = email.send(email.parse("ada@example.com"), CONTENT)
    assert (answer.ok, answer.is_final) == (False, False)
    assert text.removeprefix("HTTP") in answer.text


def test_a_server_that_is_not_there_is_told(configured: Callable[..., None]) -> None:
    port = free_port()
    configured(port)
    answer = email.send(email.parse("ada@example.com"), CONTENT)
    assert answer.text == f"The mail server localhost:{port} cannot be reached (Connection refused)."


# Settings and addresses.


def test_without_a_mail_server_it_says_what_to_set(settings: Settings) -> None:
    settings.EMAIL_HOST = ""
    assert "ORCHESTRATOR_EMAIL_URL=smtp://" in email.unavailable()
    answer = email.send(email.parse("ada@example.com"), CONTENT)
    assert (answer.ok, answer.text) == (False, email.unavailable())
    settings.EMAIL_HOST = "localhost"
    assert email.unavailable() == ""


@pytest.mark.parametrize(
    ("written", "to"),
    [
        ("ada@example.com", ["ada@example.com"]),
        (
            " ada@example.com , bob@example.com;\neve@example.com",
            ["ada@example.com", "bob@example.com", "eve@example.com"],
        ),
        ("ada@example.com,ada@example.com", ["ada@example.com"]),
        ("ada@bücher.example", ["ada@xn--bcher-kva.example"]),
    ],
)
def test_addresses_are_taken(written: str, to: list[str]) -> None:
    assert email.parse(written) == {"to": to}


@pytest.mark.parametrize(
    "written",
    [
        "",
        ",",
        "ada",
        "ada@",
        "@example.com",
        "ada@example.com\r\nBcc:eve@example.com",
        "Ada <ada@example.com>",
        "a@b@c.de",
    ],
)
def test_other_addresses_are_refused(written: str) -> None:
    with pytest.raises(ValidationError, match="mail address"):
        email.parse(written)


def test_so_many_addresses_are_for_a_list() -> None:
    with pytest.raises(ValidationError, match="20 addresses at most"):
        email.parse(",".join(f"a{number}@example.com" for number in range(21)))
