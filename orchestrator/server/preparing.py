"""The child process that prepares the database while the server starts its broker."""

import json
import select
import subprocess
import sys
from collections.abc import Callable, Mapping

from orchestrator.server.checks import StartError
from orchestrator.server.preparation import Prepared


class Preparing:
    """`python -m orchestrator.server.preparation`, under way."""

    def __init__(self, environment: Mapping[str, str], directory: str) -> None:
        """Start it."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "orchestrator.server.preparation"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=dict(environment),
            cwd=directory,
            text=True,
            start_new_session=True,
        )

    def finish(self, say: Callable[[str], None], is_over: Callable[[], bool]) -> Prepared:
        """Wait for it, repeating what it says. Raises StartError when it fails or `is_over` says that nobody waits."""
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        prepared = None
        while not is_over():
            if not select.select([self._process.stdout], [], [], 0.2)[0]:
                continue
            line = self._process.stdout.readline()
            if not line:
                break
            message = json.loads(line)
            if "say" in message:
                say(message["say"])
            else:
                prepared = Prepared(**message["done"])
        if is_over():
            self._process.terminate()
        errors = self._process.communicate()[1].strip().splitlines()
        if prepared is None:
            raise StartError(errors[-1] if errors else "The start was interrupted.")
        return prepared
