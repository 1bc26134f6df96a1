"""docs/how-to/notifications.md: what it says to type works, and its examples are true."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from queue import Empty, Queue
from typing import Any

import click
import pytest

from notifications import templating
from notifications.events import Event
from notifications.models import Delivery
from notifications.transports.webhook import new_secret, signature
from orchestrator.cli import cli
from tests.server.running import running_server
from tests.servers import free_port

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs/how-to/notifications.md").read_text()
SERVER = "ORCHESTRATOR_ALLOW_PRIVATE_ADDRESSES=1 orchestrator server start"
WITHIN_SECONDS = 15


def section(heading: str) -> str:
    """Return the text under a heading."""
    return TEXT.split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]


def blocks(text: str, language: str) -> list[str]:
    """Return the code in blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def commands(text: str) -> list[str]:
    """Return what is to be typed."""
    return [line[2:] for block in blocks(text, "console") for line in block.splitlines() if line.startswith("$ ")]


@pytest.fixture
def home() -> Iterator[Path]:
    """A new home with a short path (sockets lie in it)."""
    path = Path(tempfile.mkdtemp(prefix="orch-"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


class Printed:
    """What a process prints, line by line, as it comes."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._lines: Queue[str] = Queue()
        threading.Thread(target=self._read, args=[process], daemon=True).start()

    def _read(self, process: "subprocess.Popen[str]") -> None:
        assert process.stdout is not None
        with process.stdout as lines:
            for line in lines:
                self._lines.put(line.rstrip())

    def until(self, text: str, seconds: float = WITHIN_SECONDS) -> list[str]:
        """Return the lines up to one with this text."""
        lines: list[str] = []
        deadline = time.monotonic() + seconds
        while not lines or text not in lines[-1]:
            try:
                lines.append(self._lines.get(timeout=max(0.0, deadline - time.monotonic())))
            except Empty:
                raise AssertionError(f"{text!r} was not printed within {seconds} s, but {lines}") from None
        return lines


def test_its_first_steps_bring_the_message_of_a_failing_flow(tmp_path: Path, home: Path) -> None:
    steps = section("Try it here, in two minutes")
    port = str(free_port())
    receive, serve, *rest = [command.replace("8099", port) for command in commands(steps)]
    assert receive == f"python examples/receiver.py {port}"
    assert serve == SERVER
    (tmp_path / "new_thing.py").write_text(blocks(steps, "python")[0])
    receiver = subprocess.Popen(
        [sys.executable, *shlex.split(receive)[1:]],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        printed = Printed(receiver)
        printed.until("Ctrl-C")
        with running_server(home, ORCHESTRATOR_ALLOW_PRIVATE_ADDRESSES="1") as server:
            exits = [typed(command, tmp_path, server.environment) for command in rest]
            assert exits == [0, 1], "the notification is made, and the flow fails"
            message = "\n".join(printed.until("/runs/"))
    finally:
        receiver.terminate()
        receiver.wait()
    assert re.search(
        r"The \w+-\w+ run of the new_thing flow entered a failed state at \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", message
    )
    assert "no answer from the warehouse" in message
    assert "Its gonna be big!" in message
    assert f"http://127.0.0.1:{server.port}/runs/" in message


def typed(command: str, folder: Path, environment: dict[str, str]) -> int:
    """Run a command as a person does in a folder, in a virtual environment; return its exit code."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{environment.get('PATH', '')}"
    words = shlex.split(command)
    words[0] = str(Path(sys.executable).with_name(words[0]))
    done = subprocess.run(
        words, cwd=folder, env={**environment, "PATH": path}, capture_output=True, text=True, check=False, timeout=60
    )
    print(done.stdout, done.stderr)
    return done.returncode


def test_its_check_of_a_signature_takes_ours_and_no_other() -> None:
    names: dict[str, Any] = {}
    exec(blocks(section("A program of yours"), "python")[0], names)
    is_genuine, secret, body = names["is_genuine"], new_secret(), b'{"type": "test"}'
    now = str(int(time.time()))
    headers = {
        "webhook-id": "1", "webhook-timestamp": now, "webhook-signature": signature(secret, "1", now, body),
    }  # fmt: skip
    assert is_genuine(secret, headers, body)
    assert not is_genuine(secret, headers, body + b" ")
    assert not is_genuine(new_secret(), headers, body)
    old = str(int(time.time()) - 3600)
    replayed = headers | {"webhook-timestamp": old, "webhook-signature": signature(secret, "1", old, body)}
    assert not is_genuine(secret, replayed, body)


def test_its_template_can_be_saved() -> None:
    (template,) = blocks(section("The words"), "jinja")
    templating.check(template)


def test_it_names_every_event_status_filter_and_name() -> None:
    told = {line.split("`")[1] for line in section("What to hear of").splitlines() if line.startswith("| `")}
    assert told == {event.value for event in Event} | {"--state"}
    statuses = {line.split(" | ")[0][2:] for line in section("When nothing came").splitlines() if line.startswith("| ")}
    assert statuses >= {status.label for status in Delivery.Status}
    words = section("The words")
    for name, parts in templating.NAMES.items():
        assert re.search(rf"`{name}\b", words), name
        for part in parts or ():
            assert f".{part}`" in words, f"{name}.{part}"


@pytest.mark.parametrize("command", [line for line in commands(TEXT) if line.startswith("orchestrator ")])
def test_its_commands_have_the_options_that_it_names(command: str) -> None:
    group, verb, *options = shlex.split(command, comments=True)[1:]
    context = click.Context(cli)
    found = cli.get_command(context, group)
    if isinstance(found, click.Group):
        found = found.get_command(context, verb)
    assert found is not None
    known = {option for parameter in found.params for option in parameter.opts}
    assert {word for word in options if word.startswith("--")} <= known
