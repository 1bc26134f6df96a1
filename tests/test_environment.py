"""What the environment says of mail and addresses, and what its secrets do to a process that has them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from orchestrator.email_server import EmailServer, email_server
from orchestrator.sdk.host import PRIVATE_VARIABLES

VALUES = {"ORCHESTRATOR_EMAIL_URL": "smtp://ada:s3cret@localhost/?from=ada@example.com"}
IS_DUMPABLE = "import ctypes, orchestrator.settings; print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))"


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
@pytest.mark.parametrize(
    ("secret", "expected"),
    [
        ("", "1"),
        ("ORCHESTRATOR_SECRET_KEY", "0"),
        ("ORCHESTRATOR_SECRET_KEY_FALLBACKS", "0"),
        ("ORCHESTRATOR_EMAIL_URL", "0"),
    ],
)
def test_a_process_with_secrets_hides_its_environment_from_runs(home: Path, secret: str, expected: str) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ORCHESTRATOR_")}
    environment |= {"ORCHESTRATOR_HOME": str(home), **({secret: VALUES.get(secret, "s3cret")} if secret else {})}
    done = subprocess.run(
        [sys.executable, "-c", IS_DUMPABLE], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == expected


@pytest.mark.parametrize(
    ("url", "server"),
    [
        ("", EmailServer()),
        (
            "smtp://ada:s3cret@mail.example.com:2525/?from=orchestrator@example.com",
            EmailServer("mail.example.com", 2525, "ada", "s3cret", False, True, "orchestrator@example.com"),
        ),
        (
            "smtp://ada%40example.com:p%2Fa%23%40@mail.example.com",
            EmailServer("mail.example.com", 587, "ada@example.com", "p/a#@", False, True, "ada@example.com"),
        ),
        (
            "smtps://ada:s3cret@mail.example.com/?from=a@example.com",
            EmailServer("mail.example.com", 465, "ada", "s3cret", True, False, "a@example.com"),
        ),
        (
            "smtp://127.0.0.1:25?tls=none&from=Orchestrator%20%3Corchestrator@example.com%3E",
            EmailServer("127.0.0.1", 25, "", "", False, False, "Orchestrator <orchestrator@example.com>"),
        ),
        (
            "smtp://[::1]:25/?tls=starttls&from=a@example.com",
            EmailServer("::1", 25, "", "", False, True, "a@example.com"),
        ),
    ],
)
def test_a_mail_server_is_read(monkeypatch: pytest.MonkeyPatch, url: str, server: EmailServer) -> None:
    monkeypatch.setenv("ORCHESTRATOR_EMAIL_URL", url)
    assert email_server() == server
    assert "s3cret" not in repr(email_server())


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("mail.example.com", "cannot be read"),
        ("http://ada:s3cret@mail.example.com", "cannot be read"),
        ("smtp://ada:s3cret@/?from=a@example.com", "cannot be read"),
        ("smtp://ada:s3cret/x@mail.example.com", "percent-encoded"),
        ("smtp://ada:s3cret#x@mail.example.com", "percent-encoded"),
        ("smtp://ada:s3cret@mail.example.com:smtp/", "cannot be read"),
        ("smtp://ada:s3cret@mail.example.com:99999/", "cannot be read"),
        ("smtp://ada:s3cret@mail.example.com/inbox", "cannot be read"),
        ("smtp://ada@mail.example.com/?from=a@example.com", "only one of user and password"),
        ("smtp://ada:s3cret@mail.example.com/", "from=orchestrator@example.com"),
        ("smtp://ada:s3cret@mail.example.com/?from=ada", "from=orchestrator@example.com"),
        ("smtp://ada:s3cret@mail.example.com/?from=a@example.com%0D%0ABcc:b@c.de", "from=orchestrator@example.com"),
        ("smtp://ada:s3cret%C3%9F@mail.example.com/?from=a@example.com", "ASCII"),
        ("smtp://ada:s3cret@mail.example.com/?from=a@example.com&tls=maybe", "tls=starttls"),
        ("smtps://ada:s3cret@mail.example.com/?from=a@example.com&tls=none", "tls=starttls"),
        ("smtp://ada:s3cret@mail.example.com/?from=a@example.com&ssl=1", "does not know ssl"),
    ],
)
def test_another_mail_server_is_refused_without_its_password(
    monkeypatch: pytest.MonkeyPatch, url: str, words: str
) -> None:
    monkeypatch.setenv("ORCHESTRATOR_EMAIL_URL", url)
    with pytest.raises(ImproperlyConfigured) as caught:
        email_server()
    message = str(caught.value)
    assert message.startswith("ORCHESTRATOR_EMAIL_URL: ")
    assert words in message
    assert "s3cret" not in message


def settings_printed(home: Path, names: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ORCHESTRATOR_")}
    code = f"from orchestrator import site; site.load_settings(); from django.conf import settings as s; print({names})"
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**environment, "ORCHESTRATOR_HOME": str(home), **variables},
        capture_output=True,
        text=True,
    )


def test_settings_take_the_mail_server(home: Path) -> None:
    done = settings_printed(
        home,
        "s.EMAIL_HOST, s.EMAIL_PORT, s.EMAIL_USE_TLS, s.EMAIL_USE_SSL, s.DEFAULT_FROM_EMAIL, s.ALLOW_PRIVATE_ADDRESSES",
        ORCHESTRATOR_EMAIL_URL="smtp://ada:s3cret@mail.example.com/?from=a@example.com",
        ORCHESTRATOR_ALLOW_PRIVATE_ADDRESSES="1",
    )
    assert done.stdout.strip() == "mail.example.com 587 True False a@example.com True"


def test_nothing_is_sent_and_nobody_reached_by_default(home: Path) -> None:
    done = settings_printed(home, "repr(s.EMAIL_HOST), s.ALLOW_PRIVATE_ADDRESSES, s.SECRET_KEY_FALLBACKS")
    assert done.stdout.strip() == "'' False []"


@pytest.mark.parametrize(
    ("variable", "value"),
    [("EMAIL_URL", "smtp://ada:s3cret@/"), ("ALLOW_PRIVATE_ADDRESSES", "s3cret-maybe")],
)
def test_a_wrong_one_stops_the_start_in_one_line(home: Path, variable: str, value: str) -> None:
    done = settings_printed(home, "1", **{f"ORCHESTRATOR_{variable}": value})
    assert done.returncode == 3
    [line] = done.stderr.strip().splitlines()
    assert line.startswith(f"Error: ORCHESTRATOR_{variable}: ")
    assert "ada:s3cret" not in line


def test_runs_do_not_get_the_server_s_secrets() -> None:
    for name in ("EMAIL_URL", "SECRET_KEY", "SECRET_KEY_FALLBACKS", "DATABASE_URL", "BROKER_URL"):
        assert f"ORCHESTRATOR_{name}" in PRIVATE_VARIABLES
