"""What the forms of people's pages share: what was wrong, by field, and a secret that the next page shows once."""

from typing import Any

from django.core.exceptions import NON_FIELD_ERRORS, ValidationError
from django.http import HttpRequest

from orchestrator.encryption import Unreadable, decrypt, encrypt

_KEY = "made_once"


def wrong_of(error: ValidationError) -> dict[str, Any]:
    """Return what the form page shows of a refusal: `wrong`, by field; `errors`, all of it."""
    found = error.message_dict if hasattr(error, "error_dict") else {NON_FIELD_ERRORS: error.messages}
    return {"wrong": found, "errors": [said for messages in found.values() for said in messages]}


def keep_once(request: HttpRequest, title: str, secret: str, words: str) -> None:
    """Have the next page of this person show a secret, which is kept encrypted until then."""
    request.session[_KEY] = encrypt({"title": title, "secret": secret, "words": words})


def take_once(request: HttpRequest) -> dict[str, str] | None:
    """Return what is to be shown, and forget it."""
    kept = request.session.pop(_KEY, None)
    try:
        return decrypt(kept) if kept else None
    except Unreadable:
        return None
