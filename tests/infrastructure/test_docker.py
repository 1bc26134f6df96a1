"""The kind `docker` on a real engine: what a container is made of, how its end is told, and that nothing is left."""

import gc
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import msgspec
import pytest

from orchestrator.sdk.causes import Cause
from orchestrator.sdk.ids import uuid7
from orchestrator.sdk.infrastructure import docker as kind
from orchestrator.sdk.infrastructure.base import Ended, InfrastructureError, Launch, Unreachable
from orchestrator.sdk.infrastructure.container_engine import Engine, EngineAway, EngineProblem, Stopped, name_of
from orchestrator.sdk.infrastructure.docker import Docker, DockerSettings, seen_from_container
from tests.infrastructure.engine import IMAGE, PodmanEngine, python, volumes

WAIT_SECONDS = 30.0
# The docker package lets go of sockets whose connection was refused without closing them.
leaves_sockets = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")


@pytest.fixture
def collected() -> Iterator[None]:
    """What a test left is collected within it."""
    yield
    gc.collect()


class Attempt:
    """An attempt that executes some code in place of a run, and what was told of it."""

    def __init__(
        self, engine: PodmanEngine, code: str, run: str = "", number: int = 1, goes_on: bool = False, **settings: Any
    ) -> None:
        given = {"image": IMAGE, "volumes": volumes(), "networks": ["host"], "python": python(), "engine": engine.url}
        self.docker = Docker(msgspec.convert({**given, **settings}, DockerSettings), block="prod")
        self.lines: list[str] = []
        self.told = threading.Event()
        self.run = run or str(uuid7())
        self.name = name_of(self.run, number)
        self.launch = Launch(
            run=self.run,
            attempt=number,
            goes_on=goes_on,
            arguments=("-u", "-c", code),
            environment={"ORCHESTRATOR_API_URL": "http://127.0.0.1:9", "ORCHESTRATOR_API_TOKEN": "orun_secret"},
            stop_reason=lambda: "cancelled",
            tell=self._tell,
        )

    def _tell(self, line: str) -> None:
        self.lines.append(line)
        self.told.set()

    def execute(self) -> Ended:
        return self.docker.run(self.launch)

    def begin(self) -> Callable[[], Ended]:
        """Execute it in a thread, wait for its first line, and return what waits for its end."""
        ends: Future[Ended] = Future()

        def execute() -> None:
            try:
                ends.set_result(self.execute())
            except (InfrastructureError, Unreachable) as error:
                ends.set_exception(error)

        threading.Thread(target=execute).start()
        assert self.told.wait(WAIT_SECONDS)
        return lambda: ends.result(WAIT_SECONDS)


def left(engine: PodmanEngine, attempt: Attempt) -> bool:
    return found(engine, attempt) is not None


def found(engine: PodmanEngine, attempt: Attempt) -> dict[str, Any] | None:
    with Engine(engine.url) as asked:
        return asked.find(attempt.name)


def test_a_container_gets_what_its_block_says_and_its_lines_are_told_as_they_come(engine: PodmanEngine) -> None:
    code = """
import os, sys
print("as", os.getuid(), "in", os.getcwd())
print(os.environ["GREETING"], sorted(name for name in os.environ if name.startswith("ORCHESTRATOR_")), file=sys.stderr)
print("half a line", end="")
"""
    settings = {"user": "1000:1000", "working_directory": "/tmp", "environment": {"GREETING": "hi"}, "cpus": 0.5}
    attempt = Attempt(engine, code, memory_mb=256, **settings)
    ended = attempt.execute()
    assert (ended.exit_code, ended.signal) == (0, 0)
    assert sorted(attempt.lines) == [
        "as 1000 in /tmp",
        "half a line",
        "hi ['ORCHESTRATOR_API_TOKEN', 'ORCHESTRATOR_API_URL', 'ORCHESTRATOR_ECHO']",
    ]
    assert not left(engine, attempt)


def test_a_container_that_fails_tells_its_exit_code_and_last_line(engine: PodmanEngine) -> None:
    attempt = Attempt(engine, "print('out of luck'); raise SystemExit(3)")
    ended = attempt.execute()
    assert ended.exit_code == 3
    assert ended.message == "exit code 3; it last said: out of luck"
    assert not left(engine, attempt)


def test_beyond_its_memory_a_container_is_killed_and_the_limit_is_named(engine: PodmanEngine) -> None:
    attempt = Attempt(engine, "x = bytearray(512 * 1024 * 1024)", memory_mb=64)
    ended = attempt.execute()
    assert ended.signal == 9
    assert "out of memory" in ended.message
    assert "64 MB" in ended.message


def test_what_does_not_stop_is_killed_after_the_grace(engine: PodmanEngine) -> None:
    attempt = Attempt(engine, "import signal, time\nsignal.signal(15, 1)\nprint('up')\ntime.sleep(60)")
    end = attempt.begin()
    attempt.docker.stop(0.0)
    assert end().signal == 9
    assert not left(engine, attempt)


def test_stopped_before_it_began_nothing_is_started(engine: PodmanEngine) -> None:
    attempt = Attempt(engine, "print('never')")
    attempt.docker.stop(0.0)
    assert attempt.execute().message == "cancelled"
    assert attempt.lines == []


def test_what_its_supervisor_left_is_taken_over_and_not_started_twice(engine: PodmanEngine, tmp_path: Path) -> None:
    wait = f"while not os.path.exists({str(tmp_path / 'go')!r}): time.sleep(0.02)"
    code = f"import os, time\nprint('once')\n{wait}\nprint('done')"
    mounted = [*volumes(), f"{tmp_path}:{tmp_path}"]
    first = Attempt(engine, code, volumes=mounted)
    end = first.begin()
    second = Attempt(engine, code, run=first.run, volumes=mounted)
    end_again = second.begin()
    (tmp_path / "go").touch()
    assert end().exit_code == end_again().exit_code == 0
    assert first.lines == second.lines == ["once", "done"]


def test_the_next_attempt_begins_when_the_one_before_is_dead(engine: PodmanEngine) -> None:
    first = Attempt(engine, "import time\nprint('up')\ntime.sleep(60)", auto_remove=False)
    end = first.begin()
    second = Attempt(engine, "print('second')", run=first.run, number=2, auto_remove=False)
    assert second.execute().exit_code == 0
    assert end().signal == 9


def test_what_ended_long_ago_and_nobody_removed_is_removed(engine: PodmanEngine) -> None:
    for name, word in (("lost", "yes"), ("kept", "no")):
        labels = f"--label=orchestrator-remove={word}"
        engine.podman(
            "run", "--network=host", "--volume=/usr:/usr:ro", labels, f"--name={name}", IMAGE, "/usr/bin/true"
        )
    with Engine(engine.url) as asked:
        asked.remove_ended(3600.0)  # somebody may follow it yet
        assert asked.find("lost") is not None
        asked.remove_ended(-60.0)
        assert asked.find("lost") is None
        assert asked.find("kept") is not None


def test_a_container_that_is_kept_stays_to_be_looked_at(engine: PodmanEngine) -> None:
    attempt = Attempt(engine, "print('look')", auto_remove=False)
    attempt.execute()
    kept = found(engine, attempt)
    assert kept is not None
    assert kept["Config"]["Labels"]["orchestrator-run"] == attempt.run


@pytest.mark.parametrize("policy", ["if-missing", "never"])
def test_an_image_that_is_missing_ends_it_in_the_engine_s_own_words(engine: PodmanEngine, policy: str) -> None:
    attempt = Attempt(engine, "", image="localhost:9/nothing:1", pull_policy=policy)
    with pytest.raises(InfrastructureError) as caught:
        attempt.execute()
    assert caught.value.cause is Cause.IMAGE
    assert "localhost:9/nothing:1" in str(caught.value)
    assert "(block 'prod')" in str(caught.value)
    if policy != "never":
        assert "connection refused" in str(caught.value)


def test_a_python_that_is_not_in_the_image_is_told(engine: PodmanEngine) -> None:
    attempt = Attempt(engine, "", python="/nowhere/python")
    said = attempt.execute().message
    assert "is /nowhere/python in the image" in said
    assert not left(engine, attempt)


@leaves_sockets
@pytest.mark.usefixtures("collected")
def test_no_engine_is_told_with_its_address() -> None:
    with pytest.raises(EngineAway, match=r"unix:///nowhere.sock does not answer: No such file"):
        Engine("unix:///nowhere.sock")


@leaves_sockets
@pytest.mark.usefixtures("collected")
def test_an_engine_that_is_restarted_loses_no_run(engine: PodmanEngine) -> None:
    attempt = Attempt(engine, "import time\nprint('up')\ntime.sleep(2)\nprint('done')")
    end = attempt.begin()
    engine.kill()
    engine.start()
    assert end().exit_code == 0
    assert [line for line in attempt.lines if "does not answer" not in line] == ["up", "done"]


def test_a_fault_of_the_engine_s_own_is_no_end(engine: PodmanEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    stopped, faults = Engine.stopped, [EngineProblem("500: the database is locked")]

    def asked(self: Engine, name: str) -> Stopped | None:
        if faults and threading.current_thread().name != "container-logs" and (self.find(name) or {})["State"]["Pid"]:
            raise faults.pop()
        return stopped(self, name)

    monkeypatch.setattr(Engine, "stopped", asked)
    attempt = Attempt(engine, "import time\nprint('up')\ntime.sleep(1)\nraise SystemExit(3)")
    assert attempt.execute().exit_code == 3
    assert faults == []


@leaves_sockets
@pytest.mark.usefixtures("collected")
def test_what_runs_on_an_engine_that_stays_away_is_left_and_followed_when_it_is_back(
    engine: PodmanEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go = tmp_path / "go"
    code = f"import os, time\nprint('up')\nwhile not os.path.exists({str(go)!r}): time.sleep(0.02)\nprint('done')"
    mounted = [*volumes(), f"{tmp_path}:{tmp_path}"]
    first = Attempt(engine, code, volumes=mounted)
    with monkeypatch.context() as patch:
        patch.setattr(kind, "LEAVE_SECONDS", 0.5)
        end = first.begin()
        engine.kill()
        try:
            with pytest.raises(Unreachable, match="does not answer"):
                end()
            with pytest.raises(Unreachable, match="does not answer"):  # whoever follows it next knows no more
                Attempt(engine, code, run=first.run, goes_on=True, volumes=mounted).execute()
        finally:
            engine.start()
    engine.kill()
    second = Attempt(engine, code, run=first.run, goes_on=True, volumes=mounted)
    try:
        end = second.begin()  # what it tells first is that the engine is away
    finally:
        engine.start()
    go.touch()
    assert end().exit_code == 0
    assert "is asked again" in second.lines[0]
    assert second.lines[1:] == ["up", "done"]
    assert not left(engine, second)


@leaves_sockets
@pytest.mark.usefixtures("collected")
def test_what_has_not_begun_ends_where_no_engine_comes(engine: PodmanEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kind, "AWAY_SECONDS", 0.5)
    attempt = Attempt(engine, "")
    settings = msgspec.structs.replace(attempt.docker.settings, engine="unix:///nowhere.sock")
    attempt.docker = Docker(settings)
    with pytest.raises(InfrastructureError, match=r"nowhere.sock does not answer") as caught:
        attempt.execute()
    assert caught.value.cause is Cause.LOST


@pytest.mark.parametrize(
    ("url", "gateway", "seen"),
    [
        ("http://127.0.0.1:4200", "host.docker.internal", "http://host.docker.internal:4200"),
        ("http://localhost:4200/base", "host.docker.internal", "http://host.docker.internal:4200/base"),
        ("http://127.0.0.1:4200", "", "http://127.0.0.1:4200"),
        ("https://server.internal", "host.docker.internal", "https://server.internal"),
    ],
)
def test_a_container_reaches_this_machine_by_the_engine_s_name_for_it(url: str, gateway: str, seen: str) -> None:
    assert seen_from_container(url, gateway) == seen


def test_settings_that_cannot_be_meant_are_told_by_field() -> None:
    wrong = DockerSettings(
        image="x", environment={"ORCHESTRATOR_API_TOKEN": "x"}, volumes=["/data"], networks=["host", "other"]
    )
    assert set(Docker.check(wrong)) == {"environment", "volumes", "networks"}
    right = DockerSettings(image="x", environment={"A": "b"}, volumes=["/a:/b:ro", "named:/c"], networks=["one", "two"])
    assert Docker.check(right) == {}
