"""The parts started one by one, as in production: PostgreSQL, Redis over TCP, and a project with folders like ours."""

import http.client
import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.server.running import FLOWS, command, until
from tests.servers import free_port

PYTHON = [sys.executable, "-m"]


@contextmanager
def part(log: Path, environment: dict[str, str], cwd: Path, *words: str) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a part by its documented command."""
    with log.open("wb") as output:
        process = subprocess.Popen([*PYTHON, *words], env=environment, cwd=cwd, stdout=output, stderr=output)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def test_parts_started_one_by_one_run_a_deployment(short_home: Path, postgres_url: str, redis_url: str) -> None:
    project = short_home / "project"
    for folder in ("flows", "runs", "tests"):  # a user's own, which ours must not meet
        (project / folder).mkdir(parents=True)
        (project / folder / "__init__.py").write_text("raise RuntimeError('the user’s own folder was imported')\n")
    (project / "project.py").write_text(FLOWS)
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ORCHESTRATOR_")} | {
        "ORCHESTRATOR_HOME": str(short_home),
        "ORCHESTRATOR_DATABASE_URL": postgres_url,
        "ORCHESTRATOR_BROKER_URL": redis_url,
        "ORCHESTRATOR_API_URL": url,
    }
    assert command(environment, "server", "prepare").returncode == 0
    password = command(environment, "user", "set-password", "admin", typed="correct horse battery\n")
    assert password.stdout == "The password of admin is set.\n"
    local = {**environment, "ORCHESTRATOR_API_URL": ""}
    token = command(local, "token", "create", "test").stdout.strip().splitlines()[-1]
    environment["ORCHESTRATOR_API_TOKEN"] = token
    with ExitStack() as stack:
        for name, words in {
            "web": ("gunicorn", "orchestrator.asgi:application", "-k", "asgi", "--bind", f"127.0.0.1:{port}"),
            "worker": ("celery", "-A", "orchestrator", "worker"),
            "beat": ("celery", "-A", "orchestrator", "beat"),
        }.items():
            stack.enter_context(part(short_home / f"{name}.log", environment, project, *words))
        until(lambda: answers(url), 30, lambda: (short_home / "web.log").read_text())
        entrypoint = f"{project / 'project.py'}:hello"
        deployment = call(url, token, "/api/deployments/", {"flow": "hello", "name": "p", "entrypoint": entrypoint})
        run = call(url, token, f"/api/deployments/{deployment['id']}/runs/", {"parameters": {}})
        logs = lambda: "\n".join(path.read_text() for path in short_home.glob("*.log"))  # noqa: E731
        # The worker brings the journals in, after it has seen twice that nobody else does.
        until(lambda: call(url, token, f"/api/flow-runs/{run['id']}/")["state_type"] == "COMPLETED", 30, logs)
        assert "the user’s own folder" not in logs()


def test_a_part_says_in_one_line_why_it_cannot_start(short_home: Path, redis_url: str) -> None:
    environment = {**os.environ, "ORCHESTRATOR_HOME": str(short_home), "ORCHESTRATOR_BROKER_URL": redis_url}
    web = ("gunicorn", "orchestrator.asgi:application", "-k", "asgi", "--bind")
    for words in (("celery", "-A", "orchestrator", "worker"), (*web, f"127.0.0.1:{free_port()}")):
        wrong = {**environment, "ORCHESTRATOR_WORKER_PLACES": "none"}
        ended = subprocess.run([*PYTHON, *words], env=wrong, cwd=short_home, capture_output=True, text=True, timeout=60)
        assert ended.returncode != 0
        assert "Error: ORCHESTRATOR_WORKER_PLACES" in ended.stderr
        assert "Traceback" not in ended.stderr


def test_parts_on_a_database_that_was_not_prepared_name_the_verb(short_home: Path, redis_url: str) -> None:
    environment = {**os.environ, "ORCHESTRATOR_HOME": str(short_home), "ORCHESTRATOR_BROKER_URL": redis_url}
    worker = (*PYTHON, "celery", "-A", "orchestrator", "worker")
    ended = subprocess.run(worker, env=environment, cwd=short_home, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 1
    assert "orchestrator server prepare" in ended.stderr
    assert "Traceback" not in ended.stderr
    port, log = free_port(), short_home / "web.log"
    words = ("gunicorn", "orchestrator.asgi:application", "-k", "asgi", "--bind", f"127.0.0.1:{port}")
    with part(log, environment, short_home, *words):
        status, answer = until(lambda: health(port), 30, log.read_text)
        assert (status, answer["code"]) == (503, "not_prepared")
        assert health(port) == (status, answer)
        assert command(environment, "server", "prepare").returncode == 0
        assert answers(f"http://127.0.0.1:{port}")
        assert health(port, host="elsewhere.example") == (400, {})
    said = log.read_text()
    assert said.count("orchestrator server prepare") == 1
    assert said.count("elsewhere.example") == 2  # in one line
    assert "Traceback" not in said


def health(port: int, host: str = "127.0.0.1") -> tuple[int, dict[str, str]] | None:
    """What the site says of itself, and with which status; None when nobody answers."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/api/health/", headers={"Host": host})
        answer = connection.getresponse()
        is_json = answer.headers["Content-Type"] == "application/json"
        return answer.status, json.loads(answer.read()) if is_json else {}
    except OSError:
        return None
    finally:
        connection.close()


def answers(url: str) -> bool:
    """Whether the site answers."""
    try:
        with urllib.request.urlopen(f"{url}/api/health/", timeout=2) as response:
            return bool(response.status == 200)
    except OSError:
        return False


def call(url: str, token: str, path: str, body: object = None) -> dict[str, object]:
    """Make a REST call and return its JSON."""
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(url + path, data, headers), timeout=10) as response:
        answer: dict[str, object] = json.loads(response.read())
        return answer
