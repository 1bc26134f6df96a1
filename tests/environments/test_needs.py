"""Which file says what code needs, and how it is read."""

import tomllib
from pathlib import Path

import pytest

from orchestrator.sdk.environments.engine_links import NEEDED
from orchestrator.sdk.environments.needs import BadNeeds, Needs, read_needs
from orchestrator.snapshots.collecting import CannotCollect, collect
from orchestrator.snapshots.environment import find_environment
from orchestrator.snapshots.roots import Root
from tests.snapshots.making import write

HEADER = """# /// script
# requires-python = ">=3.11"
# dependencies = [
#   "pandas<3",
#
#   "rich",
# ]
# ///
import x
"""


def read(tmp_path: Path, name: str, text: str) -> Needs | None:
    (tmp_path / name).write_text(text)
    return read_needs(tmp_path / name)


def test_each_form_is_read(tmp_path: Path) -> None:
    assert read(tmp_path, "requirements.txt", "# words\npandas\n") == Needs(
        "# words\npandas\n", file=str(tmp_path / "requirements.txt")
    )
    assert read(tmp_path, "requirements.txt", "\n# nothing\n") is None
    assert read(tmp_path, "etl.py", HEADER) == Needs("pandas<3\nrich\n", ">=3.11")
    assert read(tmp_path, "etl.py", "import x\n") is None
    project = '[project]\nname = "x"\nrequires-python = ">=3.10"\ndependencies = ["a", "b>1"]\n'
    assert read(tmp_path, "pyproject.toml", project) == Needs("a\nb>1\n", ">=3.10")
    assert read(tmp_path, "pyproject.toml", "[tool.x]\n") is None


@pytest.mark.parametrize(
    "text",
    ["-e .\n", "-r other.txt\n", "--find-links wheels\n", "./x.whl\n", "x @ file:///a/x.whl\n", "wheels/x.whl\n"],
)
def test_what_names_files_hangs_on_them(tmp_path: Path, text: str) -> None:
    needs = read(tmp_path, "requirements.txt", f"pandas\n{text}")
    assert needs is not None
    assert needs.is_local
    assert needs.digest("a") != needs.digest("b")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("etl.py", HEADER + HEADER),
        ("etl.py", "# /// script\n# dependencies = [\n# ///\n"),
        ("etl.py", '# /// script\n# dependencies = ["--index-url x"]\n# ///\n'),
        ("pyproject.toml", '[project]\ndependencies = "x"\n'),
        ("pyproject.toml", "[project\n"),
    ],
)
def test_what_cannot_be_read_is_told(tmp_path: Path, name: str, text: str) -> None:
    with pytest.raises(BadNeeds, match=name):
        read(tmp_path, name, text)


def test_the_script_comes_before_requirements_and_these_before_the_project(tmp_path: Path) -> None:
    def found(**options: object) -> str:
        collected = collect(Root(tmp_path.resolve()), 10**6)
        return find_environment(collected, tmp_path / "etl.py", **options)

    write(tmp_path, {"etl.py": "", "pyproject.toml": "[project]\ndependencies = ['a']\n"})
    assert found() == "pyproject.toml"
    write(tmp_path, {"requirements.txt": "a\n", "jobs/requirements.txt": "b\n"})
    assert found() == "requirements.txt"
    write(tmp_path, {"etl.py": HEADER})
    assert found() == "etl.py"
    assert found(asked="jobs/requirements.txt") == "jobs/requirements.txt"
    assert found(asked=False) == ""
    with pytest.raises(CannotCollect, match="is not in the snapshot"):
        found(asked="other.txt")


def test_an_environment_is_given_what_the_engine_needs() -> None:
    listed = tomllib.loads(Path("pyproject.toml").read_text())["project"]["dependencies"]
    names = [one.partition(">")[0] for one in listed]
    assert set(NEEDED) == set(names[: names.index("click")])
