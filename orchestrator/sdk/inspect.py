"""`python -m orchestrator.sdk.inspect ENTRYPOINT [ROOT]`: says in JSON what flow is there, for who must not import it.

Prints one object and exits 0: `entrypoint` (absolute), `directory` (the current one), `flow`, `description`, `version`,
`tags`, `parameter_schema` (JSON schema of type object), `retries`, `retry_delay_seconds`, `timeout_seconds` and
`source_sha256`. Or it prints `{"error": {"type", "message", "traceback"}}` and exits 1. What the file itself prints
while it is loaded goes to standard error. With a root, modules are found in it as when a run has it as its code.
"""

import hashlib
import os
import sys
from pathlib import Path
from typing import Any

import msgspec

from orchestrator.sdk.endings import error_fact
from orchestrator.sdk.exceptions import FlowLoadError
from orchestrator.sdk.loading import find_flow
from orchestrator.sdk.schemas import parameter_schema
from orchestrator.sdk.sources.opening import import_from
from orchestrator.sdk.states import State, StateType


def describe(entrypoint: str) -> dict[str, Any]:
    """Load a flow and return what the module's docstring lists.

    Raises:
        FlowLoadError: As `loading.load_flow`; also when its parameters cannot be described.
    """
    found, flow = find_flow(entrypoint)
    source = found.path if found.is_file else Path(sys.modules[found.target].__file__ or os.devnull)
    return {
        "entrypoint": str(found),
        "directory": os.getcwd(),
        "flow": flow.name,
        "description": flow.description or "",
        "version": flow.version or "",
        "tags": [],
        "parameter_schema": parameter_schema(flow),
        "retries": flow.retries or 0,
        "retry_delay_seconds": flow.retry_delay_seconds,
        "timeout_seconds": flow.timeout_seconds,
        "source_sha256": hashlib.sha256(source.read_bytes()).hexdigest(),
    }


def main(arguments: list[str]) -> int:
    """Print the description of the flow at an entrypoint; return the exit code."""
    if len(arguments) not in (1, 2):
        print("usage: python -m orchestrator.sdk.inspect path.py:function [root]", file=sys.stderr)
        return 2
    if not sys.flags.safe_path and sys.path and sys.path[0] == os.getcwd():
        del sys.path[0]  # put there by -m; loading adds what Python would when it runs the file
    if len(arguments) == 2:
        import_from(arguments[1])
    out = _keep_stdout()
    try:
        answer, exit_code = describe(arguments[0]), 0
    except FlowLoadError as error:
        cause = error_fact(State(StateType.FAILED, data=error.__cause__)) if error.__cause__ else None
        traceback = cause.traceback if cause is not None else ""
        kind = cause.type if cause is not None else type(error).__name__
        answer, exit_code = {"error": {"type": kind, "message": str(error), "traceback": traceback}}, 1
    with os.fdopen(out, "wb") as stream:
        stream.write(msgspec.json.encode(answer, enc_hook=str) + b"\n")
    return exit_code


def _keep_stdout() -> int:
    """Send what is printed from now on to standard error, and return a descriptor of what standard output was."""
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    return kept


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
