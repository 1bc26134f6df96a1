"""Requests that may be sent again: the same key with the same request is answered as it was the first time.

A key is claimed in a transaction of its own, so that others see at once that its request is being answered. What the
request does and the answer to it are then kept in one transaction: a server that is killed in between did nothing.
"""

import json
from collections.abc import Callable
from datetime import timedelta
from hashlib import sha256
from typing import Any, Final

from django.db import transaction
from django.utils import timezone
from rest_framework.exceptions import ValidationError
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from orchestrator.encryption import Unreadable, decrypt, encrypt
from orchestrator.problems import Conflict
from orchestrator.rest import TEAM
from teams.models import ApiToken, IdempotencyKey

HEADER: Final = "Idempotency-Key"
REPLAYED: Final = "Idempotency-Replayed"
MAX_KEY: Final = 200
KEPT: Final = timedelta(hours=24)
#: A request that was not answered for so long is taken to be one whose server was killed.
ABANDONED: Final = timedelta(minutes=2)
_SECRET: Final = {"Cache-Control": "no-store"}


def key_of(request: Request) -> str:
    """Return the request's key, empty without one. Raises ValidationError when it is too long or not printable."""
    key = str(request.headers.get(HEADER, "")).strip()
    if len(key) > MAX_KEY or not key.isprintable():
        raise ValidationError({HEADER: [f"Write 1 to {MAX_KEY} printable characters."]})
    return key


def answer(request: Request, key: str, handler: Callable[[], Response], *, together: bool) -> Response:
    """Answer a request that has a key: as the first time, or by doing what it asks for.

    Args:
        together: Whether what it does and its answer are kept in one transaction; else what it does has transactions
            of its own, and its answer follows them.

    Raises:
        Conflict: The key belongs to another request, or to one that is being answered now.
    """
    claimed, is_new = _claim(_caller(request), key, _fingerprint(request))
    if not is_new:
        return _replayed(claimed)
    try:
        if together:
            with transaction.atomic():
                response = handler()
                if response.status_code >= 400:
                    transaction.set_rollback(True)
                else:
                    _keep(claimed, response)
        else:
            response = handler()
            if response.status_code < 400:
                _keep(claimed, response)
    except BaseException:
        _ours(claimed).delete()
        raise
    if response.status_code >= 400:
        _ours(claimed).delete()
    return response


def sweep() -> int:
    """Forget answers that are older than `KEPT`; return how many (one DELETE, index on `created_at`)."""
    return IdempotencyKey.objects.filter(created_at__lt=timezone.now() - KEPT).delete()[0]


def _claim(caller: str, key: str, fingerprint: str) -> tuple[IdempotencyKey, bool]:
    """Return the key's row, and whether its request is to be answered now. Raises Conflict."""
    row, is_new = IdempotencyKey.objects.get_or_create(caller=caller, key=key, defaults={"request": fingerprint})
    if is_new:
        return row, True
    now = timezone.now()
    if row.created_at < now - KEPT:
        return row, _take_over(row, fingerprint)
    if row.request != fingerprint:
        raise Conflict(f"“{key}” was sent with another request. Use a new key.", "idempotency_key_reused")
    if row.status is not None:
        return row, False
    if row.created_at < now - ABANDONED:
        return row, _take_over(row, fingerprint)
    raise _in_progress()


def _take_over(row: IdempotencyKey, fingerprint: str) -> bool:
    """Begin anew with a row, by compare-and-set. Raises Conflict where another request was first."""
    now = timezone.now()
    if not _ours(row).update(created_at=now, request=fingerprint, status=None, body=None):
        raise _in_progress()
    row.created_at = now
    return True


def _in_progress() -> Conflict:
    return Conflict("The first request with this key is still being answered. Ask again in a moment.", "in_progress")


def _ours(row: IdempotencyKey) -> Any:
    """The row, as long as nobody else has taken it over."""
    return IdempotencyKey.objects.filter(pk=row.pk, created_at=row.created_at)


def _keep(row: IdempotencyKey, response: Response) -> None:
    body = json.loads(JSONRenderer().render(response.data) or b"null")
    kept = {"secret": encrypt(body)} if response.headers.get("Cache-Control") == "no-store" else {"data": body}
    if not _ours(row).update(status=response.status_code, body=kept):
        raise _in_progress()


def _replayed(row: IdempotencyKey) -> Response:
    kept: Any = row.body
    headers = {REPLAYED: "true"}
    if "secret" not in kept:
        return Response(kept["data"], status=row.status, headers=headers)
    try:
        return Response(decrypt(kept["secret"]), status=row.status, headers={**headers, **_SECRET})
    except Unreadable as error:
        raise Conflict(f"The first answer cannot be read any more. {error}", "answer_lost") from None


def _caller(request: Request) -> str:
    """Whose key it is: the token's own, so that no token is answered what was made with another."""
    if isinstance(request.auth, ApiToken):
        return f"token {request.auth.pk}"
    attempt = getattr(request.user, "attempt", None)
    return f"run {attempt.flow_run_id}" if attempt is not None else f"user {request.user.pk}"


def _fingerprint(request: Request) -> str:
    said = json.dumps(request.data, sort_keys=True, default=str)
    team = request.headers.get(TEAM, "")
    return sha256("\n".join([str(request.method), request.get_full_path(), team, said]).encode()).hexdigest()
