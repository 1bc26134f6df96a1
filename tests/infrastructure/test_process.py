"""A run's process is held to what its block says: limits, environment, folder, another Python, another user."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator.sdk.events import AnyFact, Exited, FlowRunState, Log
from orchestrator.sdk.host_protocol import RunExited, Start, Started
from orchestrator.sdk.infrastructure.base import Placement
from tests.sdk.test_host import Host

FLOWS = """
import os, resource, sys
from orchestrator import flow

@flow
def greedy():
    held = [bytearray(1024 * 1024) for _ in range(2000)]
    return len(held)

@flow
def busy():
    while True:
        pass

@flow
def opens():
    return [open(os.devnull) for _ in range(100)]

@flow
def looks():
    print("cwd", os.getcwd())
    print("kind", os.environ.get("KIND"))
    print("python", sys.executable)
    print("argv", sys.argv[0])
"""


@pytest.fixture
def host(home: Path, tmp_path: Path) -> Iterator[Host]:
    flows = tmp_path / "my_flows.py"
    flows.write_text(FLOWS)
    started = Host(home, flows)
    yield started
    started.close()


def run(host: Host, function: str, kind: str = "process", **settings: Any) -> tuple[list[AnyFact], RunExited]:
    placement = Placement(kind=kind, block="small", settings=settings)
    start: Start = host.start(function, infrastructure=placement)
    message = host.hear()
    if isinstance(message, Started):
        message = host.hear()
    assert isinstance(message, RunExited)
    return host.facts(start), message


def ending(found: list[AnyFact]) -> tuple[str, str]:
    (state,) = [fact for fact in found if isinstance(fact, FlowRunState) and fact.type in ("FAILED", "COMPLETED")]
    return state.type, state.message


def exited(found: list[AnyFact]) -> Exited:
    (exited,) = [fact for fact in found if isinstance(fact, Exited)]
    return exited


def printed(found: list[AnyFact]) -> str:
    return "\n".join(fact.message for fact in found if isinstance(fact, Log))


def test_memory_beyond_its_limit_fails_a_run_which_says_which_limit(host: Host) -> None:
    state, message = ending(run(host, "greedy", memory_mb=256)[0])
    assert state == "FAILED"
    assert message == "MemoryError: went over the memory limit of 256 MB set by block 'small'"


def test_the_least_memory_that_can_be_set_is_enough_to_begin(host: Host) -> None:
    assert ending(run(host, "looks", memory_mb=128)[0])[0] == "COMPLETED"
    assert ending(run(host, "looks", memory_mb=128, python=sys.executable)[0])[0] == "COMPLETED"


def test_processor_time_beyond_its_limit_ends_a_run_which_says_which_limit(host: Host) -> None:
    found = exited(run(host, "busy", cpu_seconds=1)[0])
    assert found.message == "used up its 1 s of processor time, the limit set by block 'small'"


def test_too_many_open_files_fail_as_any_system_says_it(host: Host) -> None:
    state, message = ending(run(host, "opens", open_files=64)[0])
    assert state == "FAILED"
    assert "Too many open files" in message


def test_code_is_loaded_in_its_own_folder_and_works_in_the_blocks(host: Host, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    found, _ = run(host, "looks", working_directory=str(folder), environment={"KIND": "small"})
    assert f"cwd {folder}" in printed(found)
    assert "kind small" in printed(found)


def test_a_folder_that_is_not_there_is_a_failure_that_names_it(host: Host) -> None:
    assert ending(run(host, "looks", working_directory="/nowhere/at/all")[0]) == (
        "FAILED",
        "The run's directory /nowhere/at/all cannot be entered: No such file or directory.",
    )


def test_limits_of_one_run_do_not_reach_the_next(host: Host) -> None:
    run(host, "opens", open_files=64)
    assert ending(run(host, "opens")[0])[0] == "COMPLETED"


@pytest.fixture
def other_python(tmp_path: Path) -> Path:
    """An interpreter of another name, with what this one has."""
    path = tmp_path / "other" / "python"
    path.parent.mkdir()
    path.write_text(f'#!/bin/sh\nOTHER=yes exec {sys.executable} "$@"\n')
    path.chmod(0o755)
    return path


def test_another_python_executes_the_run_with_limits_and_journal_as_a_fork_has_them(
    host: Host, other_python: Path, tmp_path: Path
) -> None:
    found, message = run(host, "looks", python=str(other_python), environment={"KIND": "other"})
    assert message.exit_code == 0
    assert ending(found)[0] == "COMPLETED"
    assert "kind other" in printed(found)
    assert f"argv {host.flows}" in printed(found)
    assert ending(run(host, "greedy", python=str(other_python), memory_mb=256)[0])[0] == "FAILED"


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("#!/bin/sh\necho No module named orchestrator >&2; exit 1\n", "Is orchestrator installed there?"),
        (None, "cannot be executed: No such file or directory"),
    ],
)
def test_a_python_that_cannot_run_it_is_named(host: Host, tmp_path: Path, text: str | None, wanted: str) -> None:
    path = tmp_path / "broken-python"
    if text is not None:
        path.write_text(text)
        path.chmod(0o755)
    message = exited(run(host, "looks", python=str(path))[0]).message
    assert wanted in message
    assert str(path) in message
    assert "'small'" in message


def test_unknown_infrastructure_is_refused_in_words(host: Host) -> None:
    assert "knows no infrastructure 'moon'" in exited(run(host, "looks", kind="moon")[0]).message
    assert "'small' (process)" in exited(run(host, "looks", colour="red")[0]).message
