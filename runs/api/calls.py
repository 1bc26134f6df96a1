"""REST: task runs that a flow run has executed by Celery's workers (`runs.calls`). Only a run's own token may ask."""

from typing import Any

import msgspec
from django.http import HttpResponse
from drf_spectacular.utils import OpenApiParameter, OpenApiTypes, extend_schema
from kombu.exceptions import KombuError
from rest_framework import exceptions, status
from rest_framework.parsers import BaseParser
from rest_framework.request import Request
from rest_framework.response import Response

from orchestrator.api_views import ApiView
from orchestrator.bodies import read_bounded
from orchestrator.problems import Busy
from orchestrator.sdk.runners.call_wire import (
    MAX_BODY,
    MAX_CALLS,
    MAX_IDS,
    MAX_MESSAGE,
    MAX_MESSAGES,
    MAX_PAYLOAD,
    MEDIA_TYPE,
    PART,
    Exchange,
    decode_exchange,
    encode,
)
from orchestrator.telling import has_broker
from runs.calls import sending
from runs.calls.keys import LINE

MAX_REQUEST: int = 2 * MAX_BODY
_MAX_ID = 100
_DIGEST = 32
AWAY = "The broker cannot be reached now. Ask again in a moment."


class MessagePackParser(BaseParser):
    """MessagePack, handed on as it came."""

    media_type = MEDIA_TYPE

    def parse(self, stream: Any, media_type: str | None = None, parser_context: dict[str, Any] | None = None) -> bytes:
        """Return the body. Raises TooLarge."""
        return read_bounded(stream, MAX_REQUEST)


class CallsView(ApiView):
    """What a flow run's process asks for."""

    parser_classes = [MessagePackParser]
    own_keys = unrated = frozenset({"post"})

    @extend_schema(
        summary="Have task runs executed by Celery's workers",
        description="What a flow's process says: calls to hand out, to stop and to look for, in MessagePack"
        " (`orchestrator.sdk.runners.call_wire`). Only for the token of a flow run in progress: queues of its team.",
        request={MEDIA_TYPE: OpenApiTypes.BINARY},
        responses={(200, MEDIA_TYPE): OpenApiTypes.BINARY},
    )
    def post(self, request: Request) -> Any:
        """Do it, and answer what became of what was looked for."""
        exchange = _read(request.data)
        if not has_broker():
            raise Busy(AWAY)
        from redis.exceptions import RedisError  # 0.1 s, which a reader of the database does not pay

        try:
            answer = sending.do(exchange, request.auth)
        except (RedisError, KombuError, OSError):
            raise Busy(AWAY) from None
        return HttpResponse(encode(answer), content_type=MEDIA_TYPE)


class CallStreamView(ApiView):
    """The stream of what workers say, where it cannot be served; `runs.calls.stream` serves it."""

    elsewhere = frozenset({"get"})

    @extend_schema(
        summary="Hear what workers say of task runs",
        description="Entries as `orchestrator.sdk.runners.call_wire` says, without an end; an empty one every few"
        " seconds. Only for the token of a flow run in progress.",
        parameters=[
            OpenApiParameter("line", str, required=True, description="As in what was posted."),
            OpenApiParameter("after", str, description="The id of the last entry that came."),
        ],
        responses={(200, "application/octet-stream"): OpenApiTypes.BINARY},
    )
    def get(self, request: Request) -> Response:
        """Say that this server runs without ASGI."""
        message = "This server runs under WSGI, which has no streams. Run it under ASGI, or ask again."
        return Response({"code": "no_stream", "message": message}, status.HTTP_501_NOT_IMPLEMENTED)


def _read(data: Any) -> Exchange:
    """Return what was said. Raises ValidationError where it is nothing that a flow's process says."""
    if not isinstance(data, bytes):
        raise exceptions.ValidationError("The body is empty.")
    try:
        exchange: Exchange = decode_exchange(data)
    except msgspec.MsgspecError as error:
        raise exceptions.ValidationError(f"The body cannot be read: {error}") from None
    if not LINE.fullmatch(exchange.line):
        raise exceptions.ValidationError("A line is 8 to 32 hexadecimal digits.")
    calls = [call for message in exchange.messages for call in message]
    lists = (exchange.recall, exchange.stop, exchange.kill, exchange.look)
    ids = [*(call.id for call in calls), *(part[0] for part in exchange.parts), *(id for ids in lists for id in ids)]
    if not all(id and len(id) <= _MAX_ID and id.isprintable() for id in ids):
        raise exceptions.ValidationError(f"Each call is named by an id of 1 to {_MAX_ID} characters.")
    if len(exchange.messages) > MAX_MESSAGES:
        raise exceptions.ValidationError(f"At most {MAX_MESSAGES} messages at once.")
    if any(not 0 < len(message) <= MAX_CALLS for message in exchange.messages) or any(
        len(ids) > MAX_IDS for ids in lists
    ):
        raise exceptions.ValidationError(f"A message has 1 to {MAX_CALLS} calls, a list at most {MAX_IDS} ids.")
    _check_payloads(exchange)
    return exchange


def _check_payloads(exchange: Exchange) -> None:
    """Raise ValidationError where payloads or their parts are bigger or other than a flow's process sends them."""
    if any(sum(len(call.payload) for call in message) > MAX_MESSAGE for message in exchange.messages):
        raise exceptions.ValidationError(f"The payloads of a message take at most {MAX_MESSAGE // 1024} KB.")
    most = MAX_PAYLOAD // PART
    if any(not 0 <= number < most or len(data) > PART for _, number, data in exchange.parts):
        raise exceptions.ValidationError(f"A part has at most {PART // 1024} KB, a payload {most} parts.")
    calls = [call for message in exchange.messages for call in message]
    if any(not 0 <= call.parts <= most or len(call.digest) != (_DIGEST if call.parts else 0) for call in calls):
        raise exceptions.ValidationError(f"A payload has at most {most} parts, and with them their SHA-256.")
