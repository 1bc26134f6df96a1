"""Apprise's services: real plugins in a real child process, and the fence around them."""

import gzip
import json
import logging
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from pytest_django import Settings

from notifications import outgoing
from notifications.content import Content
from notifications.transports import apprise as apprise_module
from notifications.transports import transport
from orchestrator import site
from tests.notifications.receiving import Receiver, Reply
from tests.notifications.wires import Wire, wire

CONTENT = Content(
    id="m1",
    event="FAILED",
    tone="bad",
    title="fuzzy-leopard of new-thing failed",
    text="It failed.\nKeyError: 'x'",
    time="2022-06-27T20:21:37+00:00",
    log_lines=["one", "two"],
    url="https://o.example.com/runs/1/",
    url_label="Open the run",
)
apprise = transport("apprise")
LOCAL = ["dbus", "qt", "glib", "kde", "gnome", "macosx", "windows", "syslog", "blink1"]


@pytest.fixture
def private(settings: Settings) -> None:
    settings.ALLOW_PRIVATE_ADDRESSES = True


def refusal(address: str) -> str:
    with pytest.raises(ValidationError) as caught:
        apprise.parse(address)
    [message] = caught.value.message_dict["address"]
    return message


@pytest.mark.parametrize("schema", LOCAL)
def test_what_acts_on_the_server_itself_is_refused(schema: str) -> None:
    assert refusal(f"{schema}://") == f"{schema}:// acts on the server itself and is not allowed."


def test_every_plugin_without_an_address_is_refused() -> None:
    """A plugin that a newer Apprise brings is looked at here before it is let in."""
    code = (
        "from apprise.plugins import N_MGR\n"
        "from notifications.transports.apprise_child import is_local\n"
        "print(*sorted(s for s in N_MGR.schemas() if is_local(N_MGR[s])))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=site.ROOT, capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) == {
        "blink1",
        "dbus",
        "glib",
        "gio",
        "gnome",
        "kde",
        "macosx",
        "qt",
        "syslog",
        "windows",
    } & (set(done.stdout.split()) | set(LOCAL))


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("discrod://id/token", "Apprise knows no discrod://. Did you mean discord://?"),
        ("zzzzzzzz://x", "Apprise knows no zzzzzzzz://. appriseit.com/services lists"),
        ("tgram://x", "Apprise cannot read this"),
        ("discord://x", "Apprise cannot read this Discord URL"),
        ("https://example.com/x", "a destination of kind webhook"),
        ("mqtt://example.com/topic", "needs a library that this server does not have: pip install 'paho-mqtt"),
        ("discord", "Write one Apprise URL like discord://"),
        ("discord://a/b tgram://c/d", "Write one Apprise URL like discord://"),
        ("discord://a/b\nX", "Write one Apprise URL like discord://"),
    ],
)
def test_other_addresses_are_refused_with_what_to_write(address: str, words: str) -> None:
    assert words in refusal(address)


def test_a_mistake_does_not_show_the_secret() -> None:
    assert "s3cretT0ken" not in refusal("discord://s3cretT0ken")
    assert "s3cretT0ken" not in refusal("pover://s3cretT0ken")


def test_addresses_are_taken_and_summed_up() -> None:
    json_config = apprise.parse("json://ada:s3cret@hooks.example.com/in/t0kent0ken?+Authorization=s3cret")
    assert apprise.summary(json_config) == "JSON: json://hooks.example.com/…"
    discord = apprise.parse("discord://4174216298/JHMHI8qBe7bk2ZwO5U711o3dV_js")
    assert apprise.summary(discord) == "Discord: discord://…"
    native = apprise.parse(f"https://discord.com/api/webhooks/{'1' * 18}/{'a' * 68}")
    assert apprise.summary(native) == "Discord: discord://…"


def test_a_message_arrives(receiver: Receiver) -> None:
    answer = apprise.send(apprise.parse(f"json://127.0.0.1:{receiver.port}/hook"), CONTENT)
    assert (answer.ok, answer.text) == (True, "Sent JSON POST notification.")
    assert receiver.received[0].json == {
        "version": "1.0",
        "title": CONTENT.title,
        "message": "It failed.\nKeyError: 'x'\n\nOpen the run: https://o.example.com/runs/1/\n\none\ntwo",
        "attachments": [],
        "type": "failure",
    }


def test_a_service_of_its_own_form_is_spoken_to(receiver: Receiver) -> None:
    """Mattermost's plugin, in its own words and paths."""
    receiver.reply = Reply(200, b"ok")
    config = apprise.parse(f"mmost://127.0.0.1:{receiver.port}/3ccdd113474722377935511fc85d3dd4")
    assert apprise.send(config, CONTENT).ok
    (request,) = receiver.received
    assert request.path == "/hooks/3ccdd113474722377935511fc85d3dd4"
    assert "KeyError" in request.json["text"]


def test_a_long_text_is_one_message_with_its_link(receiver: Receiver) -> None:
    config = apprise.parse(f"gotify://127.0.0.1:{receiver.port}/t0kent0ken12345")
    long = Content(
        id="m", event="FAILED", tone="bad", title="t", text="x" * 1_000_000, time="", url="https://o.example.com/"
    )
    apprise.send(config, long)
    (request,) = receiver.received
    assert "https://o.example.com/" in request.json["message"]


@pytest.mark.parametrize(
    ("reply", "text", "is_final"),
    [
        (Reply(401, b"who are you, t0kent0ken?"), "error=401. who are you, •••?", True),
        (Reply(404, b""), "error=404.", True),
        (Reply(429, b"slow down"), "error=429. slow down", False),
        (Reply(500, b"oh no"), "error=500. oh no", False),
    ],
)
def test_answers_are_apprise_s_own_words(receiver: Receiver, reply: Reply, text: str, is_final: bool) -> None:
    receiver.reply = reply
    answer = apprise.send(apprise.parse(f"json://127.0.0.1:{receiver.port}/t0kent0ken"), CONTENT)
    assert (answer.ok, answer.is_final) == (False, is_final)
    assert answer.text.startswith("Failed to send JSON POST notification")
    assert answer.text.endswith(text)


# Whom it may reach.


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_private_addresses_are_refused(receiver: Receiver, settings: Settings, host: str) -> None:
    config = apprise.parse(f"json://{host}:{receiver.port}/")
    settings.ALLOW_PRIVATE_ADDRESSES = False
    answer = apprise.send(config, CONTENT)
    assert (answer.ok, answer.is_final) == (False, True)
    assert answer.text == "It leads to a private address: nothing is sent there."
    assert receiver.received == []


@pytest.mark.usefixtures("private")
def test_the_metadata_service_is_refused_even_where_private_addresses_are_allowed() -> None:
    answer = apprise.send(apprise.parse("json://169.254.169.254/latest"), CONTENT)
    assert (answer.text, answer.is_final) == ("It leads to a link-local address: nothing is sent there.", True)


def test_a_redirect_to_a_refused_address_goes_nowhere(receiver: Receiver) -> None:
    receiver.reply = Reply(302, b"", {"Location": "http://169.254.169.254/latest/"})
    answer = apprise.send(apprise.parse(f"json://127.0.0.1:{receiver.port}/"), CONTENT)
    assert (answer.ok, answer.text) == (False, "It leads to a link-local address: nothing is sent there.")


def test_proxies_of_the_environment_are_not_used(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    assert apprise.send(apprise.parse(f"json://127.0.0.1:{receiver.port}/"), CONTENT).ok


@pytest.mark.usefixtures("private")
@pytest.mark.parametrize("url", ["rsyslog://localhost:{port}", "rsyslog://127.0.0.1:{port}"])
def test_datagrams_go_to_checked_addresses_only(url: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listening:
        listening.bind(("127.0.0.1", 0))
        listening.settimeout(5)
        answer = apprise.send(apprise.parse(url.format(port=listening.getsockname()[1])), CONTENT)
        if "localhost" in url:
            assert answer.text == "It would send to a name unchecked: write the host as an IP address."
        else:
            assert answer.ok, answer.text
            assert b"It failed." in listening.recv(65536)


# What it may do to the machine.


def test_files_of_the_server_are_not_read(receiver: Receiver, tmp_path: Path) -> None:
    """A URL can name a template, which Discord's plugin would read from the disk and send on."""
    secret = tmp_path / "secret_key.json"
    secret.write_text(json.dumps({"content": "v3ryS3cret"}))
    config = {
        "url": f"discord://{'1' * 18}/{'a' * 68}?template={secret}",
        "service": "Discord",
        "schema": "discord",
        "host": "",
        "plugin": "apprise.plugins.discord:NotifyDiscord",
    }
    answer = apprise.send(config, CONTENT)
    assert not answer.ok
    assert "v3ryS3cret" not in answer.text


FENCED = """
import os, socket, subprocess, sys, tempfile
sys.path.insert(0, {root!r})
from notifications.transports.apprise_child import Fence, readable
fence = Fence(False, readable())
sys.addaudithook(fence)
try:
    {attempt}
except OSError as error:
    print(error.strerror)
else:
    print("done")
"""


@pytest.mark.parametrize(
    ("attempt", "said"),
    [
        ("open('/etc/passwd')", "It would read a file of this machine."),
        ("open('/proc/self/environ')", "It would read a file of this machine."),
        ("open({root!r} + '/orchestrator/settings.py')", "It would read a file of this machine."),
        ("open('/etc/ssl/../passwd')", "It would read a file of this machine."),
        ("open('/tmp/x', 'w')", "It would write a file on this machine."),
        ("os.open('/tmp', os.O_RDONLY)", "It would read a file of this machine."),
        ("subprocess.run(['true'])", "It would start a program or listen on this machine."),
        ("os.system('true')", "It would start a program or listen on this machine."),
        ("os.fork()", "It would start a program or listen on this machine."),
        ("os.execv('/bin/true', ['true'])", "It would start a program or listen on this machine."),
        ("os.posix_spawn('/bin/true', ['true'], {{}})", "It would start a program or listen on this machine."),
        ("socket.socket().bind(('127.0.0.1', 0))", "It would start a program or listen on this machine."),
        ("socket.socket().connect(('127.0.0.1', 1))", "It leads to a private address: nothing is sent there."),
        ("socket.socket().connect_ex(('10.0.0.1', 1))", "It leads to a private address: nothing is sent there."),
        ("socket.socket(socket.AF_UNIX).connect('/run/x')", "It would talk to a program on this machine."),
        ("socket.create_connection(('localhost', 1))", "It leads to a private address: nothing is sent there."),
        (
            "socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'', ('127.0.0.1', 1))",
            "It leads to a private address: nothing is sent there.",
        ),
        (
            "socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendmsg([b''], [], 0, ('127.0.0.1', 1))",
            "It leads to a private address: nothing is sent there.",
        ),
        (
            "socket.socket().connect(('localhost', 1))",
            "It would send to a name unchecked: write the host as an IP address.",
        ),
        ("open(os.devnull).close() or open('/etc/hosts').close()", "done"),
    ],
)
def test_the_fence_holds(attempt: str, said: str) -> None:
    code = FENCED.format(root=str(site.ROOT), attempt=attempt.format(root=str(site.ROOT)))
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == said, done.stderr


# Time and size.


def hangs(server: Wire, connection: socket.socket) -> None:
    server.over.wait(20)


def drips(server: Wire, connection: socket.socket) -> None:
    server.send(connection, b"HTTP/1.1 200 OK\r\n")
    server.drip(connection, b"X-A: b\r\n", 0.05)


def floods(server: Wire, connection: socket.socket) -> None:
    server.send(connection, b"HTTP/1.1 500 No\r\nTransfer-Encoding: chunked\r\n\r\n")
    server.flood(connection, 10 * 1024**3, b"100000\r\n" + b"a" * 1048576 + b"\r\n")


def bombs(server: Wire, connection: socket.socket) -> None:
    bomb = gzip.compress(b"\0" * 2_000_000_000, 1)
    head = f"HTTP/1.1 500 No\r\nContent-Encoding: gzip\r\nContent-Length: {len(bomb)}\r\n\r\n"
    server.send(connection, head.encode() + bomb)


@pytest.mark.usefixtures("private")
@pytest.mark.parametrize("speak", [hangs, drips])
def test_a_service_that_hangs_is_left_in_time(speak: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outgoing, "TOTAL_SECONDS", 0.5)
    with wire(speak) as server:
        config = {
            "url": f"json://127.0.0.1:{server.port}/",
            "service": "JSON",
            "schema": "json",
            "host": "127.0.0.1",
            "plugin": "apprise.plugins.custom_json:NotifyJSON",
        }
        began = time.monotonic()
        answer = apprise.send(config, CONTENT)
    assert (answer.ok, answer.text, answer.is_final) == (False, "No answer within 0.5 seconds.", False)
    assert time.monotonic() - began < 5


@pytest.mark.usefixtures("private")
@pytest.mark.parametrize("speak", [floods, bombs])
def test_an_answer_of_ten_gigabytes_ends_the_child_alone(speak: Any) -> None:
    with wire(speak) as server:
        answer = apprise.send(apprise.parse(f"json://127.0.0.1:{server.port}/"), CONTENT)
    assert (answer.ok, answer.is_final) == (False, False)
    assert answer.text
    assert server.sent < 2 * 1024**3


def test_a_child_that_does_not_start_is_ended(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    child = tmp_path / "child.py"
    child.write_text("import os, time\nprint(os.getpid(), flush=True)\ntime.sleep(60)")
    monkeypatch.setattr(apprise_module, "_CHILD", child)
    monkeypatch.setattr(apprise_module, "START_SECONDS", 0.3)
    monkeypatch.setattr(outgoing, "TOTAL_SECONDS", 0.2)
    assert "No answer within 0.2 seconds" in refusal("json://example.com")


# Secrets.


def test_the_url_stands_on_no_command_line_and_in_no_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, private: None
) -> None:
    monkeypatch.setenv("ORCHESTRATOR_SECRET_KEY", "v3ryS3cret")
    seen: list[str] = []

    def look(server: Wire, connection: socket.socket) -> None:
        for process in Path("/proc").iterdir():
            if process.name.isdigit():
                try:
                    command = (process / "cmdline").read_bytes().decode(errors="replace")
                    environment = (process / "environ").read_bytes().decode(errors="replace")
                except OSError:
                    continue
                if "apprise_child" in command:
                    seen.extend([command, environment])
        server.send(connection, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    with wire(look) as server:
        config = apprise.parse(f"json://127.0.0.1:{server.port}/t0kent0ken")
        assert apprise.send(config, CONTENT).ok
    if sys.platform == "linux" and os.geteuid() == 0:
        assert seen
    for text in seen:
        assert "t0kent0ken" not in text
        assert "v3ryS3cret" not in text


def test_this_process_never_imports_apprise() -> None:
    code = (
        "from orchestrator import site; site.setup()\n"
        "from notifications.transports import transport; transport('apprise')\n"
        "import sys; print([name for name in sys.modules if name.split('.')[0] == 'apprise'])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=site.ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_nothing_is_logged_here(receiver: Receiver, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    apprise.send(apprise.parse(f"json://127.0.0.1:{receiver.port}/t0kent0ken"), CONTENT)
    assert "t0kent0ken" not in caplog.text
