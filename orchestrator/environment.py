"""The environment of a server process, read and checked: variables named `ORCHESTRATOR_…`.

A value that cannot be used raises ImproperlyConfigured, whose message names the variable and says what to write.
"""

import contextlib
import ctypes
import os
import re
import secrets
import sys
from pathlib import Path
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from django.core.exceptions import ImproperlyConfigured

from orchestrator.sdk.home import Home

_LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
_SECRETS = (
    "DATABASE_URL",
    "BROKER_URL",
    "API_TOKEN",
    "EMAIL_URL",
    "OIDC_CLIENT_SECRET",
    "SECRET_KEY",
    "SECRET_KEY_FALLBACKS",
)
_PR_SET_DUMPABLE = 4
_SECONDS_IN = {"second": 1, "minute": 60, "hour": 3600}
_RATE = re.compile(rf"([1-9][0-9]{{0,8}})/({'|'.join(_SECONDS_IN)})")
_FLAGS = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}


def text(name: str, default: str = "") -> str:
    """Return a variable's value without surrounding white space."""
    return os.environ.get(f"ORCHESTRATOR_{name}", default).strip()


def flag(name: str, default: bool = False) -> bool:
    """Return a variable that says yes or no."""
    value = text(name, "1" if default else "0").lower()
    if value not in _FLAGS:
        raise ImproperlyConfigured(f"ORCHESTRATOR_{name}: {value!r} is neither 1 nor 0.")
    return _FLAGS[value]


def listing(name: str, default: str = "") -> list[str]:
    """Return the parts of a variable that lists several, separated by commas."""
    return [part.strip() for part in text(name, default).split(",") if part.strip()]


def whole_number(name: str, default: int, meaning: str, minimum: int = 0) -> int:
    """Return a variable that is a whole number, `minimum` or more; `meaning` completes the message."""
    value = text(name, str(default))
    if not value.isdecimal() or int(value) < minimum:
        raise ImproperlyConfigured(f"ORCHESTRATOR_{name}: {value!r}; write {meaning}, {minimum} or more.")
    return int(value)


def rate(name: str, default: str) -> tuple[int, int]:
    """Return a variable such as 50/second as how many in how many seconds; (0, 0) for `none`."""
    value = text(name, default)
    if value == "none":
        return 0, 0
    if not (found := _RATE.fullmatch(value)):
        raise ImproperlyConfigured(f"ORCHESTRATOR_{name}: {value!r}; write a number such as 20000/minute, or none.")
    return int(found[1]), _SECONDS_IN[found[2]]


def time_zone(name: str) -> str:
    """Return a variable that names a time zone; UTC by default."""
    zone = text(name, "UTC")
    try:
        ZoneInfo(zone)
    except (KeyError, ValueError, OSError):
        raise ImproperlyConfigured(
            f"ORCHESTRATOR_{name}: {zone!r} is no time zone; write one like Europe/Paris."
        ) from None
    return zone


def log_level(default: str) -> str:
    """Return LOG_LEVEL, in the words of Python's logging."""
    level = text("LOG_LEVEL", default).upper()
    if level not in _LOG_LEVELS:
        raise ImproperlyConfigured(f"ORCHESTRATOR_LOG_LEVEL: {level!r}; write one of {', '.join(_LOG_LEVELS)}.")
    return level


def web_address(name: str) -> str:
    """Return a variable that is empty or an address such as https://orchestrator.example.com, without a last slash."""
    address = text(name).rstrip("/")
    if address and not (urlsplit(address).scheme in {"http", "https"} and urlsplit(address).hostname):
        raise ImproperlyConfigured(
            f"ORCHESTRATOR_{name}: {address!r} is no address; write one like https://orchestrator.example.com."
        )
    return address


def home_made(home: Home) -> Home:
    """Make the home where it is missing, and return it."""
    try:
        home.make()
    except OSError as error:
        raise ImproperlyConfigured(
            f"ORCHESTRATOR_HOME: cannot use {home.root}: {error.strerror}. Set it to a folder that you may write to."
        ) from None
    return home


def secret_key(home: Home) -> str:
    """The key in the environment, else the one in the home, made (0600) at the first start."""
    if key := text("SECRET_KEY"):
        return key
    path = home.secret_key
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        if key := path.read_text().strip():
            return key
        raise ImproperlyConfigured(f"{path} is empty. Delete it and start again to have a new key made.") from None
    with os.fdopen(descriptor, "w") as file:
        key = secrets.token_urlsafe(50)
        file.write(key)
    return key


def keep_private() -> None:
    """Hide this process's environment, which has secrets in it, from other processes of the same user (Linux).

    Runs are such processes: without this they could read `/proc/<pid>/environ` of the worker that they belong to. It
    holds until the next exec; root, who may read everything, is not kept out.
    """
    if sys.platform == "linux" and any(text(name) for name in _SECRETS):
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def _private(path: Path) -> Path:
    """Return a file's path, having made the file for its owner alone (0600) where it is missing.

    Who sets ORCHESTRATOR_HOME to a folder that others may read does not mean the sessions and passwords in it. SQLite
    gives the files beside its database the same mode.
    """
    with contextlib.suppress(OSError):  # it is there, or cannot be made: SQLite says so in its own words
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    return path


def database(home: Home) -> dict[str, object]:
    """The embedded SQLite database, or what `ORCHESTRATOR_DATABASE_URL` names."""
    url = text("DATABASE_URL")
    parts = urlsplit(url)
    if not url or parts.scheme == "sqlite":
        path = Path(parts.path) if url else _private(home.database)
        return {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": str(path),
            "OPTIONS": {
                "transaction_mode": "IMMEDIATE",
                "timeout": 20,
                "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA foreign_keys=ON;"
                " PRAGMA cache_size=-16000; PRAGMA temp_store=MEMORY; PRAGMA wal_autocheckpoint=2000;",
            },
            "CONN_MAX_AGE": None,
        }
    if parts.scheme not in {"postgres", "postgresql"}:
        raise ImproperlyConfigured(
            f"ORCHESTRATOR_DATABASE_URL: cannot use {parts.scheme or url!r}; write postgresql://user:password@host/name."
        )
    from psycopg.conninfo import conninfo_to_dict  # psycopg costs 60 ms; SQLite's users do not pay it

    known = conninfo_to_dict(url)
    if not known.get("dbname"):
        raise ImproperlyConfigured("ORCHESTRATOR_DATABASE_URL: names no database; write postgresql://…/name.")
    names = {"dbname": "NAME", "user": "USER", "password": "PASSWORD", "host": "HOST", "port": "PORT"}
    return {
        "ENGINE": "django.db.backends.postgresql",
        **{setting: str(known.pop(key, "") or "") for key, setting in names.items()},
        "OPTIONS": {"connect_timeout": "5", **known},  # a host that does not answer would be waited for for minutes
        "CONN_MAX_AGE": 60,
        "CONN_HEALTH_CHECKS": True,
    }
