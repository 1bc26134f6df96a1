"""docs/how-to/processes.md, dask.md and ray.md: their first examples, run as one who follows them would."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.runners.conftest import DASK, PROCESSES, RAY
from tests.sdk.processes import environment

HOW_TO = Path(__file__).resolve().parents[2] / "docs/how-to"
ANSWERS = {"processes": "[17984, 18807, 19618, 20437]", "dask": "328350", "ray": "328350"}


@pytest.mark.parametrize("name", [PROCESSES, DASK, RAY])
def test_the_first_example_prints_its_answer(name: str, home: Path, tmp_path: Path):
    (code, *_) = re.findall(r"```python\n(.*?)```", (HOW_TO / f"{name}.md").read_text(), re.DOTALL)
    script = tmp_path / "squares.py"
    script.write_text(code)
    done = subprocess.run([sys.executable, script], env=environment(home), capture_output=True, text=True, timeout=170)
    assert done.stdout.splitlines() == [ANSWERS[name]], done.stderr
