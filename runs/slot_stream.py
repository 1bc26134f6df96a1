"""`GET /api/slots/stream/`: server-sent events that tell a process at once that its task runs were granted slots.

An ASGI application of its own, since a stream stays open for as long as something waits: it holds no thread, and takes
one only to look who asks. Behind it stands the process's own asking, so that a stream may break off at any time.
"""

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator
from typing import Any, Final
from uuid import UUID

from channels.layers import get_channel_layer
from rest_framework import exceptions
from rest_framework.request import Request

from orchestrator.problems import Busy
from orchestrator.telling import has_broker
from runs.api.access import visible_flow_runs
from runs.grants import Ear, Grant, from_message, group
from runs.models import Attempt
from runs.streams import Message, Receive, Send, authenticated, disconnected, in_thread, refuse, start

PATH: Final = "/api/slots/stream/"
COMMENT_SECONDS: Final = 15.0  # what is between may close a silent connection; and a token may have ended

log = logging.getLogger(__name__)


async def stream(scope: Message, receive: Receive, send: Send) -> None:
    """Serve one stream: `ready` once grants are heard, then `granted` for each, a comment every 15 seconds."""
    try:
        request = await in_thread(authenticated, scope)
        listener = _listener(request)
        with Ear(listener) as ear:
            async with _heard_by_layer(ear) as broken:
                await start(send, 200, "text/event-stream")
                await _serve(request, ear, broken, receive, send)
    except exceptions.APIException as error:
        await refuse(send, error)
    except OSError:  # the process went away
        pass


async def _serve(request: Request, ear: Ear, broken: "asyncio.Task[None] | None", receive: Receive, send: Send) -> None:
    """Send what comes until the process goes away, its token ends or the channel layer fails."""
    ends = {asyncio.create_task(disconnected(receive)), *([broken] if broken else [])}
    may_hear: set[UUID] = set()
    await _send_event(send, b"event: ready\ndata: {}\n\n")
    try:
        while True:
            grant = asyncio.create_task(ear.queue.get())
            done, _ = await asyncio.wait({grant, *ends}, timeout=COMMENT_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            if grant not in done:
                grant.cancel()
            if done & ends:
                break
            if not done:
                request = await in_thread(authenticated, request.scope)
                may_hear.clear()
                await _send_event(send, b": nothing new\n\n")
            elif await _hears(request, grant.result(), may_hear):
                data = json.dumps({"task_run": str(grant.result().task_run)})
                await _send_event(send, f"event: granted\ndata: {data}\n\n".encode())
    except exceptions.APIException:  # the token ended meanwhile, or the database is away: the next stream says so
        pass
    finally:
        for task in ends:
            task.cancel()
    with contextlib.suppress(OSError):
        await send({"type": "http.response.body", "body": b""})


@contextlib.asynccontextmanager
async def _heard_by_layer(ear: Ear) -> AsyncIterator["asyncio.Task[None] | None"]:
    """Hear what other processes grant; the task that listens ends only by a failure. Without a broker there is none."""
    if not has_broker():
        yield None
        return
    layer, name = get_channel_layer(), group(ear.listener)
    try:
        channel = await layer.new_channel()
        await layer.group_add(name, channel)
    except Exception as error:  # the network begins here
        log.debug("Grants cannot be heard: %s", error)
        raise Busy("The broker cannot be reached now. Ask again in a moment.") from None
    listening = asyncio.create_task(_listen(layer, channel, ear))
    try:
        yield listening
    finally:
        listening.cancel()
        with contextlib.suppress(Exception):
            await layer.group_discard(name, channel)


async def _listen(layer: Any, channel: str, ear: Ear) -> None:
    try:
        while True:
            for grant in from_message(await layer.receive(channel)):
                ear.queue.put_nowait(grant)
    except Exception as error:  # the network begins here
        log.debug("Grants are no longer heard: %s", error)


async def _hears(request: Request, grant: Grant, may_hear: set[UUID]) -> bool:
    """Whether this grant is for the one who listens; runs that were looked up are kept in `may_hear`."""
    if grant.flow_run not in may_hear:
        if not await in_thread(_may_hear, request, grant):
            return False
        may_hear.add(grant.flow_run)
    return True


def _may_hear(request: Request, grant: Grant) -> bool:
    if isinstance(request.auth, Attempt):
        own = request.auth.flow_run_id == grant.flow_run
        return own or visible_flow_runs(request).filter(pk=grant.flow_run).exists()
    return request.user.is_superuser or grant.team in request.user.team_ids


def _listener(request: Request) -> UUID:
    try:
        return UUID(request.query_params.get("listener", ""))
    except ValueError:
        raise exceptions.ValidationError({"listener": ["Write the id under which the slots were asked for."]}) from None


async def _send_event(send: Send, event: bytes) -> None:
    await send({"type": "http.response.body", "body": event, "more_body": True})
