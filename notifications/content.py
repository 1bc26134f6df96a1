"""What a message says, whichever way it goes. Transports lay it out in their own form."""

from typing import Any, Literal

import msgspec


class Item(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a message about several events: a flow or deployment, how often, and where to look."""

    text: str
    count: int = 1
    url: str = ""


class Content(msgspec.Struct, frozen=True, kw_only=True):
    """A message.

    Attributes:
        id: The message's id: the same when it is sent again after a crash, so that a receiver can tell.
        event: A value of `Event`; "TEST" for a test.
        tone: How it is meant: bad, warning, good, neutral.
        title: A line for a subject or a preview: `fuzzy-leopard of new-thing failed`; plain text.
        text: What the policy's template gave, or what is said of several; plain text, lines separated by newlines.
        log_lines: The run's last log lines, oldest first, each at most 300 characters.
        items: Of a message about several events: at most 10, the most frequent first.
        url: Where to look; absolute.
        url_label: What the link is called: `Open the run`.
        time: When the event was (of several: the last), ISO 8601 in UTC.
        data: What programs want to know, for webhooks: `flow_run`, `flow`, `deployment`, `policy`, `team`, `count`.
    """

    id: str
    event: str
    tone: Literal["bad", "warning", "good", "neutral"]
    title: str
    text: str
    time: str
    log_lines: list[str] = []
    items: list[Item] = []
    url: str = ""
    url_label: str = ""
    data: dict[str, Any] = {}


def to_json(content: Content) -> dict[str, Any]:
    """Return it as the JSON object that `Message.content` holds."""
    value: dict[str, Any] = storable(msgspec.to_builtins(content))
    return value


def storable(value: Any) -> Any:
    """Return a JSON value without what PostgreSQL refuses in text: NUL and halves of surrogate pairs."""
    if isinstance(value, str):
        return value.replace("\0", "").encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {storable(key): storable(one) for key, one in value.items()}
    return [storable(one) for one in value] if isinstance(value, list) else value


def from_json(value: dict[str, Any]) -> Content:
    """Return the content of a `Message.content`."""
    return msgspec.convert(value, Content)
