"""Errors of the REST API, all of one shape: `{"code", "message", "field"?, "errors"?}`.

`code` is for programs, `message` for people; `field` names the part of the request that was wrong (`parameters.day`),
and `errors` lists every such part where there are several.
"""

import logging
from collections.abc import Iterator
from typing import Any

from django.core.exceptions import NON_FIELD_ERRORS, RequestDataTooBig
from django.core.exceptions import ValidationError as DjangoValidationError
from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, JsonResponse, UnreadablePostError
from django.http.response import HttpResponseBase
from django.urls import Resolver404, resolve
from django.views.decorators.csrf import csrf_exempt
from rest_framework import exceptions, status
from rest_framework.response import Response
from rest_framework.views import exception_handler

from orchestrator.bodies import TooLarge
from orchestrator.refusals import NOT_STORABLE, OVERTAKEN, UNSTORABLE, is_overtaken

_CODES = {status.HTTP_403_FORBIDDEN: "permission_denied", status.HTTP_404_NOT_FOUND: "not_found"}
NO_FIELD = {NON_FIELD_ERRORS, "non_field_errors", "detail"}

_log = logging.getLogger(__name__)


class Conflict(exceptions.APIException):
    """What was asked for does not fit the state that the thing is in."""

    status_code = status.HTTP_409_CONFLICT
    default_code = "conflict"


class Busy(exceptions.APIException):
    """The database cannot be used now; the same request may be sent again."""

    status_code = status.HTTP_503_SERVICE_UNAVAILABLE
    default_code = "busy"
    default_detail = "The database cannot be used now. Try again in a moment."


def problem_response(error: Exception, context: dict[str, Any]) -> Response | None:
    """Answer with what happened, to which field and what to do next; None for what is a fault of ours."""
    if isinstance(error, DjangoValidationError) and getattr(error, "code", None) == Conflict.default_code:
        error = Conflict(error.messages[0])
    elif isinstance(error, DjangoValidationError):
        error = _as_api_error(error)
    elif isinstance(error, UnreadablePostError):
        error = exceptions.ParseError("The request did not come whole, or too slowly. Send it again.")
    elif isinstance(error, RequestDataTooBig):
        error = TooLarge("The body is too large.")
    elif isinstance(error, UNSTORABLE):
        _log.warning("A request was refused: %s", error)
        error = exceptions.ValidationError(NOT_STORABLE)
    elif is_overtaken(error):
        _log.warning("A request was overtaken", exc_info=error)
        error = Conflict(OVERTAKEN)
    elif isinstance(error, OperationalError | InterfaceError):
        _log.error("The database cannot be used: %s", error)
        error = Busy()
    response = exception_handler(error, context)
    if response is None:
        return None
    if isinstance(error, exceptions.ValidationError | Conflict):
        response.data = _validation_problem(error)
    else:
        response.data = _problem(error, response)
    return response


@csrf_exempt
def unknown_address(request: HttpRequest, **_kwargs: Any) -> HttpResponseBase:
    """Answer an address that matched nothing: as the same address with a slash, else with a problem.

    A client that leaves the slash out of a POST would otherwise be redirected and lose its body.
    """
    if not request.path_info.endswith("/"):
        try:
            match = resolve(f"{request.path_info}/")
        except Resolver404:
            pass
        else:
            if match.func is not unknown_address:
                request.resolver_match = match  # the door asks by its name
                return match.func(request, *match.args, **match.kwargs)
    message = f"There is nothing at {request.path}. The addresses are listed at /api/docs/."
    return JsonResponse({"code": "not_found", "message": message}, status=404)


def _problem(error: Exception, response: Response) -> dict[str, str]:
    detail = getattr(error, "detail", None)
    message = str(detail or (error.args[0] if error.args else "") or response.status_text)
    if isinstance(error, exceptions.NotAuthenticated):
        message = "Send a token: `Authorization: Bearer TOKEN`. `orchestrator token create NAME` makes one."
    elif isinstance(error, exceptions.UnsupportedMediaType):
        message += " Say what you send: `Content-Type: application/json`, or what /api/docs/ names."
    code = getattr(detail, "code", None) or _CODES.get(response.status_code, "error")
    if response.status_code == status.HTTP_404_NOT_FOUND and " matches the given query" in message:
        message = "There is none with this id that you may see."
    return {"code": code, "message": message}


def _validation_problem(error: exceptions.APIException) -> dict[str, Any]:
    errors = list(_flatten(error.detail, ""))
    first = errors[0] if errors else {"code": "invalid", "message": "The request is not valid."}
    return first if len(errors) < 2 else {**first, "errors": errors}


def _flatten(detail: Any, path: str) -> Iterator[dict[str, str]]:
    """Yield each message of a tree of validation errors, with the path of the field that it is about."""
    if isinstance(detail, dict):
        for key, value in detail.items():
            inner = path if key in NO_FIELD else f"{path}.{key}" if path else str(key)
            yield from _flatten(value, inner)
    elif isinstance(detail, list):
        for index, item in enumerate(detail):
            yield from _flatten(item, f"{path}.{index}" if isinstance(item, dict) else path)
    else:
        problem = {"code": getattr(detail, "code", "invalid"), "message": str(detail)}
        yield {**problem, "field": path} if path else problem


def _as_api_error(error: DjangoValidationError) -> exceptions.APIException:
    """Return what a verb refused as 400, or as 409 where it says that it is about a state (code `conflict`)."""
    codes = {part.code for part in _parts(error)}
    detail = error.message_dict if hasattr(error, "error_dict") else error.messages
    if codes != {Conflict.default_code}:
        return exceptions.ValidationError(detail)
    conflict = Conflict()
    conflict.detail = exceptions.ValidationError(detail, code=Conflict.default_code).detail
    return conflict


def _parts(error: DjangoValidationError) -> list[DjangoValidationError]:
    if hasattr(error, "error_dict"):
        return [part for parts in error.error_dict.values() for part in parts]
    return list(error.error_list)
