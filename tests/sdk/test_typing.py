"""What scripts that are checked for types write runs as well."""

import pickle
import runpy
from pathlib import Path

import pytest

from orchestrator import Future, FutureList, State
from tests.sdk.conftest import Recorded


def test_typed_script_runs(recorded: Recorded):
    runpy.run_path(str(Path(__file__).with_name("typed_script.py")), run_name="__main__")
    assert {state for _, state, _ in recorded.flow_states()} == {"RUNNING", "COMPLETED"}


@pytest.mark.parametrize("kind", [Future, FutureList, State])
def test_results_can_be_named_in_annotations(kind: type):
    assert kind[int].__origin__ is kind  # type: ignore[index]


def test_state_can_be_pickled():
    assert pickle.loads(pickle.dumps(State("COMPLETED", data=3))).result() == 3
