"""docs/how-to/processes.md, dask.md, ray.md and celery.md: their first examples, run as one who follows them would."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.runners.celery_site import CelerySite
from tests.runners.conftest import DASK, PROCESSES, RAY
from tests.sdk.processes import environment
from tests.server.running import ORCHESTRATOR

HOW_TO = Path(__file__).resolve().parents[2] / "docs/how-to"
ANSWERS = {"processes": "[17984, 18807, 19618, 20437]", "dask": "328350", "ray": "328350", "celery": "328350"}


@pytest.mark.parametrize("name", [PROCESSES, DASK, RAY])
def test_the_first_example_prints_its_answer(name: str, home: Path, tmp_path: Path):
    (code, *_) = re.findall(r"```python\n(.*?)```", (HOW_TO / f"{name}.md").read_text(), re.DOTALL)
    script = tmp_path / "squares.py"
    script.write_text(code)
    done = subprocess.run([sys.executable, script], env=environment(home), capture_output=True, text=True, timeout=170)
    assert done.stdout.splitlines() == [ANSWERS[name]], done.stderr


def test_the_example_for_celery_prints_its_answer_in_a_run(site: CelerySite, tmp_path: Path):
    text = (HOW_TO / "celery.md").read_text()
    (code, *_) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    (typed,) = re.findall(r"```console\n(.*?)```", text, re.DOTALL)
    start, *commands = [line.removeprefix("$ orchestrator ").split() for line in typed.splitlines()]
    (tmp_path / "squares.py").write_text(code)
    assert start == ["server", "start"]
    done = [
        subprocess.run(
            [*ORCHESTRATOR, *words],
            env=site[0].environment, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False,
        )
        for words in commands
    ]  # fmt: skip
    assert [one.returncode for one in done] == [0, 0], done
    assert ANSWERS["celery"] in done[-1].stdout + done[-1].stderr
