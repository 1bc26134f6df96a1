"""Requests that the database cannot take are refused in words, not answered as a fault of the server.

So are those that somebody else's overtook: what they are about was looked up, and was changed or deleted before it
could be locked or written.
"""

import logging
from collections.abc import Callable
from typing import Final

from django.core.exceptions import ObjectDoesNotExist
from django.db import DataError, IntegrityError
from django.db.models import ProtectedError
from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest
from django.shortcuts import render

#: PostgreSQL takes no NUL in a text and no number that its column cannot hold; a year before 1 is in no calendar.
UNSTORABLE: Final = (DataError, OverflowError)
NOT_STORABLE: Final = "A value in the request cannot be stored: a NUL character, or a number or time that is too large."
OVERTAKEN: Final = "Somebody else changed or deleted this at the same moment. Look at it, and try again."
# A row of the same key came first, or one that is pointed at went; of PostgreSQL and of SQLite.
_OVERTAKING: Final = {
    "23503", "23505", "SQLITE_CONSTRAINT_FOREIGNKEY", "SQLITE_CONSTRAINT_PRIMARYKEY", "SQLITE_CONSTRAINT_UNIQUE",
}  # fmt: skip

_log = logging.getLogger(__name__)


def is_overtaken(error: Exception) -> bool:
    """Whether an error of a request says that another one changed or deleted the same thing meanwhile."""
    if isinstance(error, ObjectDoesNotExist | ProtectedError):
        return True
    cause = error.__cause__ if isinstance(error, IntegrityError) else None
    return bool(_OVERTAKING & {getattr(cause, "sqlstate", None), getattr(cause, "sqlite_errorname", None)})


class WithoutTraceback(logging.Filter):
    """Logs the refusal of a host name as one line: anybody may send any, and where it was refused tells nothing."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Keep the record, without its exception."""
        record.msg = record.getMessage().replace("to ALLOWED_HOSTS", "to ORCHESTRATOR_ALLOWED_HOSTS")
        record.args = None
        record.exc_info = record.exc_text = None
        return True


class RefusalMiddleware:
    """Answers 400 where a page met a value that the database does not take, and 409 where it was overtaken."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        """Keep the next middleware."""
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Pass the request on."""
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        """Answer what the database refused; other errors go their way."""
        if is_overtaken(error):
            _log.warning("A request for %r was overtaken", request.path, exc_info=error)
            return render(request, "409.html", {"message": OVERTAKEN}, status=409)
        if not isinstance(error, UNSTORABLE):
            return None
        _log.warning("A request for %r was refused: %s", request.path, error)
        return HttpResponseBadRequest(NOT_STORABLE, content_type="text/plain; charset=utf-8")
