"""Slack, by an incoming webhook, and whatever takes Slack's messages (Mattermost, Rocket.Chat, one's own receiver).

The text says everything, for those that know no blocks and for notifications; Slack itself shows the blocks. The link
is a link: Slack puts a warning beside a button of an app that takes no interactions, and a webhook's app takes none.
https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks,
https://docs.slack.dev/messaging/formatting-message-text, https://docs.slack.dev/reference/block-kit/blocks
"""

import json
import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any, ClassVar
from urllib.parse import urlsplit

from django.core.exceptions import ValidationError

from notifications.content import Content, Item
from notifications.outgoing import checked_url, post
from notifications.transports.base import Answer, Transport
from notifications.transports.http import http_answer
from notifications.transports.wording import clean, cut, one_line, secrets_in

SECTION_CHARACTERS = 3_000
_TEXT_SECTIONS = 3
_URL_CHARACTERS = 2_000
_FALLBACK_CHARACTERS = 15_000  # Slack takes 40,000, Mattermost 16,383
_MARKS = {"bad": "❌", "warning": "⚠️", "good": "✅", "neutral": "🔔"}
_ESCAPES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
_SLACK_HOSTS = ("hooks.slack.com", "hooks.slack-gov.com")


class SlackTransport(Transport):
    """Posts to an incoming webhook."""

    kind: ClassVar[str] = "slack"
    label: ClassVar[str] = "Slack"
    address_label: ClassVar[str] = "Incoming webhook URL"
    address_help: ClassVar[str] = (
        "https://hooks.slack.com/services/T…/B…/…: make an app at api.slack.com/apps, turn on Incoming Webhooks and add"
        " one to a channel. Mattermost's and other Slack-compatible webhooks do as well."
    )
    icon: ClassVar[str] = "slack"

    def parse(self, address: str, secret: str = "") -> dict[str, Any]:
        """Take a webhook's URL."""
        try:
            url = checked_url(address)
        except ValueError as error:
            raise ValidationError({"address": str(error)}) from None
        parts = urlsplit(url)
        if parts.hostname in _SLACK_HOSTS and not re.fullmatch(
            r"/(services|workflows|triggers)(/[\w-]+){3,}/?", parts.path
        ):
            raise ValidationError(
                {
                    "address": "It is not a whole webhook URL; Slack's look like https://hooks.slack.com/services/T…/B…/…."
                }
            )
        return {"url": url}

    def summary(self, config: dict[str, Any]) -> str:
        """Host, and of Slack's own the team's and the webhook's id, by which Slack lists it."""
        parts = urlsplit(config["url"])
        ids = parts.path.split("/")[2:-1] if parts.hostname in _SLACK_HOSTS else []
        return cut("/".join([parts.netloc, *(["services", *ids[:2]] if ids else []), "…"]), 200)

    def send(self, config: dict[str, Any], content: Content) -> Answer:
        """Post it."""
        url = config["url"]
        body = json.dumps(message(content), ensure_ascii=False).encode("utf-8", "replace")
        # Slack does not look at the id; a compatible receiver can tell by it what it has had.
        headers = {"Content-Type": "application/json; charset=utf-8", "webhook-id": content.id}
        return http_answer(post(url, body, headers), secrets_in(url))


def message(content: Content) -> dict[str, Any]:
    """Return what is posted: the blocks, and the same as text."""
    text = f"{_MARKS[content.tone]} {clean(content.text.strip() or content.title)}"
    logs = _logs(content.log_lines)
    link = _link(content.url, content.url_label or "Open") if content.url else ""
    pieces = [piece for piece in [*_pieces(text), *_items(content.items), logs, link] if piece]
    return {
        "text": _cut_escaped("\n".join(pieces), _FALLBACK_CHARACTERS),
        "blocks": [*(_section(piece) for piece in pieces), *_context(content)],
        "unfurl_links": False,
        "unfurl_media": False,
    }


def escaped(text: str) -> str:
    """Return it so that Slack shows it as it is: no mention, channel or link comes of it."""
    return re.sub("[&<>]", lambda match: _ESCAPES[match[0]], text)


def _section(text: str) -> dict[str, Any]:
    return {"type": "section", "text": {"type": "mrkdwn", "text": text, "verbatim": True}}


def _pieces(text: str) -> Iterator[str]:
    """Split and escape a long text for sections; what is too long for three of them is left out."""
    rest = cut(text, SECTION_CHARACTERS * _TEXT_SECTIONS)
    for _ in range(_TEXT_SECTIONS):
        if not rest.strip():
            return
        size = _fitting(rest)
        yield escaped(rest[:size])
        rest = rest[size:].lstrip("\n")


def _fitting(text: str) -> int:
    """Return how many characters fit into a section once they are escaped; up to a line's end where there is one."""
    room = SECTION_CHARACTERS
    for index, character in enumerate(text):
        room -= len(_ESCAPES.get(character, character)) + (character > "\uffff")
        if room < 0:
            line_end = text.rfind("\n", 0, index)
            return line_end if line_end > index // 2 else index
    return len(text)


def _logs(lines: list[str]) -> str:
    """Return the last lines that fit, as preformatted text which they cannot end themselves."""
    kept: list[str] = []
    room = SECTION_CHARACTERS - len("```\n\n```")
    for line in reversed(lines):
        line = escaped(cut(clean(line).replace("\n", " "), 300).replace("```", "'''"))
        if len(line) + 1 > room:
            break
        room -= len(line) + 1
        kept.append(line)
    return "```\n" + "\n".join(reversed(kept)) + "\n```" if kept else ""


def _items(items: list[Item]) -> Iterator[str]:
    """List them, in as many sections as that takes."""
    piece = ""
    for line in map(_item, items):
        if piece and len(piece) + 1 + len(line) > SECTION_CHARACTERS:
            yield piece
            piece = ""
        piece = f"{piece}\n{line}" if piece else line
    if piece:
        yield piece


def _item(item: Item) -> str:
    count = f"{item.count:,} × " if item.count != 1 else ""
    text = one_line(item.text, 150)
    return f"• {count}{_link(item.url, text) if item.url else escaped(text)}"


def _link(url: str, label: str) -> str:
    """Return a link, or its label alone where the address is too long to be one."""
    target = escaped(clean(url)).replace("|", "%7C").replace("\n", "")
    shown = escaped(one_line(label, 150))
    return f"<{target}|{shown}>" if len(target) <= _URL_CHARACTERS else shown


def _context(content: Content) -> list[dict[str, Any]]:
    """When, in the reader's own zone (Slack fills it in), and why this came."""
    told = []
    try:
        at = datetime.fromisoformat(content.time)
        told.append(f"<!date^{int(at.timestamp())}^{{date_short_pretty}} {{time_secs}}|{at:%Y-%m-%d %H:%M:%S} UTC>")
    except ValueError:
        pass
    if policy := _name(content.data.get("policy")):
        told.append(f"Policy {escaped(one_line(policy, 100))}")
    return [{"type": "context", "elements": [{"type": "mrkdwn", "text": " · ".join(told)}]}] if told else []


def _name(value: object) -> str:
    return str(value.get("name", "")) if isinstance(value, dict) else str(value or "")


def _cut_escaped(text: str, characters: int) -> str:
    """Cut it without leaving half an escape at its end."""
    return text if len(text) <= characters else re.sub(r"&[a-z]*$", "", text[: characters - 1]) + "…"
