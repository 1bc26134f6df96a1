"""Answers of services that are spoken to over HTTP."""

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from html import unescape
from http import HTTPStatus

from notifications.outgoing import Reply, redirect_target
from notifications.transports.base import Answer
from notifications.transports.wording import answer_text

# Refusals that pass: too slow, too early, too many.
_PASSING = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS}
_TITLE = re.compile(r"<title[^>]*>(.{0,500}?)</title>", re.IGNORECASE | re.DOTALL)


def http_answer(reply: Reply, secrets: Iterable[str] = ()) -> Answer:
    """Return what came back as an Answer: any 2xx is a yes."""
    if not reply.status:
        return Answer(ok=False, text=answer_text(reply.text, secrets), is_final=reply.is_final)
    return Answer(
        ok=200 <= reply.status < 300,
        text=answer_text(f"{reply.status} {_words(reply)}", secrets),
        is_final=is_final(reply.status),
        retry_after_seconds=retry_after(reply.headers.get("retry-after", ""), datetime.now(UTC)),
    )


def is_final(status: int) -> bool:
    """Whether a status would come again: redirects (they are not followed) and most of 4xx."""
    return 300 <= status < 500 and status not in _PASSING


def retry_after(value: str, now: datetime) -> float | None:
    """Return the seconds that a Retry-After header asks for, given as such or as a date; None for neither."""
    if value.strip().isascii() and value.strip().isdigit():
        return float(value[:12])
    try:
        until = parsedate_to_datetime(value)
    except (TypeError, ValueError):
        return None
    return max(0.0, (until.replace(tzinfo=until.tzinfo or UTC) - now).total_seconds())


def _words(reply: Reply) -> str:
    """Return what the service said: its body, the title of a page, else what the status means."""
    if 300 <= reply.status < 400:
        return f"It redirects to {redirect_target(reply) or 'another address'}; redirects are not followed."
    words = reply.text.strip()
    if "<html" in words[:1000].lower():
        title = _TITLE.search(words)
        words = unescape(title[1]).strip() if title else ""
    return words or _meaning(reply.status)


def _meaning(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""
