"""What is taken of a project's folder, and what is not."""

import os
import tempfile
from pathlib import Path

import pytest

from orchestrator.snapshots.collecting import CannotCollect, collect, in_words
from orchestrator.snapshots.roots import NoRoot, Root, find_root
from tests.snapshots.making import write

MUCH = 50 * 1024 * 1024


def taken(root: Path, **options: Path) -> set[str]:
    return {entry.path for entry in collect(Root(root), MUCH, **options).manifest.entries}


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A home for these tests, in which tmp_path is no folder for temporary files."""
    monkeypatch.setenv("HOME", str(tmp_path / "person"))
    (tmp_path / "person").mkdir()
    return tmp_path / "person"


@pytest.mark.parametrize("marker", ["orchestrator.toml", "pyproject.toml", ".git/HEAD"])
def test_the_root_is_the_nearest_parent_with_a_marker(tmp_path: Path, marker: str) -> None:
    write(tmp_path, {"project/.git/HEAD": "", f"project/inner/{marker}": "", "project/inner/a/b/etl.py": ""})
    assert find_root(tmp_path / "project/inner/a/b", None).folder == (tmp_path / "project/inner").resolve()


def test_without_a_marker_it_is_the_files_folder(tmp_path: Path) -> None:
    write(tmp_path, {"a/b/etl.py": ""})
    assert find_root(tmp_path / "a/b", tmp_path / "a/b/etl.py") == Root((tmp_path / "a/b").resolve())


def test_a_home_is_never_taken_only_the_file_in_it(elsewhere: Path) -> None:
    write(elsewhere, {".git/HEAD": "", "pyproject.toml": "", "etl.py": "x", "secret": "x", "project/etl.py": ""})
    root = find_root(elsewhere, elsewhere / "etl.py")
    assert root.only == (elsewhere / "etl.py").resolve()
    assert [entry.path for entry in collect(root, MUCH).manifest.entries] == ["etl.py"]
    with pytest.raises(NoRoot, match="of its own"):
        find_root(elsewhere)
    with pytest.raises(NoRoot):
        find_root(elsewhere.parent)
    assert find_root(elsewhere / "project").folder == (elsewhere / "project").resolve()
    assert find_root(Path(tempfile.gettempdir()), Path(tempfile.gettempdir(), "x.py")).only is not None


def test_what_git_ignores_is_left_out(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            ".git/HEAD": "", ".gitignore": "*.csv\n!keep.csv\n/build/\nlogs/*\n!logs/important\n# a remark\n",
            "etl.py": "", "a.csv": "", "keep.csv": "", "build/x": "", "sub/build/y": "", "logs/a": "",
            "logs/important": "", "sub/.gitignore": "*.txt\n!a.csv\n", "sub/a.csv": "", "sub/b.csv": "",
            "sub/note.txt": "", "note.txt": "", "sub/deep/z.txt": "",
        },
    )  # fmt: skip
    assert taken(tmp_path) == {
        ".gitignore", "etl.py", "keep.csv", "sub/build/y", "logs/important", "sub/.gitignore", "sub/a.csv", "note.txt",
    }  # fmt: skip


def test_orchestratorignore_decides_before_git(tmp_path: Path) -> None:
    write(tmp_path, {
        ".gitignore": "data/\n*.log", ".orchestratorignore": "!data/\ndata/raw\nnotebooks/\n", "data/a": "",
        "data/raw/b": "", "notebooks/c": "", "x.log": "",
    })  # fmt: skip
    assert taken(tmp_path) == {".gitignore", ".orchestratorignore", "data/a"}


def test_what_is_never_code_is_left_out_by_default(tmp_path: Path) -> None:
    write(tmp_path, {
        "etl.py": "", "__pycache__/a.pyc": "", "pkg/__pycache__/b.pyc": "", "node_modules/x": "", ".venv/y": "",
        "env/pyvenv.cfg": "", "env/bin/python": "", ".env": "", ".env.example": "", "pkg/.env": "", ".git/config": "",
    })  # fmt: skip
    assert taken(tmp_path) == {"etl.py", ".env.example"}
    assert collect(Root(tmp_path), MUCH).left_out == [".env", "pkg/.env"]
    write(tmp_path, {".orchestratorignore": "!.env\n!__pycache__/\n!.git/\n"})
    assert taken(tmp_path) == {"etl.py", ".env.example", ".env", "pkg/.env", ".orchestratorignore"}


def test_a_repository_above_the_root_says_what_is_left_out_too(tmp_path: Path) -> None:
    write(tmp_path, {".git/HEAD": "", ".gitignore": "*.csv\njobs/data/\n", "jobs/pyproject.toml": "", "jobs/a.csv": "",
                     "jobs/data/x": "", "jobs/b.py": ""})  # fmt: skip
    assert taken(tmp_path / "jobs") == {"pyproject.toml", "b.py"}


def test_the_home_of_orchestrator_itself_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, {"etl.py": "", "state/orchestrator.db": ""})
    monkeypatch.setenv("ORCHESTRATOR_HOME", str(tmp_path / "state"))
    assert taken(tmp_path) == {"etl.py"}


def test_of_a_file_in_the_home_of_orchestrator_only_that_file_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ORCHESTRATOR_HOME", str(tmp_path))
    write(tmp_path, {"secret.key": "k", "pyproject.toml": "", "etl.py": ""})
    assert find_root(tmp_path, tmp_path / "etl.py") == Root(tmp_path.resolve(), (tmp_path / "etl.py").resolve())


def test_a_flow_that_is_left_out_is_told_with_the_line_that_helps(tmp_path: Path) -> None:
    write(tmp_path, {".gitignore": "scratch/\n", "scratch/etl.py": ""})
    with pytest.raises(CannotCollect, match=r"scratch/ is left out by \.gitignore.*!scratch/"):
        taken(tmp_path, needed=tmp_path / "scratch/etl.py")


def test_links_within_are_kept_and_others_refused(tmp_path: Path) -> None:
    write(tmp_path, {"p/a/x.py": "1", "outside": "secret"})
    (tmp_path / "p/b").symlink_to("a")
    (tmp_path / "p/a/y.py").symlink_to(tmp_path / "p/a/x.py")
    entries = {entry.path: entry for entry in collect(Root((tmp_path / "p").resolve()), MUCH).manifest.entries}
    assert {path: entry.target for path, entry in entries.items()} == {"a/x.py": "", "a/y.py": "x.py", "b": "a"}
    (tmp_path / "p/c").symlink_to("../outside")
    with pytest.raises(CannotCollect, match="other machines do not have"):
        taken((tmp_path / "p").resolve())


def test_a_pipe_is_passed_over_and_the_executable_bit_kept(tmp_path: Path) -> None:
    write(tmp_path, {"run.sh": "", "etl.py": ""})
    (tmp_path / "run.sh").chmod(0o755)
    os.mkfifo(tmp_path / "pipe")
    assert {entry.path: entry.kind.value for entry in collect(Root(tmp_path), MUCH).manifest.entries} == {
        "run.sh": "x", "etl.py": "f",
    }  # fmt: skip


def test_times_do_not_change_the_hash(tmp_path: Path) -> None:
    write(tmp_path, {"etl.py": "1"})
    before = collect(Root(tmp_path), MUCH).manifest.hash
    os.utime(tmp_path / "etl.py", (1, 1))
    assert collect(Root(tmp_path), MUCH).manifest.hash == before


def test_what_is_too_large_is_told_with_the_largest_folders(tmp_path: Path) -> None:
    write(tmp_path, {"etl.py": "", "data/a": "x" * 3000, "data/sub/b": "x" * 3000, "models/c": "x" * 2000})
    with pytest.raises(
        CannotCollect, match=r"7\.8 KB of files.*at most 4\.9 KB.*data/ \(5\.9 KB\), models/ \(2\.0 KB\)"
    ):
        collect(Root(tmp_path), 5000)


def test_a_file_that_changes_meanwhile_is_told(tmp_path: Path) -> None:
    write(tmp_path, {"etl.py": "1"})
    collected = collect(Root(tmp_path), MUCH)
    write(tmp_path, {"etl.py": "2"})
    with pytest.raises(CannotCollect, match="Deploy again"):
        collected.piece(next(iter(collected.places)))


def test_sizes_in_words() -> None:
    sizes = (1, 999, 1500, 34_000, 52_428_800, 5 * 1024**3)
    assert list(map(in_words, sizes)) == ["1 byte", "999 bytes", "1.5 KB", "33 KB", "50 MB", "5.0 GB"]
