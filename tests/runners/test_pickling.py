"""What travels between processes, as values."""

import pickle
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from orchestrator import FailedRun, task
from orchestrator.sdk.effects import Outcome
from orchestrator.sdk.runners.pickling import dumps
from orchestrator.sdk.runners.transfer import pack, pack_outcome, unpack_outcome
from orchestrator.sdk.runs import TaskRun


class Refused(OSError):
    """Of the system's errors, with an `__init__` of its own and something that cannot be pickled."""

    def __init__(self, path: str) -> None:
        super().__init__(13, "Permission denied", path)
        self.lock = threading.Lock()
        self.tries = 3


class RefusedTwice(Refused):
    """One that inherits the `__init__`."""


@pytest.mark.parametrize("cls", [Refused, RefusedTwice])
def test_exceptions_come_back_as_they_were(cls: type[Refused]):
    error = pickle.loads(dumps(cls("/etc/shadow")))
    assert (type(error), error.errno, error.filename, error.tries) == (cls, 13, "/etc/shadow", 3)
    assert not hasattr(error, "lock")
    assert str(error) == str(cls("/etc/shadow"))


def test_notes_travel_and_exceptions_within_values_too():
    error = ValueError("bad")
    error.add_note("in line 7")
    (back,) = pickle.loads(dumps([error]))
    assert back.__notes__ == ["in line 7"]
    (refused,) = pickle.loads(dumps({Refused("x")}))
    assert refused.filename == "x"


def test_an_outcome_that_only_the_other_side_can_read_is_told():
    gone = type("Gone", (Exception,), {"__reduce__": lambda self: (_missing, ())})
    outcome, _ = unpack_outcome(pack_outcome(Outcome(error=gone("lost")), [], "Task run 'x-0'"))
    assert isinstance(outcome.error, FailedRun)
    assert str(outcome.error) == "Gone: lost"


def _missing() -> None:
    raise ImportError("no module here")


OWN = """
from orchestrator import task
import settings_of_mine

@task
def price(x):
    return x * settings_of_mine.FACTOR
"""

READ = "import pickle, sys; p = pickle.load(sys.stdin.buffer); print(p.function(2))"


def test_a_project_s_own_modules_travel_along_where_they_may_be_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "prices_of_mine.py").write_text(OWN)
    (tmp_path / "settings_of_mine.py").write_text("FACTOR = 21\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    import prices_of_mine  # type: ignore[import-not-found]

    run = TaskRun(prices_of_mine.price, (2,), {}, id="x", tags=frozenset())
    by_reference, by_value = pack(run, frozenset()), pack(run, frozenset(), by_value=True)
    for name in ("prices_of_mine", "settings_of_mine"):
        monkeypatch.delitem(sys.modules, name)
    command = [sys.executable, "-c", READ]
    assert subprocess.run(command, input=by_reference, capture_output=True, check=False).returncode == 1
    done = subprocess.run(command, input=by_value, capture_output=True, check=True)
    assert done.stdout == b"42\n"


@task
def here() -> None: ...


def test_a_payload_is_small():
    assert len(pack(TaskRun(here, (), {}, id="x", tags=frozenset()), frozenset())) < 1_000
