"""Signed JSON: checked as a receiver would check it, by the Standard Webhooks scheme."""

import base64
import hashlib
import hmac
import time
from collections.abc import Mapping

import pytest
from django.core.exceptions import ValidationError

from notifications.content import Content, Item
from notifications.transports import transport
from tests.notifications.receiving import Receiver, Reply

CONTENT = Content(
    id="0190-aaaa",
    event="FAILED",
    tone="bad",
    title="fuzzy-leopard of new-thing failed",
    text="Ünïcode 🐆",
    time="2022-06-27T20:21:37+00:00",
    log_lines=["one"],
    url="https://orchestrator.example.com/runs/1/",
    url_label="Open the run",
    data={"flow_run": {"name": "fuzzy-leopard"}, "count": 1},
)
GIVEN = "whsec_" + base64.b64encode(bytes(range(24))).decode()
webhook = transport("webhook")


def verified(secret: str, headers: Mapping[str, str], body: bytes, *, now: float, tolerance: int = 300) -> bool:
    """The receiver's side, written from the specification."""
    if abs(now - int(headers["webhook-timestamp"])) > tolerance:
        return False
    content = b".".join([headers["webhook-id"].encode(), headers["webhook-timestamp"].encode(), body])
    key = base64.b64decode(secret.split("_", 1)[1])
    expected = base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()
    versions = [entry.split(",", 1) for entry in headers["webhook-signature"].split(" ")]
    return any(version == "v1" and hmac.compare_digest(signature, expected) for version, signature in versions)


@pytest.mark.parametrize("secret", ["", GIVEN])
def test_a_receiver_can_verify_it(receiver: Receiver, secret: str) -> None:
    config = webhook.parse(f"{receiver.url}/hook", secret)
    assert webhook.send(config, CONTENT).ok
    (request,) = receiver.received
    shown = webhook.shown_once(config)
    assert secret in {"", shown}
    assert verified(shown, request.headers, request.body, now=time.time())
    assert not verified(shown, request.headers, request.body + b" ", now=time.time())
    assert not verified(shown, request.headers, request.body, now=time.time() + 301)
    assert not verified(webhook.shown_once(webhook.parse(receiver.url)), request.headers, request.body, now=time.time())


def test_the_body_has_what_programs_want_to_know(receiver: Receiver) -> None:
    webhook.send(webhook.parse(receiver.url), CONTENT)
    assert receiver.received[0].headers["content-type"] == "application/json; charset=utf-8"
    assert receiver.received[0].json == {
        "type": "flow_run.failed",
        "timestamp": "2022-06-27T20:21:37+00:00",
        "data": {
            "flow_run": {"name": "fuzzy-leopard"},
            "count": 1,
            "id": "0190-aaaa",
            "event": "FAILED",
            "tone": "bad",
            "title": "fuzzy-leopard of new-thing failed",
            "text": "Ünïcode 🐆",
            "time": "2022-06-27T20:21:37+00:00",
            "log_lines": ["one"],
            "items": [],
            "url": "https://orchestrator.example.com/runs/1/",
            "url_label": "Open the run",
        },
    }


def test_types_tell_one_from_several_and_a_test(receiver: Receiver) -> None:
    config = webhook.parse(receiver.url)
    fields = {"id": "m", "tone": "bad", "title": "t", "text": "t", "time": ""}
    webhook.send(config, Content(event="LONG_RUNNING", **fields))
    webhook.send(config, Content(event="CRASHED", items=[Item(text="x", count=2)], **fields))
    webhook.send(config, Content(event="TEST", **fields))
    assert [request.json["type"] for request in receiver.received] == [
        "flow_run.long_running",
        "flow_runs.crashed",
        "test",
    ]


STATUSES = [(200, True, False), (202, True, False), (204, True, False), (401, False, True), (410, False, True)]


@pytest.mark.parametrize(("status", "ok", "is_final"), [*STATUSES, (429, False, False), (503, False, False)])
def test_statuses(receiver: Receiver, status: int, ok: bool, is_final: bool) -> None:
    receiver.reply = Reply(status, b"" if status == 204 else b"words")
    answer = webhook.send(webhook.parse(receiver.url), CONTENT)
    assert (answer.ok, answer.is_final) == (ok, is_final)


def test_each_secret_that_is_made_is_new() -> None:
    made = {webhook.parse("https://example.com/x")["secret"] for _ in range(20)}
    assert len(made) == 20
    assert all(len(base64.b64decode(secret.removeprefix("whsec_"))) == 32 for secret in made)


@pytest.mark.parametrize(
    "secret",
    [
        "s3cret",
        "whsec_",
        "whsec_!!!!",
        base64.b64encode(bytes(32)).decode(),
        "whsec_" + base64.b64encode(bytes(23)).decode(),
        "whsec_" + base64.b64encode(bytes(65)).decode(),
        "whsec_ä",
    ],
)
def test_a_weak_or_mistyped_secret_is_refused(secret: str) -> None:
    with pytest.raises(ValidationError) as caught:
        webhook.parse("https://example.com/x", secret)
    assert caught.value.message_dict == {
        "secret": ["Write whsec_ and 24 to 64 bytes in base64, or leave it empty to have one made."]
    }


def test_both_mistakes_are_told_at_once() -> None:
    with pytest.raises(ValidationError) as caught:
        webhook.parse("", "x")
    assert set(caught.value.message_dict) == {"address", "secret"}


def test_the_summary_leaves_out_the_path() -> None:
    assert webhook.summary(webhook.parse("https://hooks.example.com:8443/catch/s3cret?x=y")) == (
        "https://hooks.example.com:8443/…"
    )
    assert webhook.summary(webhook.parse("https://hooks.example.com")) == "https://hooks.example.com/"
