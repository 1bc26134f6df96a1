"""docs/how-to/blocks.md, process.md and in-worker.md: what they say to type works, in its order."""

import re
import shlex
from pathlib import Path

from tests.cli.conftest import Cli

HOW_TO = Path(__file__).resolve().parents[2] / "docs/how-to"
FLOWS = "from orchestrator import flow\n\n@flow\ndef {name}():\n    pass\n"


def typed(name: str) -> list[list[str]]:
    """The commands of a page, as words; what asks for a secret is left to tests of that."""
    text = (HOW_TO / f"{name}.md").read_text()
    blocks = "\n".join(re.findall(r"```console\n(.*?)```", text, re.DOTALL)).replace("\\\n", " ")
    lines = [line.removeprefix("$ ") for line in blocks.splitlines() if line.startswith("$ orchestrator")]
    found = [shlex.split(line, comments=True)[1:] for line in lines]
    return [words for words in found if words[-1] != "-"]


def test_what_the_pages_say_to_type_works(local: Cli, tmp_path: Path) -> None:
    local.environment["HOME"] = str(tmp_path)
    (tmp_path / ".kube").mkdir()
    (tmp_path / ".kube" / "config").write_text("apiVersion: v1\n")
    for flow, names in (("etl", ("nightly", "hourly")), ("report", ("weekly",))):
        (tmp_path / f"{flow}.py").write_text(FLOWS.format(name=flow))
        for name in names:
            local("deploy", str(tmp_path / f"{flow}.py"), "--name", name)
    (Path(local.directory) / "prices.py").write_text(FLOWS.format(name="refresh"))
    commands = [words for name in ("blocks", "process", "in-worker") for words in typed(name)]
    assert len(commands) >= 11
    for words in commands:
        local(*words)
    assert local.json("deployment", "inspect", "etl/nightly")["infrastructure_overrides"] == {"memory_mb": 256}
    assert local.json("deployment", "inspect", "report/weekly")["infrastructure"] == "reports"
