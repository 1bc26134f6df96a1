"""Every service that Apprise knows, by its URL. Apprise itself runs in a process of its own (`apprise_child`)."""

import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import unquote

from django.conf import settings
from django.core.exceptions import ValidationError

from notifications import outgoing
from notifications.content import Content
from notifications.transports.base import Answer, Transport
from notifications.transports.http import is_final
from notifications.transports.wording import answer_text, clean, cut, one_line

START_SECONDS = 5.0  # an interpreter and Apprise: 0.3 s, and 1 s with all plugins; much longer on a busy machine
_CHILD = Path(__file__).with_name("apprise_child.py")
_MAX_URL = 2_000
_TEXT_CHARACTERS = 4_000
_STATUS = re.compile(r"\berror\s*[=:]\s*(\d{3})\b")
# What a process needs to run at all, and a company's own authorities. Nothing of ours; no proxies.
_ENVIRONMENT = ("PATH", "LANG", "LC_ALL", "TZ", "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE")


class AppriseTransport(Transport):
    """Sends through an Apprise URL."""

    kind: ClassVar[str] = "apprise"
    label: ClassVar[str] = "Another service (Apprise)"
    address_label: ClassVar[str] = "Apprise URL"
    address_help: ClassVar[str] = (
        "discord://…, workflows://…, tgram://…, ntfy://… and over a hundred more: appriseit.com/services tells how to"
        " write each."
    )
    icon: ClassVar[str] = "bell-ring"

    def unavailable(self) -> str:
        """Without the library, and on systems without limits for processes."""
        if sys.platform == "win32":
            return "Apprise's services are for servers on Linux and macOS."
        return "" if importlib.util.find_spec("apprise") else "The library apprise is missing: pip install apprise."

    def parse(self, address: str, secret: str = "") -> dict[str, Any]:
        """Take an Apprise URL, or a URL of a service that Apprise recognizes."""
        url = address.strip()
        if (
            not re.match(r"[a-z][a-z0-9+.-]*://", url, re.IGNORECASE)
            or len(url) > _MAX_URL
            or re.search(r"[\x00-\x20]", url)
        ):
            raise ValidationError({"address": "Write one Apprise URL like discord://webhook-id/webhook-token."})
        found = _child({"do": "check", "url": url})
        if "plugin" not in found:
            raise ValidationError({"address": answer_text(_why_not(found), _secrets(url, ""))})
        return {"url": url, **found}

    def summary(self, config: dict[str, Any]) -> str:
        """The service, and its host where it has one: most URLs are all secret."""
        return one_line(f"{config['service']}: {config['schema']}://{config['host']}/…".replace("///…", "//…"), 200)

    def send(self, config: dict[str, Any], content: Content) -> Answer:
        """Start a process that sends it; that start can take `START_SECONDS` more than the limit of all transports."""
        secrets = _secrets(config["url"], config["host"])
        request = {
            "do": "send",
            "url": config["url"],
            "plugin": config["plugin"],
            "title": one_line(content.title, 200),
            "body": body(content),
            "tone": content.tone,
        }
        done = _child(request)
        ok = bool(done.get("ok"))
        text = done.get("refused") or done.get("words") or ("Sent." if ok else f"{config['service']} took it not.")
        status = _STATUS.search(text)
        is_refused = bool(done.get("refused")) or (status is not None and is_final(int(status[1])))
        return Answer(ok=ok, text=answer_text(text, secrets), is_final=not ok and is_refused)


def body(content: Content) -> str:
    """Return the text. What counts comes first: services cut long texts at their end."""
    parts = [
        clean(cut(content.text, _TEXT_CHARACTERS)),
        "\n".join(f"- {item.count:,} × {one_line(item.text, 150)} {item.url}".rstrip() for item in content.items),
        f"{content.url_label or 'Open'}: {content.url}" if content.url else "",
        "\n".join(one_line(line, 300) for line in content.log_lines),
    ]
    return "\n\n".join(part for part in parts if part)


def _child(request: dict[str, Any]) -> dict[str, Any]:
    """Return what the child says, or in `words` why it does not.

    The request goes by a pipe: a command line is for everybody on the machine to read.
    """
    seconds = outgoing.TOTAL_SECONDS
    request |= {
        "path": [entry for entry in sys.path if entry],
        "allow_private": settings.ALLOW_PRIVATE_ADDRESSES,
        "start_seconds": START_SECONDS,
        "seconds": seconds,
    }
    try:
        code, output = _run(json.dumps(request).encode(), START_SECONDS + seconds)
    except OSError as error:
        return {"words": f"Apprise could not be started ({error.strerror})."}
    if code in {None, -signal.SIGALRM, -signal.SIGXCPU}:
        return {"words": f"No answer within {seconds:g} seconds."}
    try:
        said: dict[str, Any] = json.loads(output)
    except ValueError:
        return {"words": f"Apprise ended without an answer ({code})."}
    return said


def _run(stdin: bytes, seconds: float) -> tuple[int | None, bytes]:
    """Run the child, and return its exit code (None: it was killed for its time) and what it said. Raises OSError."""
    environment = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
    with subprocess.Popen(
        [sys.executable, "-I", "-B", str(_CHILD)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**environment, "HOME": "/nonexistent"},
        cwd="/",
        start_new_session=True,
    ) as process:
        try:
            output, _ = process.communicate(stdin, timeout=seconds)
        except subprocess.TimeoutExpired:
            return None, b""
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
    return process.returncode, output


def _why_not(found: dict[str, Any]) -> str:
    service, schema = found.get("service", ""), found.get("schema", "")
    match found.get("error"):
        case "unknown":
            close = f" Did you mean {' or '.join(found['close'])}?" if found["close"] else ""
            return f"Apprise knows no {schema}://.{close} appriseit.com/services lists what it knows."
        case "local":
            return f"{schema}:// acts on the server itself and is not allowed."
        case "missing":
            return f"{service} needs a library that this server does not have: pip install '{found['needed']}'."
        case "native":
            return (
                "Apprise does not recognize this web address; a webhook of your own is a destination of kind webhook."
            )
        case "unreadable":
            words = f" It says: {found['words']}" if found.get("words") else ""
            url = f"{service or schema + '://'} URL"
            return f"Apprise cannot read this {url}; appriseit.com/services shows its form.{words}"
    return f"Apprise could not look at this URL. {found.get('words', '')}".strip()


def _secrets(url: str, host: str) -> list[str]:
    """Return every part of a URL but its host: which part is a secret, each service has its own way."""
    parts = [part for part in re.split(r"[/:@?&=#,]+", url.partition("://")[2]) if len(part) > 3]
    return [form for part in parts for form in {part, unquote(part)} if host not in {part, form}]
