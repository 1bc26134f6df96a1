"""The helper's inside: the API on a Unix socket, the tailer of the home's journals, and when to end."""

import asyncio
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Awaitable, Callable, MutableMapping
from types import FrameType
from typing import Any, Final

import uvicorn
from a2wsgi import WSGIMiddleware

from orchestrator import site
from orchestrator.sdk.bell import is_too_long, open_folder
from orchestrator.sdk.control_address import is_locked
from orchestrator.sdk.home import Home

IDLE_SECONDS: Final = 30.0
LOOK_SECONDS: Final = 0.2
SWEEP_SECONDS: Final = 2.0
STOP_SECONDS: Final = 5.0
HTTP_THREADS: Final = 8

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

log = logging.getLogger(__name__)


def serve(home: Home) -> int:
    """Serve a home until nobody needs it; the helper's lock is held. Returns the exit code."""
    stop = threading.Event()

    def ask_to_stop(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, ask_to_stop)
    signal.signal(signal.SIGINT, ask_to_stop)
    if is_locked(home.server_lock):  # it starts just now, and answers soon
        return 0
    try:
        door = Door(_application(), _token())
    except Exception as error:  # a setting, the database: whoever waits goes on waiting, and the log says for what
        print(f"The helper cannot serve {home.root}: {error}", file=sys.stderr, flush=True)
        return 1
    listening = _listen(home)
    threads = [threading.Thread(target=work, args=(home, stop), daemon=True) for work in (_bring_in, _sweep)]
    try:
        for thread in threads:
            thread.start()
        asyncio.run(_serve(home, door, listening, stop))
    finally:
        home.control_socket.unlink(missing_ok=True)
        listening.close()
        stop.set()
        for thread in threads:
            thread.join(STOP_SECONDS)
    return 0


class Door:
    """The API as the helper serves it: as the first administrator, since the socket is open to this user alone."""

    def __init__(self, http: Any, token: str) -> None:
        self._http = http
        self._header = (b"authorization", f"Bearer {token}".encode())
        self._open = 0
        self._last = time.monotonic()

    @property
    def idle_seconds(self) -> float:
        """How long nobody has asked anything, or listened."""
        return 0.0 if self._open else time.monotonic() - self._last

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            return
        from runs import slot_stream  # the site is set up by now

        headers = [(name, value) for name, value in scope["headers"] if name != b"authorization"]
        # Through a socket there is no address; WSGI wants one.
        scope = {**scope, "headers": [*headers, self._header], "server": ("localhost", 80), "client": ("localhost", 0)}
        is_stream = scope["path"] == slot_stream.PATH and scope["method"] == "GET"
        self._open += 1
        try:
            await (slot_stream.stream if is_stream else self._http)(scope, receive, send)
        finally:
            self._open -= 1
            self._last = time.monotonic()


def _application() -> Any:
    """Set the site up, migrate its database where that is needed, and return the API."""
    site.setup()
    from django.conf import settings

    # As for the command line without a server: nobody asks for pages or static files here.
    settings.MIDDLEWARE = [name for name in settings.MIDDLEWARE if not name.startswith("whitenoise.")]
    settings.ROOT_URLCONF = "orchestrator.cli.in_process_urls"
    settings.ALLOWED_HOSTS = ["localhost"]
    logging.getLogger("django.request").setLevel(logging.ERROR)
    from orchestrator.preparedness import PreparedGate
    from orchestrator.server.preparation import migrate
    from orchestrator.wsgi import application

    migrate(lambda _: None)
    return WSGIMiddleware(PreparedGate(application), workers=HTTP_THREADS)


def _token() -> str:
    """Make the token that the helper asks its own API with; the one before it goes."""
    from django.conf import settings
    from django.db import connections

    from teams.models import ApiToken, Team, User

    admin = User.first_admin()
    name = f"helper ({socket.gethostname()}:{settings.HOME.root})"[:100]
    ApiToken.objects.filter(user=admin, name=name).delete()
    try:
        return ApiToken.issue(name=name, user=admin, team=Team.default())[1]
    finally:
        connections.close_all()


def _listen(home: Home) -> socket.socket:
    """Bind the socket, for this user alone. What a helper left that was killed is replaced: the lock is held."""
    path = home.control_socket
    path.unlink(missing_ok=True)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    mask = os.umask(0o177)
    try:
        if is_too_long(path):
            folder = open_folder(path)
            try:
                listening.bind(f"/proc/self/fd/{folder}/{path.name}")
            finally:
                os.close(folder)
        else:
            listening.bind(str(path))
    finally:
        os.umask(mask)
    listening.listen(128)
    return listening


async def _serve(home: Home, door: Door, listening: socket.socket, stop: threading.Event) -> None:
    server = uvicorn.Server(
        uvicorn.Config(door, lifespan="off", log_config=None, access_log=False, ws="none", timeout_graceful_shutdown=1)
    )

    def look() -> None:
        """End where nobody needs this any more, else look again: a lock makes no event."""
        if stop.is_set() or door.idle_seconds > IDLE_SECONDS or is_locked(home.server_lock):
            server.should_exit = True
        else:
            asyncio.get_running_loop().call_later(LOOK_SECONDS, look)

    look()
    await server.serve(sockets=[listening])


def _bring_in(home: Home, stop: threading.Event) -> None:
    from runs import tailer

    tailer.run(home, stop)


def _sweep(home: Home, stop: threading.Event) -> None:
    """Do what the tick of a server does for slots."""
    from django.db import Error, connection

    from runs import slots

    while not stop.wait(SWEEP_SECONDS):
        try:
            slots.sweep()
        except Error as error:
            log.warning("Slots are swept later: %s", error)
            connection.close()
