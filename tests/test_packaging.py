"""What is installed: the wheel, and the pinned requirements."""

import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def test_wheel_carries_the_apps_inside_the_package(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("orchestrator_flows-*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    top = {name.split("/")[0] for name in names if ".dist-info" not in name}
    assert top == {"orchestrator"}
    assert {"orchestrator/py.typed", "orchestrator/__init__.pyi"} <= set(
        names
    )  # type checkers read the installed one too
    for app in ("flows", "notifications", "runs", "teams"):
        assert f"orchestrator/_site/{app}/apps.py" in names
    assert any(name.startswith("orchestrator/_site/templates/") and name.endswith(".html") for name in names)
    assert any(name.startswith("orchestrator/_site/static/") and name.endswith(".css") for name in names)


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-dev.txt"])
def test_requirements_are_pinned_with_hashes_and_name_no_index(name: str) -> None:
    text = (ROOT / name).read_text()
    assert "://" not in text
    assert not re.search(r"^-", text, re.MULTILINE)
    entries = re.split(r"\n(?=\S)", text.strip())
    assert all(re.match(r"[a-z0-9._\[\],-]+==\S+", entry) and "--hash=sha256:" in entry for entry in entries)


def test_development_requirements_hold_the_runtime_pins() -> None:
    def pins(name: str) -> set[str]:
        return set(re.findall(r"^[a-z0-9._-]+==\S+", (ROOT / name).read_text(), re.MULTILINE))

    assert pins("requirements.txt") <= pins("requirements-dev.txt")
