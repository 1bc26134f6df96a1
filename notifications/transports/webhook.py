"""Any web address: JSON, signed by the Standard Webhooks scheme.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

import base64
import binascii
import hashlib
import hmac
import json
import secrets
import time
from typing import Any, ClassVar
from urllib.parse import urlsplit

from django.core.exceptions import ValidationError

from notifications.content import Content, to_json
from notifications.outgoing import checked_url, post
from notifications.transports.base import Answer, Transport
from notifications.transports.http import http_answer
from notifications.transports.wording import clean, cut, one_line, secrets_in

PREFIX = "whsec_"
_SECRET_BYTES = range(24, 65)
_TEXT_CHARACTERS = 10_000  # the scheme advises against bodies over 20 KB
_LOG_LINES = 20


class WebhookTransport(Transport):
    """Posts JSON with a signature."""

    kind: ClassVar[str] = "webhook"
    label: ClassVar[str] = "Webhook"
    address_label: ClassVar[str] = "URL"
    address_help: ClassVar[str] = (
        "https://example.com/hooks/orchestrator: gets a POST with JSON, signed by the Standard Webhooks scheme."
    )
    icon: ClassVar[str] = "webhook"

    def parse(self, address: str, secret: str = "") -> dict[str, Any]:
        """Take a URL, and a signing secret (whsec_…); one is made where none is given."""
        errors = {}
        url = ""
        try:
            url = checked_url(address)
        except ValueError as error:
            errors["address"] = str(error)
        secret = secret.strip() or new_secret()
        if not _is_secret(secret):
            errors["secret"] = "Write whsec_ and 24 to 64 bytes in base64, or leave it empty to have one made."
        if errors:
            raise ValidationError(errors)
        return {"url": url, "secret": secret}

    def summary(self, config: dict[str, Any]) -> str:
        """Scheme and host: a path often is what lets one in."""
        parts = urlsplit(config["url"])
        return cut(f"{parts.scheme}://{parts.netloc}/" + ("…" if parts.path.strip("/") or parts.query else ""), 200)

    def shown_once(self, config: dict[str, Any]) -> str:
        """The signing secret."""
        return str(config["secret"])

    def send(self, config: dict[str, Any], content: Content) -> Answer:
        """Post it. The id is the message's: a receiver drops what it has had."""
        url, secret = config["url"], config["secret"]
        body = json.dumps(payload(content), ensure_ascii=False, default=str).encode("utf-8", "replace")
        timestamp = str(int(time.time()))
        headers = {
            "Content-Type": "application/json; charset=utf-8",
            "webhook-id": content.id,
            "webhook-timestamp": timestamp,
            "webhook-signature": signature(secret, content.id, timestamp, body),
        }
        return http_answer(post(url, body, headers), [secret, secret.removeprefix(PREFIX), *secrets_in(url)])


def payload(content: Content) -> dict[str, Any]:
    """Return the body: `type`, `timestamp` and `data`, as the scheme has them."""
    told = to_json(content)
    data = {
        **told.pop("data"),
        **told,
        "title": one_line(content.title, 500),
        "text": cut(clean(content.text), _TEXT_CHARACTERS),
        "log_lines": [cut(clean(line), 300) for line in content.log_lines[-_LOG_LINES:]],
    }
    return {"type": _type(content), "timestamp": content.time, "data": data}


def signature(secret: str, identifier: str, timestamp: str, body: bytes) -> str:
    """Return the value of `webhook-signature`."""
    key = base64.b64decode(secret.removeprefix(PREFIX))
    signed = f"{identifier}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()


def new_secret() -> str:
    """Return a new signing secret of 32 bytes."""
    return PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


def _is_secret(secret: str) -> bool:
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        return False
    return secret.startswith(PREFIX) and len(key) in _SECRET_BYTES


def _type(content: Content) -> str:
    """`flow_run.failed`; `flow_runs.failed` of several; `test`."""
    if content.event == "TEST":
        return "test"
    return f"flow_run{'s' if content.items or content.data.get('count', 1) > 1 else ''}.{content.event.lower()}"
