"""The socket of a live page: told of a change, it reads the page again and sends the regions that differ.

At most four times a second, and less often where reading is dear, so that a page costs a server no more than a fifth of
a thread. A sweep stands behind the messages: a page is right within seconds even while the broker is away.
"""

import asyncio
import contextlib
import logging
import time
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID
from zoneinfo import ZoneInfo

from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncJsonWebsocketConsumer, AsyncWebsocketConsumer
from channels.layers import get_channel_layer
from django.conf import settings
from django.contrib.auth import get_user
from django.http import Http404, HttpRequest, QueryDict
from django.template.loader import render_to_string
from django.urls import Resolver404, resolve
from django.utils import timezone

from orchestrator.refusals import UNSTORABLE
from runs.log_window import inserts, last_ids, window
from runs.views.live_page import LivePage, Reader
from teams.acting import apply_choice
from teams.live import RIGHTS_CHANGED, person_group
from teams.middleware import COOKIE

log = logging.getLogger(__name__)
_SessionStore = import_module(settings.SESSION_ENGINE).SessionStore
MIN_SECONDS = 0.25
REST = 4  # after a reading that cost t of a processor, the next begins no sooner than this many t later
SIGNED_OUT, RIGHTS, GONE, UNREADABLE = 4401, 4403, 4404, 1003
LISTEN_AGAIN_SECONDS = 5
MAX_KNOWN_LINES = 5000


@dataclass(slots=True)
class _Shown:
    """What the page at the other end shows."""

    digests: dict[str, str] = field(default_factory=dict)
    lines: list[UUID] = field(default_factory=list)
    first: str = ""
    last: str = ""
    count: int = 0
    settled: bool = False  #: nothing was going on at the last reading, and the log was compared to its end


class Nowhere(AsyncWebsocketConsumer):
    """An address where no socket is: refused, where Channels would raise."""

    async def connect(self) -> None:
        """Answer 403 to the handshake."""
        await self.close()


class LiveConsumer(AsyncJsonWebsocketConsumer):
    """One open page. Its first message says which page it is and what it shows.

    It listens to the channel layer by itself: Channels would refuse the socket while the broker is away.
    """

    channel_layer_alias = "none"

    async def connect(self) -> None:
        """Accept; who is signed out learns it by the code with which the socket is closed."""
        self._changed = asyncio.Event()
        self._has_other_rights = False
        self._subscribed = asyncio.Event()
        self._following: asyncio.Task[None] | None = None
        self._listening: asyncio.Task[None] | None = None
        await self.accept()
        if not self.scope["user"].is_authenticated:
            await self.close(SIGNED_OUT)

    async def disconnect(self, code: int) -> None:
        """Stop looking."""
        for task in filter(None, (self._following, self._listening)):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def receive(self, *args: Any, **kwargs: Any) -> None:
        """Take a message; what no page of ours would say ends the conversation."""
        try:
            await super().receive(*args, **kwargs)
        except (ValueError, TypeError, AttributeError):
            await self.close(UNREADABLE)

    async def receive_json(self, content: dict[str, Any], **kwargs: Any) -> None:
        """Take the page's word on what it shows: address, digests of its regions, ends of its log."""
        if self._following or not self.scope["user"].is_authenticated:
            return
        line = content.get("log") or {}
        self._address = str(content.get("page", "/"))[:4000]
        self._shown = _Shown(
            digests={str(name): str(digest) for name, digest in (content.get("regions") or {}).items()},
            first=str(line.get("first", "")),
            last=str(line.get("last", "")),
            count=int(line.get("count", 0)),
        )
        self._changed.set()
        self._following = asyncio.create_task(self._follow())

    async def _listen(self, groups: list[str]) -> None:
        """Hear of changes; while the broker is away, try again, and let the sweep do."""
        while True:
            layer, channel = get_channel_layer(), None
            try:
                channel = await layer.new_channel()
                for group in groups:
                    await layer.group_add(group, channel)
                self._subscribed.set()
                while True:
                    message = await layer.receive(channel)
                    self._has_other_rights |= message["type"] == RIGHTS_CHANGED
                    self._changed.set()
            except Exception as error:  # the network begins here
                log.debug("A live page hears of no changes: %s", error)
                self._subscribed.set()
                await asyncio.sleep(LISTEN_AGAIN_SECONDS)
            finally:
                for group in groups if channel else ():
                    with contextlib.suppress(Exception):
                        await layer.group_discard(group, channel)

    async def _follow(self) -> None:
        try:
            groups = await self._in_thread(self._page_groups)
            self._listening = asyncio.create_task(self._listen(groups))
            await (
                self._subscribed.wait()
            )  # what changes from here on is heard, so that the first reading misses nothing
            while True:
                self._changed.clear()
                if self._has_other_rights:  # the browser asks for the page again, as whoever it is now
                    await self.close(RIGHTS)
                    return
                update, sweep_seconds, cost = await self._in_thread(self._read)
                if update:
                    try:
                        await self.send_json(update)
                    except OSError:  # the page went away meanwhile
                        return
                await asyncio.sleep(max(MIN_SECONDS, REST * cost))
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._changed.wait(), sweep_seconds)
        except PermissionError:
            await self.close(SIGNED_OUT)
        except (Http404, *UNSTORABLE):
            await self.close(GONE)
        except asyncio.CancelledError:
            raise
        except Exception:  # the database or the broker is away: the page connects again, and again
            log.warning("A live page was closed", exc_info=True)
            await self.close(1011)

    async def _in_thread(self, function: Any) -> Any:
        # Not the one thread that Django's asynchronous code shares: pages would wait for each other.
        return await database_sync_to_async(function, thread_sensitive=False)()

    def _page(self) -> LivePage:
        """The page as its reader sees it now; PermissionError when the session ended since."""
        request = HttpRequest()
        request.session = _SessionStore(self.scope["session"].session_key)
        user = get_user(request)
        if not user.is_authenticated:
            raise PermissionError
        apply_choice(user, request.session)
        try:
            parts = urlsplit(self._address)
            match = resolve(parts.path)
        except (ValueError, Resolver404):
            raise Http404 from None
        page_class = getattr(match.func, "live_page", None)
        if page_class is None:
            raise Http404
        self._zone = getattr(user, "time_zone", "") or self.scope.get("cookies", {}).get(COOKIE, "")
        return page_class(Reader(user, parts.path, QueryDict(parts.query), timezone.now()), **match.kwargs)

    def _page_groups(self) -> list[str]:
        return [*self._page().groups(), person_group(self.scope["user"].pk)]

    def _read(self) -> tuple[dict[str, Any], float, float]:
        """What to send, for how long to sleep when nobody says anything, and what reading cost (seconds of CPU)."""
        began = time.thread_time()
        page = self._page()
        with timezone.override(_zone(self._zone)):
            update: dict[str, Any] = {}
            regions = page.rendered()
            changed = {
                name: region for name, region in regions.items() if self._shown.digests.get(name) != region.digest
            }
            if changed:
                update["regions"] = {name: [region.digest, str(region.html)] for name, region in changed.items()}
                self._shown.digests.update({name: region.digest for name, region in changed.items()})
            if lines := self._read_log(page):
                update["log"] = lines
        if update:
            update["revision"] = page.revision
        return update, page.sweep_seconds, time.thread_time() - began

    def _read_log(self, page: LivePage) -> dict[str, Any] | None:
        source = page.log()
        if source is None:
            return None
        run, wanted = source
        shown = self._shown
        if not shown.lines:
            found = last_ids(run, wanted)
            ends = (str(found[0]), str(found[-1]), len(found)) if found else ("", "", 0)
            shown.lines = found
            if ends == (shown.first, shown.last, shown.count):
                return None
            return self._whole_log(page)
        found = last_ids(run, wanted, shown.lines if not run.is_final else ())
        known = set(shown.lines)
        if not known.intersection(found):
            if not found:
                return None
            shown.lines = last_ids(run, wanted)
            return self._whole_log(page)
        new = [id for id in found if id not in known]
        if not new:
            return None
        result = [
            {
                "before": str(part.before) if part.before else None,
                "html": render_to_string("runs/_log_lines.html", {"lines": part.lines, "run": run}),
            }
            for part in inserts(run, found, known)
        ]
        shown.lines = sorted(known.union(new))[-MAX_KNOWN_LINES:]
        return {"insert": result}

    def _whole_log(self, page: LivePage) -> dict[str, Any]:
        run, wanted = page.log()
        found = window(run, wanted)
        context = {"lines": found.lines, "run": run, "has_older": found.has_older, "reader": page.reader}
        return {"replace": render_to_string("runs/_log_lines.html", context)}


def _zone(name: str) -> ZoneInfo | None:
    try:
        return ZoneInfo(name) if name else None
    except (KeyError, ValueError, OSError):
        return None
