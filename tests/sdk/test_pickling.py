"""Flows and tasks handed to other processes."""

import copy
import functools
import subprocess
import sys
from pathlib import Path

import cloudpickle
import pytest

from orchestrator import task
from tests.sdk.processes import environment

MODULE = """
from orchestrator import task

@task
def add(x):
    return x + 1

class Loader:
    @task
    def load(self):
        return 7
"""

SCRIPT = """
import multiprocessing, pickle, sys
from concurrent.futures import ProcessPoolExecutor
from orchestrator import flow, task
import numbers_of_mine

@task
def double(x):
    return x * 2

@flow
def alone():
    double(1)

if __name__ == "__main__":
    context = multiprocessing.get_context(sys.argv[1])
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        print(*pool.map(numbers_of_mine.add, [1, 2]), *pool.map(double, [1, 2]))
    process = context.Process(target=alone)
    process.start()
    process.join()
    print(process.exitcode)
    print(pickle.loads(pickle.dumps(numbers_of_mine.add)) is numbers_of_mine.add)
    print(pickle.loads(pickle.dumps(numbers_of_mine.Loader.load)) is numbers_of_mine.Loader.load)
"""


@task
def here(x: int) -> int:
    return x


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_tasks_and_flows_go_to_processes_as_functions_do(method: str, home: Path, tmp_path: Path):
    (tmp_path / "numbers_of_mine.py").write_text(MODULE)
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, script, method], env=environment(home), capture_output=True, text=True, timeout=60
    )
    assert done.stdout.split() == ["2", "3", "2", "4", "0", "True", "True"], done.stderr


def test_copies_with_options_and_local_tasks_go_by_value():
    @task
    def local(x: int) -> int:
        return x + 1

    assert cloudpickle.loads(cloudpickle.dumps(local))(1) == 2
    renamed = cloudpickle.loads(cloudpickle.dumps(here.with_options(name="there")))
    assert (renamed.name, renamed(1)) == ("there", 1)
    assert copy.copy(here) is here
    assert cloudpickle.loads(cloudpickle.dumps(task(functools.partial(pow, 2), name="power")))(3) == 8
