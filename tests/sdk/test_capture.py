"""What a run prints and logs is recorded with it, and goes where it went."""

import logging
import sys
import threading
from typing import Any

import pytest

from orchestrator import MissingContextError, flow, get_run_logger, task
from tests.sdk.conftest import Recorded

pytestmark = pytest.mark.usefixtures("recorded")


def test_prints_are_recorded_with_the_run_that_printed(recorded: Recorded, capsys: pytest.CaptureFixture[str]):
    @task
    def speak(word: str) -> None:
        print(word)

    @flow
    def one() -> None:
        print("before")
        speak("direct")
        speak.submit("submitted").wait()
        print("one", "two", sep="\n")
        print("error", file=sys.stderr)
        sys.stdout.write("no newline")

    one()
    assert capsys.readouterr().out == "before\ndirect\nsubmitted\none\ntwo\nno newline"
    runs = {fact["id"]: fact["name"] for fact in recorded.facts("task_run")}
    lines = [
        (runs.get(fact.get("task_run", "")), fact["message"])
        for fact in recorded.facts("log")
        if fact["logger"] == "stdout"
    ]
    assert lines == [
        (None, "before"),
        ("speak-0", "direct"),
        ("speak-1", "submitted"),
        (None, "one"),
        (None, "two"),
        (None, "no newline"),
    ]
    assert recorded.printed("stderr") == ["error"]


def test_streams_are_put_back():
    before = sys.stdout, sys.stderr

    @flow
    def one() -> None:
        assert sys.stdout is not before[0]
        assert sys.stdout.encoding == before[0].encoding

    one()
    assert (sys.stdout, sys.stderr) == before


def test_stream_kept_by_the_user_works_after_the_run(recorded: Recorded, capsys: pytest.CaptureFixture[str]):
    kept: list[Any] = []

    @flow
    def one() -> None:
        kept.append(sys.stdout)

    one()
    kept[0].write("later\n")
    assert capsys.readouterr().out == "later\n"
    assert recorded.printed() == []


def test_partial_lines_are_joined_by_run_and_thread(recorded: Recorded):
    @task
    def dots(mark: str) -> None:
        for _ in range(3):
            print(mark, end="")
        print("!")

    @flow
    def one() -> None:
        print("a", end="")
        dots("x")
        print("b")

    one()
    assert recorded.printed() == ["xxx!", "ab"]


def test_progress_bars_are_recorded_as_they_ended(recorded: Recorded):
    @flow
    def one() -> None:
        for percent in range(0, 101, 10):
            print(f"\r{percent} %", end="")
        print()
        for percent in range(3):
            print(f"{percent} done", end="\r")
        print()
        print("windows\r")

    one()
    assert recorded.printed() == ["100 %", "2 done", "windows"]


def test_line_over_one_megabyte_is_cut_and_says_so(recorded: Recorded):
    @flow
    def one() -> None:
        print("é" * 1_000_000)
        for _ in range(30):
            print("x" * 100_000, end="")
        print()

    one()
    for line in recorded.printed():
        assert len(line.encode()) < 1024 * 1024 + 100
        assert line.endswith("… [cut here: the line was longer than 1 MB]")


def test_log_prints_turns_prints_into_log_lines(recorded: Recorded, capsys: pytest.CaptureFixture[str]):
    @task
    def speak() -> None:
        print("from the task")

    @flow(log_prints=True, flow_run_name="x")
    def one() -> None:
        print("from the", end=" ")
        print("flow")
        speak()

    one()
    out, err = capsys.readouterr()
    assert out == ""
    lines = [line.split(" | ", 1)[1] for line in err.splitlines()]
    assert "INFO    | Flow run 'x' - from the flow" in lines
    assert "INFO    | Task run 'speak-0' - from the task" in lines
    assert recorded.printed() == ["from the flow", "from the task"]


def test_threads_of_the_users_belong_to_the_only_run(recorded: Recorded):
    @flow
    def one() -> None:
        thread = threading.Thread(target=lambda: print("from a thread"))
        thread.start()
        thread.join()

    one()
    assert recorded.printed() == ["from a thread"]


def test_python_logging_from_info_is_recorded_without_any_option(
    recorded: Recorded, capsys: pytest.CaptureFixture[str]
):
    logger = logging.getLogger("tests.library")

    @task
    def work() -> None:
        logger.info("rows: %d", 5)

    @flow
    def one() -> None:
        logger.debug("quiet")
        logger.warning("careful")
        work()
        try:
            raise KeyError("x")
        except KeyError:
            logger.exception("it broke")

    one()
    logger.info("outside")
    lines = recorded.printed("tests.library")
    assert lines[:2] == ["careful", "rows: 5"]
    assert lines[2].startswith("it broke\nTraceback")
    levels = {
        fact["message"]: fact["level"]
        for fact in recorded.facts("log")
        if fact["logger"] == "tests.library" and "level" in fact
    }
    assert levels["careful"] == 30
    assert any("task_run" in fact for fact in recorded.facts("log") if fact.get("message") == "rows: 5")


def test_level_set_on_a_logger_is_kept_to(recorded: Recorded):
    noisy = logging.getLogger("tests.noisy")
    noisy.setLevel(logging.ERROR)

    @flow
    def one() -> None:
        logging.getLogger("tests.noisy.child").warning("no")
        noisy.error("yes")

    one()
    assert recorded.printed("tests.noisy.child") == []
    assert recorded.printed("tests.noisy") == ["yes"]


def test_users_logging_configuration_stays_theirs(recorded: Recorded):
    lines: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(record.getMessage())

    root = logging.getLogger()
    handler = Keep()

    @flow
    def one() -> None:
        before = list(root.handlers)
        root.addHandler(handler)
        logging.getLogger("tests.theirs").info("below the root's level")
        logging.getLogger("tests.theirs").warning("above")
        root.handle(logging.makeLogRecord({"name": "elsewhere", "msg": "from a socket", "levelno": logging.INFO}))
        root.removeHandler(handler)
        assert root.handlers == before
        assert root.level == logging.WARNING

    one()
    assert lines == ["above", "from a socket"]
    assert recorded.printed("tests.theirs") == ["below the root's level", "above"]
    assert logging.Logger.callHandlers.__module__ == "logging"


def test_line_that_a_handler_prints_is_recorded_once(recorded: Recorded, capsys: pytest.CaptureFixture[str]):
    logger = logging.getLogger("tests.printed")

    @flow
    def one() -> None:
        handler = logging.StreamHandler(sys.stdout)
        logger.addHandler(handler)
        logger.warning("once")
        logger.removeHandler(handler)

    one()
    assert capsys.readouterr().out == "once\n"
    assert recorded.printed("tests.printed") == ["once"]
    assert recorded.printed() == []


def test_run_logger_prints_and_records(recorded: Recorded, capsys: pytest.CaptureFixture[str]):
    @task
    def work() -> None:
        get_run_logger().warning("task %s", "line")

    @flow(flow_run_name="x")
    def one() -> None:
        logger = get_run_logger()
        logger.info("flow line")
        logger.debug("not at this level")
        thread = threading.Thread(target=logger.info, args=("from a thread",))
        thread.start()
        thread.join()
        work()

    one()
    err = capsys.readouterr().err
    assert "INFO    | Flow run 'x' - flow line\n" in err
    assert "WARNING | Task run 'work-0' - task line\n" in err
    assert recorded.printed("orchestrator.task_runs") == ["task line"]
    assert recorded.printed("orchestrator.flow_runs")[:2] == ["flow line", "from a thread"]
    assert recorded.printed("stderr") == []


def test_run_logger_needs_a_run():
    with pytest.raises(MissingContextError, match="outside a run"):
        get_run_logger()


def test_terminal_can_be_quiet(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], recorded: Recorded):
    monkeypatch.setenv("ORCHESTRATOR_LOGGING_LEVEL", "ERROR")

    @flow
    def one() -> None: ...

    one()
    assert capsys.readouterr().err == ""
    assert len(recorded.printed("orchestrator.engine")) == 1
