"""Mail, through the server that ORCHESTRATOR_EMAIL_URL names.

smtplib rather than Django's backend, which keeps the server's answers to itself: what it said to the message, and to
each recipient whom it refused.
"""

import contextlib
import smtplib
import socket
import ssl
from collections.abc import Sequence
from email.message import EmailMessage
from email.policy import SMTP as SMTP_POLICY
from email.utils import formatdate, parseaddr
from functools import cache
from typing import Any, ClassVar

import certifi
from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.mail.utils import DNS_NAME
from django.core.validators import validate_email
from django.template.loader import render_to_string

from notifications import outgoing
from notifications.content import Content
from notifications.time_limits import Overdue, within
from notifications.transports.base import Answer, Transport
from notifications.transports.wording import answer_text, clean, cut, one_line

MAX_ADDRESSES = 20
_TEXT_CHARACTERS = 20_000
_COLOURS = {"bad": "#c8402f", "warning": "#b07d1a", "good": "#1d8a5f", "neutral": "#5b7ca8"}


class EmailTransport(Transport):
    """Sends one mail to one address, or to several."""

    kind: ClassVar[str] = "email"
    label: ClassVar[str] = "Email"
    address_label: ClassVar[str] = "Addresses"
    address_help: ClassVar[str] = "data-team@example.com; several are separated by commas."
    icon: ClassVar[str] = "mail"

    def unavailable(self) -> str:
        """Without a mail server."""
        if settings.EMAIL_HOST:
            return ""
        return (
            "This server cannot send mail yet: start it with"
            " ORCHESTRATOR_EMAIL_URL=smtp://user:password@smtp.example.com:587/?from=orchestrator@example.com."
        )

    def parse(self, address: str, secret: str = "") -> dict[str, Any]:
        """Take addresses, separated by commas, semicolons or white space."""
        found = list(dict.fromkeys(_ascii(part) for part in address.replace(",", " ").replace(";", " ").split()))
        if not found:
            raise ValidationError({"address": "Write a mail address like data-team@example.com."})
        if len(found) > MAX_ADDRESSES:
            raise ValidationError({"address": f"Write {MAX_ADDRESSES} addresses at most; a mailing list takes more."})
        for one in found:
            try:
                validate_email(one)
            except ValidationError:
                raise ValidationError(
                    {"address": f"{cut(one, 100)} is no mail address; write one like data-team@example.com."}
                ) from None
        return {"to": found}

    def summary(self, config: dict[str, Any]) -> str:
        """The addresses."""
        return cut(", ".join(config["to"]), 200)

    def send(self, config: dict[str, Any], content: Content) -> Answer:
        """Send one mail. It is sent where the server took it for one of the addresses; the answer names the others."""
        if not settings.EMAIL_HOST:
            return Answer(ok=False, text=self.unavailable())
        return handed_over(mail(content, config["to"]), config["to"])


def handed_over(message: EmailMessage, to: Sequence[str]) -> Answer:
    """Give a mail to the server and return what it said, within `outgoing.TOTAL_SECONDS`. Raises nothing."""
    total_seconds = outgoing.TOTAL_SECONDS
    handing_over = _HandingOver(message, to)
    secrets = [settings.EMAIL_HOST_PASSWORD] if settings.EMAIL_HOST_PASSWORD else []
    try:
        answer = within(total_seconds, handing_over.run, handing_over.stop)
    except Overdue:
        answer = Answer(ok=False, text=f"The mail server did not answer within {total_seconds:g} seconds.")
    except Exception as error:  # a network begins here
        answer = _of_error(error)
    return Answer(ok=answer.ok, text=answer_text(answer.text, secrets), is_final=answer.is_final)


def mail(content: Content, to: Sequence[str]) -> EmailMessage:
    """Return the mail. Its Message-ID is made of the message's id, by which mailboxes know what they have."""
    message = EmailMessage(policy=SMTP_POLICY)
    message["Subject"] = one_line(content.title or content.text, 200)
    message["From"] = settings.DEFAULT_FROM_EMAIL
    message["To"] = ", ".join(to)
    message["Date"] = formatdate()
    message["Message-ID"] = f"<{content.id}@{parseaddr(settings.DEFAULT_FROM_EMAIL)[1].rpartition('@')[2]}>"
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: no out-of-office answers
    message["X-Auto-Response-Suppress"] = "All"  # the same in Exchange's words
    context = {
        "title": one_line(content.title, 200),
        "text": clean(cut(content.text, _TEXT_CHARACTERS)),
        "items": [
            {"text": one_line(item.text, 300), "count": f"{item.count:,}", "url": item.url} for item in content.items
        ],
        "log_lines": [clean(cut(line, 300)) for line in content.log_lines],
        "url": content.url,
        "url_label": content.url_label or "Open",
        "colour": _COLOURS[content.tone],
    }
    message.set_content(_plain(context))
    message.add_alternative(render_to_string("notifications/mail.html", context), subtype="html")
    return message


class _Connection(smtplib.SMTP):
    """Keeps what the server said to the message itself, which smtplib drops; known to its owner before it connects."""

    def __init__(self, owner: "_HandingOver", **how: Any) -> None:
        self.said = ""
        owner.connection = self
        super().__init__(**how)

    def data(self, msg: Any) -> tuple[int, bytes]:
        code, words = super().data(msg)
        self.said = _said(code, words)
        return code, words


class _SecureConnection(_Connection, smtplib.SMTP_SSL):
    """The same with TLS from the first byte on."""


class _HandingOver:
    """One conversation with the mail server."""

    def __init__(self, message: EmailMessage, to: Sequence[str]) -> None:
        self._message = message
        self._to = to
        self.connection: _Connection | None = None

    def run(self) -> Answer:
        """Do it. Raises what smtplib and the network raise."""
        connection = self._connected()
        try:
            if settings.EMAIL_USE_TLS:
                connection.starttls(context=_tls())
            if settings.EMAIL_HOST_USER:
                connection.login(settings.EMAIL_HOST_USER, settings.EMAIL_HOST_PASSWORD)
            sender = parseaddr(settings.DEFAULT_FROM_EMAIL)[1]
            # not send_message, which writes mbox's ">From" into texts
            refused = connection.sendmail(sender, self._to, self._message.as_bytes())
        finally:
            with contextlib.suppress(smtplib.SMTPException, OSError):
                connection.quit()
            connection.close()
        return Answer(ok=True, text="; ".join([connection.said or "Taken.", *_refusals(refused)]))

    def _connected(self) -> _Connection:
        kind, how = (_SecureConnection, {"context": _tls()}) if settings.EMAIL_USE_SSL else (_Connection, {})
        return kind(
            self,
            host=settings.EMAIL_HOST,
            port=settings.EMAIL_PORT,
            local_hostname=DNS_NAME.get_fqdn(),  # once a process: without DNS it takes seconds
            timeout=settings.EMAIL_TIMEOUT,
            **how,
        )

    def stop(self) -> None:
        """End every wait of the thread that runs it."""
        sock = self.connection.sock if self.connection else None
        if sock is not None:
            with contextlib.suppress(OSError):
                socket.socket.shutdown(sock, socket.SHUT_RDWR)


def _of_error(error: Exception) -> Answer:
    match error:
        case smtplib.SMTPRecipientsRefused():
            codes = [code for code, _ in error.recipients.values()]
            is_final = bool(codes) and all(code >= 500 for code in codes)
            return Answer(ok=False, text="; ".join(_refusals(error.recipients)), is_final=is_final)
        case smtplib.SMTPAuthenticationError() | smtplib.SMTPConnectError() | smtplib.SMTPHeloError():
            # the server's owner can put that right; the message is none the worse
            return Answer(ok=False, text=_said(error.smtp_code, error.smtp_error))
        case smtplib.SMTPResponseException():
            return Answer(ok=False, text=_said(error.smtp_code, error.smtp_error), is_final=error.smtp_code >= 500)
        case smtplib.SMTPServerDisconnected():
            return Answer(ok=False, text="The mail server closed the connection without an answer.")
        case smtplib.SMTPNotSupportedError():
            return Answer(ok=False, text=f"The mail server: {error}")
        case ssl.SSLCertVerificationError():
            return Answer(ok=False, text=f"The mail server's certificate is not valid ({error.verify_message}).")
        case socket.gaierror():
            return Answer(ok=False, text=f"{settings.EMAIL_HOST}: there is no host of this name.")
        case TimeoutError():
            return Answer(ok=False, text="The mail server did not answer in time.")
        case OSError():
            place = f"{settings.EMAIL_HOST}:{settings.EMAIL_PORT}"
            return Answer(ok=False, text=f"The mail server {place} cannot be reached ({error.strerror or error}).")
    return Answer(ok=False, text=f"Sending mail failed ({type(error).__name__}).")


def _refusals(refused: dict[str, tuple[int, bytes]]) -> list[str]:
    return [f"{address}: {_said(code, words)}" for address, (code, words) in refused.items()]


def _said(code: int, words: bytes | str) -> str:
    text = words.decode(errors="replace") if isinstance(words, bytes) else words
    return f"{code} {text}" if code > 0 else text


def _plain(context: dict[str, Any]) -> str:
    items = [f"- {item['count']} × {item['text']}\n  {item['url']}".rstrip() for item in context["items"]]
    parts = [
        context["text"] or context["title"],
        "\n".join(items),
        "\n".join(f"    {line}" for line in context["log_lines"]),
        f"{context['url_label']}: {context['url']}" if context["url"] else "",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _ascii(address: str) -> str:
    """Write its domain as the name system knows it; what cannot be is left for the check."""
    name, at, domain = address.rpartition("@")
    with contextlib.suppress(UnicodeError):
        domain = domain.encode("idna").decode()
    return name + at + domain


@cache
def _tls() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.load_verify_locations(certifi.where())
    return context
