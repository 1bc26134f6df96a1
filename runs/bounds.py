"""What columns can hold: whatever a fact says is cut to fit, so that nothing a script records can stop a batch.

PostgreSQL's text has no NUL, and neither database takes a lone surrogate.
"""

import sys
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

import msgspec

from orchestrator.sdk.events import MAX_LOG_BYTES, MAX_PARAMETER_BYTES, Error

MAX_JSON_BYTES: Final = MAX_PARAMETER_BYTES
MAX_MESSAGE: Final = 20_000
MAX_TRACEBACK: Final = 200_000
MAX_INTEGER: Final = 2**31 - 1
MAX_TIME: Final = 253_402_300_799_999_999  # the end of the year 9999
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MAX_TAGS: Final = 100

encode = msgspec.json.Encoder(enc_hook=str).encode


def text(value: str, limit: int) -> str:
    """Cut a text to a number of characters and make what no database takes harmless."""
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            value = value.encode("utf-8", "replace").decode()
    if "\0" in value:
        value = value.replace("\0", "\N{REPLACEMENT CHARACTER}")
    return value if len(value) <= limit else value[: limit - 1] + "…"


def log_message(value: str) -> str:
    """Cut a log line to `MAX_LOG_BYTES`, saying so."""
    value = text(value, MAX_LOG_BYTES + 1)
    if len(value) * 4 <= MAX_LOG_BYTES or len(data := value.encode()) <= MAX_LOG_BYTES:
        return value
    return f"{data[:MAX_LOG_BYTES].decode(errors='ignore')}… (cut: log lines hold 1 MB)"


def integer(value: int, highest: int = MAX_INTEGER) -> int:
    """Bring a number between 0 and the highest one that its column holds."""
    return 0 if value < 0 else min(value, highest)


def microseconds(value: int) -> int:
    """Bring a time into the years 1970 to 9999."""
    return 0 if value < 0 else min(value, MAX_TIME)


def moment(value: int) -> datetime:
    """Return the aware datetime of microseconds since the Unix epoch."""
    return _EPOCH + timedelta(microseconds=microseconds(value))


def unix_microseconds(value: datetime) -> int:
    """Return microseconds since the Unix epoch of an aware datetime."""
    return (value - _EPOCH) // timedelta(microseconds=1)


def plain(value: Any) -> Any:
    """Return a decoded JSON value with only such texts in it as databases take."""
    if isinstance(value, str):
        return text(value, sys.maxsize)
    if isinstance(value, dict):
        return {text(str(key), sys.maxsize): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return str(value)
    return value


def json_value(value: Any, what: str) -> Any:
    """Return a JSON value for a column, or a note in its place when it is larger than `MAX_JSON_BYTES`."""
    value = plain(value)
    size = len(encode(value))
    if size > MAX_JSON_BYTES:
        return {"…": f"{what} of {size:,} bytes were not recorded; at most {MAX_JSON_BYTES:,} are."}
    return value


def tags(value: list[str]) -> list[str]:
    """Return at most 100 tags of at most 200 characters."""
    return [text(tag, 200) for tag in value[:_MAX_TAGS]]


def error_value(error: Error | None) -> dict[str, str] | None:
    """Return an error as a JSON object: type, message, traceback, each cut."""
    if error is None:
        return None
    return {
        "type": text(error.type, 200),
        "message": text(error.message, MAX_MESSAGE),
        "traceback": text(error.traceback, MAX_TRACEBACK),
    }


def uuid_hex(value: str) -> str:
    """Return an id as 32 lower-case hexadecimal digits; empty when it is none."""
    try:
        return UUID(value).hex
    except (ValueError, AttributeError):
        return ""
