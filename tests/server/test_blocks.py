"""Blocks through a real server: limits, another user's process over the API, crashes and cancellations there."""

import os
import pwd

from tests.server.running import RunningServer, until, write_once

FLOWS = """
import os, time
from orchestrator import flow

@flow
def greedy():
    return len([bytearray(1024 * 1024) for _ in range(2000)])

@flow
def ends_hard():
    print("so far", flush=True)
    os._exit(3)

@flow
def naps():
    print("napping", flush=True)
    time.sleep(60)

@flow
def adds(a: int, b: int = 2):
    print("sum", a + b)
"""


def deploy(server: RunningServer, flow: str, block: str) -> str:
    path = server.home / "limited.py"
    write_once(path, FLOWS)
    declaration = {
        "flow": flow, "name": f"in-{block}", "entrypoint": f"{path}:{flow}", "directory": str(server.home),
        "infrastructure": block, "parameter_schema": {},
    }  # fmt: skip
    return str(server.call("POST", "/api/deployments/", declaration)["id"])


def start(server: RunningServer, deployment: str, **body: object) -> str:
    return str(server.call("POST", f"/api/deployments/{deployment}/runs/", body)["id"])


def log(server: RunningServer, run: str) -> list[str]:
    return [line["message"] for line in server.call("GET", f"/api/flow-runs/{run}/logs/")["results"]]


def test_a_limit_holds_and_the_attempt_shows_which(server: RunningServer) -> None:
    values = {"memory_mb": 256}
    block = server.call("POST", "/api/blocks/", {"type": "process", "name": "small", "values": values})
    deployment = deploy(server, "greedy", "small")
    run = server.wait(start(server, deployment), "FAILED")
    assert run["state_message"] == "MemoryError: went over the memory limit of 256 MB set by block 'small'"
    (attempt,) = run["attempts"]
    assert attempt["infrastructure"] == {"block": "small", "type": "process", "version": 1, "values": values}

    overridden = server.wait(start(server, deployment, infrastructure_overrides={"memory_mb": 200}), "FAILED")
    assert "limit of 200 MB" in overridden["state_message"]
    server.call("PATCH", f"/api/blocks/{block['id']}/", {"values": {"memory_mb": 300}})
    moved = server.wait(start(server, deployment), "FAILED")
    assert "limit of 300 MB" in moved["state_message"]
    assert moved["attempts"][0]["infrastructure"]["version"] == 2


def test_a_run_with_nothing_of_the_workers_is_recorded_crashes_and_is_cancelled(server: RunningServer) -> None:
    values = {"user": pwd.getpwuid(os.geteuid()).pw_name}
    server.call("POST", "/api/blocks/", {"type": "process", "name": "apart", "values": values})
    added = server.wait(start(server, deploy(server, "adds", "apart"), parameters={"a": 40}), "COMPLETED", 40)
    assert "sum 42" in log(server, added["id"])

    crashed = server.wait(start(server, deploy(server, "ends_hard", "apart")), "CRASHED", 40)
    assert crashed["state_message"].endswith("exit code 3")
    assert "so far" in log(server, crashed["id"])
    assert crashed["attempts"][0]["exit_code"] == 3

    napping = start(server, deploy(server, "naps", "apart"))
    until(lambda: "napping" in log(server, napping), 40)
    server.call("POST", f"/api/flow-runs/{napping}/cancel/")
    assert server.wait(napping, "CANCELLED")["state_message"].startswith("Cancelled")
