"""Requests that the database cannot take are refused in words, not answered as a fault of the server."""

import logging
from collections.abc import Callable
from typing import Final

from django.db import DataError
from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest

#: PostgreSQL takes no NUL in a text and no number that its column cannot hold; a year before 1 is in no calendar.
UNSTORABLE: Final = (DataError, OverflowError)
NOT_STORABLE: Final = "A value in the request cannot be stored: a NUL character, or a number or time that is too large."

_log = logging.getLogger(__name__)


class WithoutTraceback(logging.Filter):
    """Logs the refusal of a host name as one line: anybody may send any, and where it was refused tells nothing."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Keep the record, without its exception."""
        record.msg = record.getMessage().replace("to ALLOWED_HOSTS", "to ORCHESTRATOR_ALLOWED_HOSTS")
        record.args = None
        record.exc_info = record.exc_text = None
        return True


class RefusalMiddleware:
    """Answers 400 where a page met a value of the request that the database does not take."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        """Keep the next middleware."""
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Pass the request on."""
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        """Answer what the database refused; other errors go their way."""
        if not isinstance(error, UNSTORABLE):
            return None
        _log.warning("A request for %r was refused: %s", request.path, error)
        return HttpResponseBadRequest(NOT_STORABLE, content_type="text/plain; charset=utf-8")
