"""What transports do to text before it goes out, and to answers before they are kept."""

import re
from collections.abc import Iterable
from urllib.parse import unquote, unquote_plus, urlsplit

ANSWER_CHARACTERS = 500
MASK = "•••"
_SECRET_SEGMENT = 6  # shorter parts of a path are words like `services` or `hooks`, or guessed anyway
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\u2028\u2029]")


def clean(text: str) -> str:
    """Take out what no service shows and some stumble over: control characters and halves of surrogate pairs."""
    return _CONTROLS.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))


def cut(text: str, characters: int) -> str:
    """Return its beginning, with an ellipsis where something was left out."""
    return text if len(text) <= characters else text[: characters - 1].rstrip() + "…"


def one_line(text: str, characters: int) -> str:
    """Return it as one line."""
    return cut(" ".join(clean(text[: characters * 4]).split()), characters)


def masked(text: str, secrets: Iterable[str]) -> str:
    """Return it with secrets taken out, the longest first."""
    for secret in sorted(set(secrets), key=len, reverse=True):
        if secret:
            text = text.replace(secret, MASK)
    return text


def answer_text(text: str, secrets: Iterable[str] = ()) -> str:
    """Return what a service said as it is kept: one line, without secrets, at most 500 characters."""
    return one_line(masked(text[: ANSWER_CHARACTERS * 20], secrets), ANSWER_CHARACTERS)


def secrets_in(url: str) -> list[str]:
    """Return what of a web address is to be known to nobody: of the path what looks like a token, and the query."""
    parts = urlsplit(url)
    values = [value for pair in parts.query.split("&") for value in (pair, pair.partition("=")[2]) if len(value) > 3]
    segments = [segment for segment in parts.path.split("/") if len(segment) >= _SECRET_SEGMENT]
    whole = [parts.path] if len(parts.path) >= _SECRET_SEGMENT else []
    found = [*whole, *segments, parts.query, *values]
    return [form for secret in found if secret for form in {secret, unquote(secret), unquote_plus(secret)}]
