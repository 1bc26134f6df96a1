"""An attempt in a Python of its own: what every kind of infrastructure starts that does not fork.

`python -m orchestrator.sdk.attempt --fd N --note M` is executed by a run host's child: it reads its `Start` from one
file and shares a page with its host by the other; its facts go through the worker's home, as those of a forked run.

`python -m orchestrator.sdk.attempt` alone has nothing of the worker's. `ORCHESTRATOR_API_URL`, `_API_TOKEN` (the
attempt's own) and `_RUN_ID` say what to run: it asks the server for the rest, since parameters are too big for an
environment, and ships its facts there itself.
"""

import http.client
import json
import os
import shutil
import signal
import sys
import tempfile
import threading
from functools import cache
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from orchestrator.sdk import capture, interrupts, shipper
from orchestrator.sdk.causes import CANCELLED
from orchestrator.sdk.home import ECHO_VARIABLE, SHIP_VARIABLE, home
from orchestrator.sdk.host_child import leave, run_attempt
from orchestrator.sdk.host_note import HostNote
from orchestrator.sdk.host_protocol import Start
from orchestrator.sdk.ids import uuid7
from orchestrator.sdk.kernel import kernel
from orchestrator.sdk.loading import load_flow

TIMEOUT_SECONDS: Final = 10.0
LEFTOVERS: Final = "--leftovers"  #: as the argument: run nothing, but ship what an attempt that died has left
#: Without the server for so long, what would be run again ends. Its lease holds for 20 s at least after the server last
#: heard of it, and the reaper waits another 30 s for a worker to take it over: the next attempt begins no earlier.
LIFELINE_SECONDS: Final = 35.0
STOP_SECONDS: Final = 10.0  #: between the server's order to end and the end
_WHY_SECONDS: Final = 3.0  # while it is being stopped, there is little time
_USAGE: Final = 2


class CannotBegin(Exception):
    """There is no attempt to run; the message says why."""


def main(arguments: list[str]) -> int:
    """Run the attempt that the file descriptors, or the environment, name. Never returns where there is one."""
    if not sys.flags.safe_path and sys.path and sys.path[0] == os.getcwd():
        del sys.path[0]  # put there by -m; the flow's own folder comes with its entrypoint
    kernel.prepare()
    if not arguments:
        try:
            start = from_server()
        except CannotBegin as error:
            print(f"orchestrator: {error}", file=sys.stderr, flush=True)
            return 1
        return _run_away(start)
    if arguments == [LEFTOVERS]:
        return _ship_leftovers()
    if len(arguments) != 4 or arguments[::2] != ["--fd", "--note"]:
        print("usage: python -m orchestrator.sdk.attempt [--fd N --note M]  (a worker starts this)", file=sys.stderr)
        return _USAGE
    return _run_here(int(arguments[1]), int(arguments[3]))


def _run_here(fd: int, note_fd: int) -> int:
    """Run what a run host's child was to run; the host is this process's parent."""
    note = HostNote(note_fd)
    note.set_begun()
    with open(fd, "rb") as file:
        start = msgspec.json.decode(file.read(), type=Start)
    os.close(note_fd)
    interrupts.stop_reason = lambda: note.reason
    _execute(start, note)
    return 1  # never comes here


def _run_away(start: Start) -> int:
    os.environ[SHIP_VARIABLE] = "1"
    folder = "" if os.environ.get("ORCHESTRATOR_HOME") else tempfile.mkdtemp(prefix="orchestrator-")
    if folder:
        os.environ["ORCHESTRATOR_HOME"] = folder
    interrupts.stop_reason = lambda: _stop.reason or _why_stopped(start.run)
    shipper.on_stop = _stop.begin
    shipper.lifeline_seconds = LIFELINE_SECONDS if start.reruns else None
    capture.echoes = os.environ.get(ECHO_VARIABLE) != "0"
    _execute(start, HostNote(), folder)
    return 1  # never comes here


class _Stop:
    """The server's order to end: its worker is gone, and nobody else would tell it."""

    reason = ""

    def begin(self, reason: str) -> None:
        """Raise SIGTERM here, and end the process after the grace whatever it does."""
        self.reason = reason
        print(f"orchestrator: this run has to end: {reason}", file=sys.__stderr__, flush=True)
        timer = threading.Timer(STOP_SECONDS, os._exit, (128 + signal.SIGKILL,))
        timer.daemon = True
        timer.start()
        os.kill(os.getpid(), signal.SIGTERM)


_stop = _Stop()


def _ship_leftovers() -> int:
    """Ship what an attempt that died left in the home that the environment names."""
    server = shipper.IngestServer(os.environ["ORCHESTRATOR_API_URL"], os.environ["ORCHESTRATOR_API_TOKEN"])
    try:
        shipper.ship_leftovers(home(), server)
    except shipper.NotTaken as problem:
        print(f"orchestrator: the last facts of an attempt are not taken: {problem}", file=sys.stderr, flush=True)
        return 1
    return 0


def _execute(start: Start, note: HostNote, folder: str = "") -> None:
    exit_code = 1
    try:
        exit_code = run_attempt(start, note, load_flow)
    except BaseException as error:  # user code may raise anything, anywhere
        sys.excepthook(type(error), error, error.__traceback__)
    leave(exit_code, (lambda: shutil.rmtree(folder, ignore_errors=True)) if folder else None)


def from_server() -> Start:
    """Return what to run, from the server that the environment names. Raises CannotBegin."""
    names = ("ORCHESTRATOR_API_URL", "ORCHESTRATOR_API_TOKEN", "ORCHESTRATOR_RUN_ID")
    missing = [name for name in names if not os.environ.get(name)]
    if missing:
        raise CannotBegin(f"{', '.join(missing)} must say which attempt to run. A worker's infrastructure sets them.")
    answer = _get(f"/api/flow-runs/{os.environ['ORCHESTRATOR_RUN_ID']}/start/?process={uuid7()}", TIMEOUT_SECONDS)
    try:
        start = msgspec.convert(answer, Start)
    except msgspec.ValidationError as error:
        raise CannotBegin(f"The server's answer is for another version of orchestrator: {error}.") from None
    start.api_url, start.token = os.environ["ORCHESTRATOR_API_URL"], os.environ["ORCHESTRATOR_API_TOKEN"]
    return start


@cache
def _why_stopped(run: str) -> str:
    """Return whether this process was sent SIGTERM since somebody cancelled its run; no host is here to say so."""
    try:
        answer = _get(f"/api/flow-runs/{run}/", _WHY_SECONDS)
    except CannotBegin:
        return ""
    return CANCELLED if answer.get("state_type") == "CANCELLING" else ""


def _get(path: str, timeout: float) -> Any:
    url = os.environ["ORCHESTRATOR_API_URL"].rstrip("/").removesuffix("/api")
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=timeout)
    headers = {"Authorization": f"Bearer {os.environ['ORCHESTRATOR_API_TOKEN']}", "Accept": "application/json"}
    try:
        connection.request("GET", parts.path + path, headers=headers)
        response = connection.getresponse()
        body = response.read()
    except (OSError, http.client.HTTPException) as error:
        raise CannotBegin(f"{url} does not answer: {type(error).__name__}: {error}.") from None
    finally:
        connection.close()
    if response.status != 200:
        raise CannotBegin(f"{url} answered {response.status} {response.reason} to {path}.")
    try:
        return json.loads(body)
    except ValueError:
        raise CannotBegin(f"{url} does not answer as an orchestrator server does.") from None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
