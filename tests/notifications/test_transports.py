"""The contract: what every kind of destination does, proved on each with a real receiver."""

import asyncio
import json
import logging
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, ClassVar

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session
from django.core.exceptions import ValidationError
from pytest_django import Settings

from notifications import outgoing
from notifications.content import Content, Item
from notifications.transports import TRANSPORTS, Transport, transport
from notifications.transports.base import Answer
from tests.notifications.receiving import Mailbox, Receiver, Reply
from tests.servers import free_port

TOKEN = "tok3nT0KENtok3n"
PASSWORD = "pa55w0rd-of-mail"
SINGLE = Content(
    id="0190-aaaa",
    event="FAILED",
    tone="bad",
    title="fuzzy-leopard of new-thing failed",
    text="The fuzzy-leopard run of the new-thing flow entered a failed state at 2022-06-27 16:21:37 EDT\nKeyError: 'x'",
    time="2022-06-27T20:21:37+00:00",
    log_lines=["extracting 12 rows", "KeyError: 'x'"],
    url="https://orchestrator.example.com/runs/1/",
    url_label="Open the run",
    data={"flow_run": {"name": "fuzzy-leopard"}, "policy": {"name": "Failures"}, "count": 1},
)
GROUP = Content(
    id="0190-bbbb",
    event="FAILED",
    tone="bad",
    title="1,204 runs failed within a minute",
    text="1,204 runs failed within a minute.",
    time="2022-06-27T20:21:37+00:00",
    items=[
        Item(text="etl/nightly", count=1200, url="https://orchestrator.example.com/deployments/1/"),
        Item(text="report", count=4),
    ],
    url="https://orchestrator.example.com/runs/?state=failed",
    url_label="Show them",
    data={"count": 1204},
)
HUGE = Content(
    id="0190-cccc",
    event="FAILED",
    tone="bad",
    title="a" * 100_000,
    text="begins here\n" + "&<>é" * 250_000,
    time="2022-06-27T20:21:37+00:00",
    log_lines=["l" * 100_000] * 200,
)
HOSTILE = Content(
    id="0190-dddd",
    event="CRASHED",
    tone="warning",
    title="title\r\nBcc: eve@example.com\r\n\r\n<script>alert(1)</script> 🐆\x00",
    text="<!channel> <@U1> @everyone <script>alert(1)</script> & ``` *b* _i_ \x00\x1b[31m\u202e🐆 \ud83d {{ 7*7 }}"
    "\r\n.\r\nQUIT",
    time="not a time",
    log_lines=["``` <!here>", "\x00\ud83d", "</pre><img src=x onerror=alert(1)>"],
    items=[Item(text="]( > | <x>\n🐆", count=2, url='https://x/|>"><script>')],
    url='https://x/?a=1&b=<>|"',
    url_label="<b>|>\n",
    data={"policy": {"name": "<!here>\n"}},
)


class Case(ABC):
    """A kind with a receiver of its own."""

    kind: ClassVar[str]
    secrets: ClassVar[list[str]]

    @property
    @abstractmethod
    def address(self) -> str:
        """As a person writes it."""

    @abstractmethod
    def answer(self, how: str) -> None:
        """Have the next message answered: busy (try again), no (for good), hang (until `close`)."""

    @abstractmethod
    def received(self) -> list[str]:
        """What arrived whole, as text."""

    @abstractmethod
    def identities(self) -> list[str]:
        """By what the receiver can tell messages apart; empty where the service has no place for it."""

    @abstractmethod
    def close(self) -> None:
        """End everything; may be called twice."""


class HttpCase(Case):
    path: ClassVar[str] = f"/services/T0000001/B0000001/{TOKEN}"
    secrets = [TOKEN]

    def __init__(self) -> None:
        self._receiver = Receiver()

    @property
    def address(self) -> str:
        return self._receiver.url + self.path

    def answer(self, how: str) -> None:
        said = f"what is {TOKEN}?".encode()
        reply = {
            "busy": Reply(500, b"rollup_error " + said),
            "no": Reply(404, b"no_service " + said),
            "hang": Reply(200, delay=30),
        }
        self._receiver.then(reply[how], path=self.path)

    def received(self) -> list[str]:
        return [json.dumps(request.json, ensure_ascii=False) for request in self._receiver.received]

    def identities(self) -> list[str]:
        return [request.headers["webhook-id"] for request in self._receiver.received]

    def close(self) -> None:
        if not self._receiver.release.is_set():
            self._receiver.close()


class SlackCase(HttpCase):
    kind = "slack"


class WebhookCase(HttpCase):
    kind = "webhook"


class AppriseCase(HttpCase):
    kind = "apprise"
    secrets = [TOKEN, "pa55w0rd"]

    @property
    def address(self) -> str:
        return f"json://user:pa55w0rd@127.0.0.1:{self._receiver.port}{self.path}?+X-Key={TOKEN}"

    def identities(self) -> list[str]:
        return []


class EmailCase(Case):
    kind = "email"
    address = "data-team@example.com, ops@example.com"
    secrets = [PASSWORD]

    def __init__(self, settings: Settings) -> None:
        self._mailbox = MoodyMailbox()
        settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", self._mailbox.port
        settings.EMAIL_HOST_USER, settings.EMAIL_HOST_PASSWORD = "orchestrator", PASSWORD
        settings.EMAIL_USE_TLS = settings.EMAIL_USE_SSL = False
        settings.DEFAULT_FROM_EMAIL = "Orchestrator <orchestrator@example.com>"

    def answer(self, how: str) -> None:
        self._mailbox.mood = how

    def received(self) -> list[str]:
        return [
            part.get_content()
            for mail in self._mailbox.mails
            for part in mail.walk()
            if part.get_content_type() == "text/plain"
        ]

    def identities(self) -> list[str]:
        return [str(mail["Message-ID"]) for mail in self._mailbox.mails]

    def close(self) -> None:
        if not self._mailbox.over.is_set():
            self._mailbox.over.set()
            self._mailbox.close()


class MoodyMailbox(Mailbox):
    """A mailbox that takes a password, and can be busy, refuse, or hang."""

    def __init__(self) -> None:
        self.mood = ""
        self.over = threading.Event()
        super().__init__()
        self._controller.stop()
        self._controller = Controller(
            self,
            hostname="127.0.0.1",
            port=free_port(),
            authenticator=lambda *_: Accepted,
            auth_require_tls=False,
        )
        self._controller.start()

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        if self.mood == "busy":
            return f"451 4.3.0 Later, {PASSWORD}"
        if self.mood == "no":
            return f"554 5.7.1 Never, {PASSWORD}"
        if self.mood == "hang":
            await asyncio.to_thread(self.over.wait, 30)
        return await super().handle_DATA(server, session, envelope)


class Accepted:
    """What aiosmtpd wants to hear of a password."""

    success = handled = True
    auth_data = message = None


CASES: dict[str, Any] = {
    "slack": lambda settings: SlackCase(),
    "email": EmailCase,
    "webhook": lambda settings: WebhookCase(),
    "apprise": lambda settings: AppriseCase(),
}


def test_every_kind_is_held_to_the_contract() -> None:
    assert set(CASES) == set(TRANSPORTS)


@pytest.fixture(params=sorted(CASES))
def case(request: pytest.FixtureRequest, settings: Settings) -> Iterator[Case]:
    settings.ALLOW_PRIVATE_ADDRESSES = True
    made = CASES[request.param](settings)
    yield made
    made.close()


@pytest.fixture
def sender(case: Case) -> Transport:
    return transport(case.kind)


@pytest.fixture
def config(case: Case, sender: Transport) -> dict[str, Any]:
    return sender.parse(case.address)


def test_it_says_what_forms_and_lists_need(sender: Transport, case: Case) -> None:
    assert sender.kind == case.kind
    assert sender.unavailable() == ""
    for text in (sender.label, sender.address_label, sender.address_help, sender.icon):
        assert text.strip()


@pytest.mark.parametrize("address", ["", "   ", "nonsense", "\x00", "://", "x" * 10_000, "https://", "<script>"])
def test_an_address_that_cannot_be_one_is_refused_with_what_to_write(sender: Transport, address: str) -> None:
    with pytest.raises(ValidationError) as caught:
        sender.parse(address)
    (message,) = caught.value.message_dict["address"]
    assert message[0].isupper() or message.startswith(("nonsense", "x", "<", "://", "https", "\x00"))
    assert message.endswith((".", "…).", "…"))
    assert len(message) < 500


def test_a_single_message_arrives(case: Case, sender: Transport, config: dict[str, Any]) -> None:
    answer = sender.send(config, SINGLE)
    assert answer.ok
    assert answer.text
    (text,) = case.received()
    for part in ("fuzzy-leopard", "entered a failed state", "extracting 12 rows", "orchestrator.example.com/runs/1/"):
        assert part in text


def test_a_group_arrives_with_counts_and_links(case: Case, sender: Transport, config: dict[str, Any]) -> None:
    assert sender.send(config, GROUP).ok
    (text,) = case.received()
    assert "1,204 runs failed" in text
    assert "etl/nightly" in text
    assert "https://orchestrator.example.com/deployments/1/" in text
    assert "1200" in text.replace("1,200", "1200")


def test_a_huge_text_arrives_cut(case: Case, sender: Transport, config: dict[str, Any]) -> None:
    assert sender.send(config, HUGE).ok
    (text,) = case.received()
    assert "begins here" in text
    assert len(text) < 200_000


def test_hostile_text_arrives_as_text(case: Case, sender: Transport, config: dict[str, Any]) -> None:
    assert sender.send(config, HOSTILE).ok
    (text,) = case.received()
    assert "🐆" in text
    assert "\x00" not in text


@pytest.mark.parametrize("content", [SINGLE, GROUP, HUGE, HOSTILE], ids=["single", "group", "huge", "hostile"])
def test_a_busy_service_is_tried_again(case: Case, sender: Transport, config: dict[str, Any], content: Content) -> None:
    case.answer("busy")
    answer = sender.send(config, content)
    assert (answer.ok, answer.is_final) == (False, False)
    assert answer.text.startswith(("500 ", "451 ", "Failed"))


def test_a_refusal_is_final(case: Case, sender: Transport, config: dict[str, Any]) -> None:
    case.answer("no")
    answer = sender.send(config, SINGLE)
    assert (answer.ok, answer.is_final) == (False, True)
    assert "404" in answer.text or "554" in answer.text


def test_a_service_that_hangs_is_left_in_time(
    case: Case, sender: Transport, config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outgoing, "TOTAL_SECONDS", 0.7)
    case.answer("hang")
    began = time.monotonic()
    answer = sender.send(config, SINGLE)
    assert (answer.ok, answer.is_final) == (False, False)
    assert "0.7 seconds" in answer.text
    assert time.monotonic() - began < (5.0 if case.kind == "apprise" else 1.5)


def test_a_service_that_is_not_there_is_tried_again(case: Case, sender: Transport, config: dict[str, Any]) -> None:
    case.close()
    answer = sender.send(config, SINGLE)
    assert (answer.ok, answer.is_final) == (False, False)
    assert answer.text


def test_a_message_that_is_sent_again_is_the_same_message(
    case: Case, sender: Transport, config: dict[str, Any]
) -> None:
    assert sender.send(config, SINGLE).ok
    assert sender.send(config, SINGLE).ok
    first, second = case.received()
    assert first == second
    identities = case.identities()
    assert len(set(identities)) <= 1
    assert all(SINGLE.id in identity for identity in identities)


def test_secrets_are_told_to_nobody(
    case: Case,
    sender: Transport,
    config: dict[str, Any],
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setattr(outgoing, "TOTAL_SECONDS", 0.7)
    answers: list[Answer] = [sender.send(config, SINGLE)]
    for how in ("busy", "no", "hang"):
        case.answer(how)
        answers.append(sender.send(config, SINGLE))
    case.close()
    answers.append(sender.send(config, SINGLE))
    logged = [record.getMessage() for record in caplog.records if record.name != "mail.log"]  # the mailbox's own
    told = "\n".join([sender.summary(config), *map(repr, answers), *logged, *capfd.readouterr()])
    for secret in [*case.secrets, *([config["secret"]] if "secret" in config else [])]:
        assert secret not in told


def test_the_summary_is_short(case: Case, sender: Transport, config: dict[str, Any]) -> None:
    assert 0 < len(sender.summary(config)) <= 200
    assert "127.0.0.1" in sender.summary(config) or "example.com" in sender.summary(config)
