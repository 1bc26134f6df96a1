"""The public names and what importing them costs, both of which users rely on."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import orchestrator

PUBLIC = """
Cancelled CancelledRun CeleryTaskRunner Completed Crashed CrashedRun DaskTaskRunner Failed FailedRun Flow FlowRun
Future FutureList InlineTaskRunner MapError MissingContextError OrchestratorError ParameterError Pending
ProcessPoolTaskRunner RayTaskRunner RunTimeoutError RunnerError Running State StateType Task TaskRun
ThreadPoolTaskRunner TransferError UnsuccessfulRun UpstreamError __version__ allow_failure as_completed
exponential_backoff flow get_run_logger quote runtime tags task unmapped wait
"""


def test_public_names_are_these():
    assert sorted(orchestrator.__all__) == sorted(PUBLIC.split())


def test_every_public_name_can_be_imported():
    for name in orchestrator.__all__:
        assert getattr(orchestrator, name) is not None


def test_stub_declares_the_same_names():
    stub = ast.parse(Path(orchestrator.__file__).with_suffix(".pyi").read_text())
    declared = [alias.asname for node in stub.body if isinstance(node, ast.ImportFrom) for alias in node.names]
    assert sorted(map(str, declared)) == sorted(orchestrator.__all__)


def _modules_after(code: str) -> set[str]:
    script = f"{code}\nimport sys\nprint(' '.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split())


SERVERS = {"celery", "django", "kombu", "redis", "requests", "sqlite3", "ssl"}


def test_decorating_loads_nothing_heavy():
    loaded = _modules_after("from orchestrator import flow, task\n@flow\ndef one(): ...\n@task\ndef two(): ...")
    heavy = {
        "asyncio",
        "cloudpickle",
        "dataclasses",
        "datetime",
        "inspect",
        "logging",
        "msgspec",
        "pydantic",
        "threading",
    }
    assert not loaded & (SERVERS | heavy)
    assert not {name for name in loaded if name.startswith("orchestrator.") and not name.startswith("orchestrator.sdk")}


@pytest.mark.usefixtures("home")
def test_running_a_plain_flow_loads_no_server_and_no_event_loop():
    loaded = _modules_after("from orchestrator import flow, task\n@flow\ndef one(): print(1)\none()")
    assert not loaded & (SERVERS | {"asyncio", "cloudpickle", "pydantic"})
