"""What the environment's secrets do to a process that has them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

IS_DUMPABLE = "import ctypes, orchestrator.settings; print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))"


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
@pytest.mark.parametrize(("secret", "expected"), [("", "1"), ("ORCHESTRATOR_SECRET_KEY", "0")])
def test_a_process_with_secrets_hides_its_environment_from_runs(home: Path, secret: str, expected: str) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ORCHESTRATOR_")}
    environment |= {"ORCHESTRATOR_HOME": str(home), **({secret: "s3cret"} if secret else {})}
    done = subprocess.run(
        [sys.executable, "-c", IS_DUMPABLE], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == expected
