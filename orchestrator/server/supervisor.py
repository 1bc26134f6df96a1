"""The server's own process: starts the parts, watches them, says what happens, and stops them in order.

One thread. It wakes when a part ends, when a signal comes, when a worker says that it is ready, and five times a second
to repeat what the logs gained.
"""

import gc
import http.client
import os
import select
import signal
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import IO, Final

from orchestrator._version import __version__
from orchestrator.sdk.home import Home
from orchestrator.server import broker, checks, forking, output, record
from orchestrator.server.checks import StartError
from orchestrator.server.options import Options, server_environment
from orchestrator.server.parts import STOP_GRACE_SECONDS, Part, all_parts
from orchestrator.server.preparation import Prepared, load_site, prepare_or_explain
from orchestrator.server.processes import PartProcess, wait_gone
from orchestrator.server.record import ServerRecord

START_SECONDS: Final = 60.0
START_TRIES: Final = 3  # a part that dies this often before the server was ready will not come up
LOOK_SECONDS: Final = 0.2
LOOK_STARTING_SECONDS: Final = 0.03
STOP_SECONDS: Final = 9.6  # all of it; what is left then is killed


class Server:
    """One server, from its start to its end."""

    def __init__(
        self,
        home: Home,
        lock: IO[bytes],
        options: Options,
        say: Callable[[str], None],
        complain: Callable[[str], None],
    ) -> None:
        """Make it; nothing starts yet.

        Args:
            home: Its home, which exists.
            lock: The home's lock, held.
            options: What the person asked for.
            say: Gets each line for the terminal.
            complain: Gets each line about what went wrong.
        """
        self._home = home
        self._lock = lock
        self._options = options
        self._say = say
        self._complain = complain
        self._address = None if os.environ.get("ORCHESTRATOR_BROKER_URL") else broker.address(home)
        self._environment = server_environment(home, options, self._address)
        self._processes: list[PartProcess] = []
        self._tails: list[output.LogTail] = []
        self._signals = 0
        self._wakeup, self._wakeup_writer = socket.socketpair()
        self._ready_fd, self._ready_writer = os.pipe()
        self._workers_ready = 0
        self._own_fds: list[int] = []
        self._deaths = 0
        self._is_ready = False
        self._record: ServerRecord | None = None

    def run(self) -> None:
        """Serve until a signal comes. Raises StartError when it does not come up."""
        began = time.monotonic()
        self._catch_signals()
        try:
            prepared = self._start()
            if not self._signals:
                self._greet(prepared, time.monotonic() - began)
            while not self._signals:
                self._turn(LOOK_SECONDS)
        finally:
            self._stop()

    # Starting

    def _start(self) -> Prepared:
        """Load Django, let the parts import theirs, prepare the database meanwhile, and open the gate."""
        os.environ.update(self._environment)
        load_site()
        if self._address is None:
            checks.check_broker(self._environment["ORCHESTRATOR_BROKER_URL"].strip())
        gc.collect()
        gc.freeze()  # what was loaded by now stays shared with the forked parts
        self._processes = [self._process(part) for part in self._parts()]
        gate, gate_writer = os.pipe()
        self._own_fds = [gate_writer]
        forked = [process for process in self._processes if forking.IS_SUPPORTED or not process.part.module]
        try:
            self._launch(forked, gate)
            prepared = self._prepare()
        finally:
            self._own_fds = []
            os.close(gate)
            os.close(gate_writer)
        self._launch([process for process in self._processes if process not in forked])
        self._wait_until_ready()
        return prepared

    def _parts(self) -> list[Part]:
        options = self._options
        return all_parts(self._home, options.host, options.port, options.workers, self._address)

    def _process(self, part: Part) -> PartProcess:
        log = self._home.logs / f"{part.name}.log"
        self._tails.append(output.LogTail(log))
        return PartProcess(part, log, str(self._home.root), self._environment, self._let_go)

    def _let_go(self) -> None:
        """Close what is the server's own, in a forked child."""
        self._lock.close()
        self._wakeup.close()
        self._wakeup_writer.close()
        os.close(self._ready_fd)
        for descriptor in self._own_fds:
            os.close(descriptor)

    def _launch(self, processes: Sequence[PartProcess], gate: int | None = None) -> None:
        for process in processes:
            if not self._signals:
                process.start(self._ready_writer, gate)

    def _prepare(self) -> Prepared:
        prepared = prepare_or_explain(self._say)
        if not self._options.is_local and not prepared.has_password:
            raise StartError(
                f"--host {self._options.host} lets others in, and nobody has a password yet. Set one first: "
                "orchestrator user set-password admin"
            )
        self._record = ServerRecord(
            pid=os.getpid(),
            url=self._options.url,
            token=prepared.token,
            version=__version__,
            started_at=datetime.now(UTC).isoformat(timespec="seconds"),
        )
        return prepared

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not self._signals and not (self._workers_ready >= self._options.workers and self._web_answers()):
            self._turn(LOOK_STARTING_SECONDS)
            if self._deaths >= START_TRIES or time.monotonic() > deadline:
                raise StartError(f"The server did not come up. Its logs are in {self._home.logs}.")
        if not self._signals:
            self._is_ready = True
            self._write_record()

    def _web_answers(self) -> bool:
        connection = http.client.HTTPConnection(self._options.local_host, self._options.port, timeout=2.0)
        try:
            connection.request("GET", "/api/health/")
            return connection.getresponse().status < 500
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def _greet(self, prepared: Prepared, seconds: float) -> None:
        workers = self._options.workers
        places = f"{workers} × {prepared.places}" if workers > 1 else str(prepared.places)
        self._say(f"Orchestrator {__version__}, ready in {seconds:.1f} s")
        self._say(f"  database  {prepared.database}")
        self._say(f"  broker    {self._describe_broker()}")
        self._say(f"  places    {places} (runs at once)")
        self._say(f"  logs      {self._home.logs}")
        self._say("")
        self._say("Sign in, once, with this address:")
        self._say(f"  {prepared.external_url or self._options.url}{prepared.sign_in_path}")
        self._say("")
        self._say("Ctrl-C stops everything.")

    def _describe_broker(self) -> str:
        if self._address is not None:
            return f"embedded, {self._address.socket}"
        return checks.without_password(self._environment["ORCHESTRATOR_BROKER_URL"])

    # Running

    def _turn(self, timeout_seconds: float) -> None:
        """Wait for something to happen, at most this long, and deal with it."""
        readable, _, _ = select.select([self._wakeup.fileno(), self._ready_fd], [], [], timeout_seconds)
        if self._wakeup.fileno() in readable:
            self._wakeup.recv(4096)
        if self._ready_fd in readable:
            self._workers_ready += os.read(self._ready_fd, 4096).count(b"\n")
        self._repeat_output()
        self._watch()

    def _repeat_output(self) -> None:
        for tail in self._tails:
            for line in tail.read():
                self._say(line)

    def _watch(self) -> None:
        """Notice parts that died and start them again, later each time."""
        changed = False
        now = time.monotonic()
        for process in self._processes:
            ending = process.check()
            if ending is not None:
                self._deaths += 1
                self._complain(f"{process.part.name} ended ({ending}) and is started again; {process.log} ends:")
                self._complain(output.last_lines(process.log))
            if process.retry_at is not None and process.retry_at <= now:
                process.start(None if self._is_ready else self._ready_writer)
                changed = True
        if changed:
            self._write_record()

    def _write_record(self) -> None:
        if self._record is not None and self._is_ready:
            parts = {process.part.name: process.pid for process in self._processes if process.pid is not None}
            self._record = replace(self._record, parts=parts)
            record.write(self._home, self._record)

    def _catch_signals(self) -> None:
        self._wakeup_writer.setblocking(False)
        self._wakeup.setblocking(True)
        signal.set_wakeup_fd(self._wakeup_writer.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._on_signal)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)

    def _on_signal(self, number: int, frame: object) -> None:
        self._signals += 1

    # Stopping

    def _stop(self) -> None:
        """Stop everything within `STOP_SECONDS`: first what makes new work, at last what carries the news."""
        deadline = time.monotonic() + STOP_SECONDS
        names = {"broker": 2, "web": 1, "ingester": 1}
        running = [process for process in self._processes if process.pid is not None]
        if running and self._is_ready:
            self._say(f"Stopping; runs may go on for {STOP_GRACE_SECONDS} s.")
        left: list[PartProcess] = []
        for stage, latest in ((0, deadline - 0.6), (1, deadline - 0.2), (2, deadline)):
            stopping = [process for process in running if names.get(process.part.name, 0) == stage]
            for process in stopping:
                process.ask_to_stop()
            left += self._wait_gone(stopping, latest)
        for process in left:
            self._complain(f"{process.part.name} did not stop in time and is killed.")
            process.kill()
        self._repeat_output()
        self._home.server_file.unlink(missing_ok=True)
        if self._address is not None:
            self._address.remove()
        if running:
            self._say("Stopped.")

    def _wait_gone(self, stopping: list[PartProcess], deadline: float) -> list[PartProcess]:
        """Wait for these; a second Ctrl-C passes the hurry on."""
        signals, left = self._signals, stopping
        while left and time.monotonic() < deadline:
            left = wait_gone(left, min(deadline, time.monotonic() + LOOK_SECONDS))
            self._repeat_output()
            if self._signals > signals:
                signals = self._signals
                for process in left:
                    process.ask_to_stop(hurry=True)
        return left
