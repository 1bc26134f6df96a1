"""Answers that are sent beside Django, by ASGI applications of their own, since they stay open for long.

They hold no thread of the site, and take one of their own only to ask the database.
"""

import io
import json
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from asgiref.sync import sync_to_async
from django.core.exceptions import DisallowedHost
from django.core.handlers.asgi import ASGIRequest
from django.db import InterfaceError, OperationalError, connection
from rest_framework import exceptions
from rest_framework.request import Request

from orchestrator.problems import Busy, problem_response
from runs.authentication import RunTokenAuthentication
from teams.authentication import TokenAuthentication

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

log = logging.getLogger(__name__)


def authenticated(scope: Message) -> Request:
    """Return the request with its user (one query). Raises APIException for nobody, and where the host is not ours."""
    plain = ASGIRequest(scope, io.BytesIO())
    request = Request(plain, authenticators=[RunTokenAuthentication(), TokenAuthentication()])
    request.scope = scope
    try:
        plain.get_host()
        if not request.user.is_authenticated:
            raise exceptions.NotAuthenticated
    except DisallowedHost:
        raise exceptions.ParseError("ORCHESTRATOR_ALLOWED_HOSTS does not name this host.") from None
    except (OperationalError, InterfaceError) as error:
        log.error("The database cannot be used: %s", error)
        raise Busy from None
    return request


async def in_thread(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function that asks the database."""
    # Not the one thread that Django's asynchronous code shares: streams would wait for each other.
    return await sync_to_async(_with_its_connection, thread_sensitive=False)(function, *arguments)


def _with_its_connection(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function and let the database go: streams ask seldom, and many of them would keep a connection each."""
    try:
        return function(*arguments)
    finally:
        connection.close()


async def start(send: Send, status: int, kind: str) -> None:
    """Begin an answer that nobody may keep or hold back."""
    headers = [(b"content-type", kind.encode()), (b"cache-control", b"no-store"), (b"x-accel-buffering", b"no")]
    await send({"type": "http.response.start", "status": status, "headers": headers})


async def refuse(send: Send, error: Exception) -> None:
    """Answer as the API does what it raises: APIException, and errors of a database that is away."""
    response = problem_response(error, {})
    assert response is not None
    await start(send, response.status_code, "application/json")
    await send({"type": "http.response.body", "body": json.dumps(response.data).encode()})


async def disconnected(receive: Receive) -> None:
    """Wait until who asked went away."""
    while (await receive())["type"] != "http.disconnect":
        pass
