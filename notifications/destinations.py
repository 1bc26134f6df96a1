"""Verbs on destinations, and finding one by what a person writes. Called through `notifications.actions`."""

import logging
from collections.abc import Iterator
from difflib import get_close_matches
from itertools import count
from typing import Any, Final

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.utils import timezone

from notifications import bells, composing, failing
from notifications.models import Delivery, Destination, Message
from notifications.transports import TRANSPORTS, Answer, Transport, transport
from orchestrator.encryption import Secret, Unreadable
from teams.models import Team, User
from teams.rights import Level
from teams.verbs import verb

MAX_NAME: Final = 100
MAX_ADDRESS: Final = 2_000
MAX_ANSWER: Final = 500
_COMPARED: Final = 200  # destinations of a kind, newest first, among which an address is looked for

_log = logging.getLogger(__name__)


@verb("destination.create", Level.EDIT)
def create_destination(
    team: Team, *, user: User | None, name: str = "", kind: str, address: str, secret: str = ""
) -> tuple[Destination, str]:
    """Make a destination.

    Args:
        name: What people call it; by default its kind and its address without secrets.
        kind: Of `TRANSPORTS`.
        address: As its transport takes it: a web address, a mail address.
        secret: What messages are signed with, where its kind does that.

    Returns:
        The destination, and what is shown now and never again (a secret that was made); empty for nothing.

    Raises:
        ValidationError: By `name`, `kind`, `address` or `secret`.
    """
    sender = checked_kind(kind)
    if problem := sender.unavailable():
        raise ValidationError({"kind": problem})
    config = sender.parse(_checked_text("address", address), _checked_text("secret", secret))
    summary = sender.summary(config)
    free = checked_name(name) if name else _free_name(team, f"{sender.label} {_short(summary)}")
    try:
        with transaction.atomic():
            made = Destination.objects.create(
                team=team, name=free, kind=sender.kind, config=Secret.of(config), summary=summary[:200], created_by=user
            )
    except IntegrityError:
        raise _taken(free) from None
    return made, sender.shown_once(config)


@verb("destination.change", Level.EDIT)
def change_destination(
    destination: Destination,
    *,
    user: User | None,
    name: str | None = None,
    address: str | None = None,
    secret: str | None = None,
) -> tuple[Destination, str]:
    """Change what is given; an address or a secret that is empty stays as it is. A new one begins with no failures.

    Returns:
        The destination, and what is shown now and never again: a new secret; empty where it stayed.

    Raises:
        ValidationError: By `name`, `address` or `secret`.
    """
    changes: dict[str, Any] = {} if name is None else {"name": checked_name(name)}
    once = ""
    if address or secret:
        sender = checked_kind(destination.kind)
        old = _revealed(destination)
        config = _changed_config(old, sender, address or "", secret or "")
        changes |= {"config": Secret.of(config), "summary": sender.summary(config)[:200]}
        changes |= {"failures": 0, "refusals": 0, "failing_since": None, "retry_at": None}
        once = sender.shown_once(config) if config.get("secret") != old.get("secret") else ""
    with transaction.atomic():
        try:
            with transaction.atomic():
                Destination.objects.filter(pk=destination.pk).update(**changes)
        except IntegrityError:
            raise _taken(changes["name"]) from None
        destination.refresh_from_db()
        bells.ring([destination.pk])
    return destination, once


@verb("destination.pause", Level.EDIT)
def pause_destination(destination: Destination, *, user: User | None) -> Destination:
    """Send nothing there any more; what comes up waits until it is resumed."""
    Destination.objects.filter(pk=destination.pk, paused_at=None).update(paused_at=timezone.now())
    destination.refresh_from_db()
    return destination


@verb("destination.resume", Level.EDIT)
def resume_destination(destination: Destination, *, user: User | None) -> Destination:
    """Send there again, what waited first; failures before are forgotten."""
    with transaction.atomic():
        failing.clear(destination.pk)
        destination.refresh_from_db()
        bells.ring([destination.pk])
    return destination


@verb("destination.delete", Level.EDIT)
def delete_destination(destination: Destination, *, user: User | None) -> None:
    """Delete a destination, and with it what waits to be sent there. What was sent stays on the record."""
    with transaction.atomic():
        drop_waiting(destination=destination)
        Destination.objects.filter(pk=destination.pk).delete()


@verb("destination.dismiss_notice", Level.EDIT)
def dismiss_notice(destination: Destination, *, user: User | None) -> Destination:
    """Take the notice that it was paused since it kept failing off the site."""
    Destination.objects.filter(pk=destination.pk, notice_dismissed_at=None).update(notice_dismissed_at=timezone.now())
    destination.refresh_from_db()
    return destination


@verb("destination.test", Level.EDIT, always=True, atomic=False)
def test_destination(destination: Destination, *, user: User | None) -> Answer:
    """Send a test there now, whatever its state, and return what the service said. Nothing else waits for it.

    The answer is kept as its last one. A destination that was given up stays paused: somebody resumes it.
    """
    return tested(destination, send_now(destination, composing.test_content(destination)))


def tested(destination: Destination, answer: Answer) -> Answer:
    """Keep the answer to a test; says so where a destination that was given up can be resumed."""
    Destination.objects.filter(pk=destination.pk).update(
        last_answer=answer.text[:MAX_ANSWER], last_answer_at=timezone.now()
    )
    destination.refresh_from_db()
    if answer.ok and destination.gave_up:
        text = f"{answer.text} (It answers again: resume it, and what waits is sent.)"
        return Answer(ok=True, text=text[:MAX_ANSWER])
    return answer


def send_now(destination: Destination, content: Any) -> Answer:
    """Send a message in this thread, at most `TOTAL_SECONDS`; touches no database."""
    try:
        return transport(destination.kind).send(destination.config.reveal(), content)
    except Unreadable as error:
        return Answer(ok=False, text=f"Its address cannot be read. {error}"[:MAX_ANSWER], is_final=True)
    except Exception as error:  # a transport's fault: a person who tests wants to see that it failed
        _log.exception("The test of the destination %s could not be sent", destination.pk)
        return Answer(ok=False, text=f"This server could not send it: {type(error).__name__}. Its log says more.")


def parse_to(text: str) -> tuple[str, str]:
    """Return the kind and the address of a destination as it is written: `slack:https://…`, `discord://…`.

    Raises:
        ValidationError: By `to`: what to write.
    """
    text = text.strip() if isinstance(text, str) else ""
    prefix, colon, rest = text.partition(":")
    kind = prefix.lower()
    if colon and kind in TRANSPORTS and rest and not rest.startswith("//"):
        return kind, rest.strip()
    if kind == "mailto" and rest and not rest.startswith("//"):
        return "email", rest
    if kind in {"http", "https"} and rest.startswith("//"):
        if rest.startswith(("//hooks.slack.com/", "//hooks.slack-gov.com/")):
            return "slack", text
        raise ValidationError({"to": f"Say what answers there: slack:{text} or webhook:{text}."})
    if colon and rest.startswith("//") and len(rest) > 2:
        return "apprise", text
    if not colon and "@" in text and " " not in text:
        return "email", text
    raise ValidationError({"to": _how_to_write(text, kind if colon else "")})


def destination_for(team: Team, *, user: User | None, to: str) -> tuple[Destination, str]:
    """Return the destination that somebody means: of this name, else of this address, else made now.

    Returns:
        The destination, and what is shown now and never again; empty where it was there already.

    Raises:
        ValidationError: By `to`.
    """
    if found := Destination.objects.filter(team=team, name=to.strip()).first():
        return found, ""
    try:
        kind, address = parse_to(to)
    except ValidationError as error:
        raise error if "://" in to else _no_destination(team, to) from None
    try:
        if found := _with_address(team, kind, address):
            return found, ""
        return create_destination(team, user=user, kind=kind, address=address)
    except ValidationError as error:
        raise ValidationError({"to": error.messages}) from None


def drop_waiting(**of: Any) -> None:
    """Delete what waits to be gathered or sent of a policy or to a destination; call it within a transaction."""
    Delivery.objects.filter(**of, due_at__isnull=False).delete()
    waiting = Message.objects.filter(**of, state=Message.State.WAITING)
    Delivery.objects.filter(message__in=waiting).delete()
    waiting.delete()


def checked_kind(kind: Any) -> Transport:
    """Return the transport of a kind. Raises ValidationError (`kind`)."""
    if not isinstance(kind, str) or kind.lower() not in TRANSPORTS:
        near = get_close_matches(str(kind).lower(), TRANSPORTS, n=1)
        meant = f" Did you mean “{near[0]}”?" if near else ""
        raise ValidationError(
            {"kind": f"“{kind}” is no kind of destination.{meant} Write one of {', '.join(TRANSPORTS)}."}
        )
    return transport(kind.lower())


def checked_name(name: Any) -> str:
    """Return a name without surrounding white space. Raises ValidationError (`name`)."""
    if not isinstance(name, str) or not name.strip() or len(name.strip()) > MAX_NAME or not name.isprintable():
        raise ValidationError({"name": f"Write a name of 1 to {MAX_NAME} printable characters."})
    return name.strip()


def free_names(name: str) -> Iterator[str]:
    """Yield this name, then `name 2`, `name 3` …, each of at most `MAX_NAME` characters."""
    name = "".join(character for character in name if character.isprintable()).strip()
    yield name[:MAX_NAME]
    for number in count(2):
        yield f"{name[: MAX_NAME - 6]} {number}"


def _short(summary: str) -> str:
    """`hooks.slack.com/services/T0/B0` of `https://hooks.slack.com/services/T0/B0/…`."""
    return (summary.partition("://")[2] or summary).removesuffix("…").rstrip("/")


def _free_name(team: Team, name: str) -> str:
    start = name.strip()[: MAX_NAME - 6]
    taken = set(Destination.objects.filter(team=team, name__startswith=start[:50]).values_list("name", flat=True))
    return next(one for one in free_names(name) if one not in taken)


def _revealed(destination: Destination) -> dict[str, Any]:
    """Its config; empty where it was stored under a key that is gone."""
    try:
        config: dict[str, Any] = destination.config.reveal()
    except Unreadable:
        return {}
    return config


def _changed_config(old: dict[str, Any], sender: Transport, address: str, secret: str) -> dict[str, Any]:
    """A config with another address, another secret, or both; a secret is kept under `secret`, its address as `url`."""
    if not address and not old:
        raise ValidationError({"address": str(Unreadable())})
    if not address and "secret" not in old:
        raise ValidationError({"secret": f"A destination of the kind {sender.label} has no secret of its own."})
    kept = _checked_text("secret", secret) or old.get("secret", "")
    return sender.parse(_checked_text("address", address) or old["url"], kept)


def _with_address(team: Team, kind: str, address: str) -> Destination | None:
    """The destination with this address; what it signs with does not count (reads at most `_COMPARED`)."""
    wanted = _without_secret(checked_kind(kind).parse(_checked_text("address", address)))
    for found in Destination.objects.filter(team=team, kind=kind).order_by("-id")[:_COMPARED]:
        if _without_secret(_revealed(found)) == wanted:
            return found
    return None


def _without_secret(config: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in config.items() if name != "secret"}


def _checked_text(field: str, value: Any) -> str:
    if not isinstance(value, str) or "\0" in value or len(value) > MAX_ADDRESS:
        raise ValidationError({field: f"Write a text of at most {MAX_ADDRESS:,} characters."})
    return value.strip()


def _taken(name: str) -> ValidationError:
    return ValidationError({"name": f"There is a destination called “{name}” already. Choose another name."})


def _how_to_write(text: str, prefix: str) -> str:
    near = get_close_matches(prefix, TRANSPORTS, n=1) if prefix else []
    meant = f" Did you mean “{near[0]}:…”?" if near else ""
    return (
        f"“{text[:100]}” cannot be read.{meant} Write slack:https://hooks.slack.com/…, email:name@example.com,"
        " webhook:https://…, or an Apprise address such as discord://…."
    )


def _no_destination(team: Team, to: str) -> ValidationError:
    """What to say of a text that is neither a name nor an address."""
    names = Destination.objects.filter(team=team).order_by("name").values_list("name", flat=True)[:_COMPARED]
    by_lower = {name.lower(): name for name in names}
    if near := get_close_matches(to.strip().lower(), by_lower, n=1):
        return ValidationError({"to": f"There is no destination “{to[:100]}”; did you mean “{by_lower[near[0]]}”?"})
    prefix, colon, _ = to.strip().partition(":")
    return ValidationError({"to": _how_to_write(to.strip(), prefix.lower() if colon else "")})
