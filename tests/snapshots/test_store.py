"""A machine fetches a snapshot once, keeps it whole, and removes those that nobody uses."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.sdk import kept_folders
from orchestrator.sdk.kept_folders import let_go
from orchestrator.sdk.snapshots import store
from orchestrator.sdk.snapshots.manifest import PIECE_BYTES
from orchestrator.sdk.snapshots.store import SnapshotUnavailable, opened
from tests.snapshots.making import Made, made

FILES = {"etl.py": "print(1)\n", "pkg/__init__.py": "", "pkg/data.bin": b"x" * (PIECE_BYTES + 7)}


@pytest.fixture(autouse=True)
def _let_go() -> object:
    """Each test is a process of its own, as far as locks are concerned."""
    yield
    let_go()


def open_(folder: Path, snapshot: Made) -> Path:
    let_go()
    return opened(folder, snapshot.manifest.hash, snapshot.fetch)


def test_it_is_fetched_once_and_what_is_there_is_what_was_taken(tmp_path: Path) -> None:
    snapshot = made(FILES, {"pkg/link": "../etl.py"})
    tree = open_(tmp_path / "s", snapshot)
    assert {str(path.relative_to(tree)) for path in tree.rglob("*") if not path.is_dir()} == {*FILES, "pkg/link"}
    assert (tree / "etl.py").read_text() == (tree / "pkg/link").read_text() == "print(1)\n"
    assert (tree / "pkg/data.bin").stat().st_size == PIECE_BYTES + 7
    assert (tree / "etl.py").stat().st_mode & 0o222 == 0
    assert open_(tmp_path / "s", snapshot) == tree
    assert len(snapshot.fetched) == 1


def test_many_at_once_fetch_once(tmp_path: Path) -> None:
    program = (
        "import contextlib, io, os, pathlib, sys\n"
        "from orchestrator.sdk.snapshots.store import opened\n"
        "@contextlib.contextmanager\n"
        "def fetch(hash):\n"
        "    with open('fetched', 'a') as file: file.write('x')\n"
        "    yield open('pack', 'rb').read\n"
        "sys.stdin.read()\n"
        "print((opened(pathlib.Path('s'), sys.argv[1], fetch) / 'etl.py').read_text(), end='')\n"
    )
    snapshot = made(FILES)
    (tmp_path / "pack").write_bytes(snapshot.pack)
    words = [sys.executable, "-c", program, snapshot.manifest.hash]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    processes = [subprocess.Popen(words, cwd=tmp_path, **pipes) for _ in range(6)]
    assert {process.communicate(timeout=60)[0] for process in processes} == {"print(1)\n"}
    assert (tmp_path / "fetched").read_text() == "x"


def test_what_somebody_changed_is_put_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    snapshot = made(FILES, {"l": "etl.py"})
    tree = open_(tmp_path, snapshot)
    (tree / "etl.py").unlink()
    (tree / "etl.py").write_text("print(2)\n")  # as long as it was
    (tree / "l").unlink()
    (tree / "pkg/__init__.py").unlink()
    (tree / "pkg/data.bin").rename(tree / "elsewhere")
    (tree / "pkg").rmdir()
    (tree / "pkg").symlink_to("/tmp")
    open_(tmp_path, snapshot)
    assert (tree / "l").read_text() == "print(1)\n"
    assert not (tree / "pkg").is_symlink()
    assert (tree / "pkg/data.bin").stat().st_size == PIECE_BYTES + 7
    assert "Put back what was changed" in capsys.readouterr().out
    assert len(snapshot.fetched) == 2


def test_what_a_run_wrote_beside_the_files_stays(tmp_path: Path) -> None:
    snapshot = made(FILES)
    (open_(tmp_path, snapshot) / "result.csv").write_text("1")
    assert (open_(tmp_path, snapshot) / "result.csv").exists()
    assert len(snapshot.fetched) == 1


def test_another_snapshot_than_was_asked_for_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    right, wrong = made({"a": "1"}), made({"a": "2"})
    with pytest.raises(SnapshotUnavailable, match="is not whole"):
        opened(tmp_path, right.manifest.hash, wrong.fetch)
    lacking = Made(right.manifest, {})
    with pytest.raises(SnapshotUnavailable, match="1 parts did not come"):
        opened(tmp_path, right.manifest.hash, lacking.fetch)
    assert [path.suffix for path in tmp_path.iterdir()] == [".lock"]
    assert (open_(tmp_path, right) / "a").read_text() == "1"


def test_the_least_used_are_removed_and_never_one_in_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(store.CACHE_VARIABLE, "1")
    first, second, third = (made({"data": letter * 700_000}) for letter in "abc")
    in_use = opened(tmp_path, first.manifest.hash, first.fetch)
    opened(tmp_path, second.manifest.hash, second.fetch)
    assert (in_use / "data").exists()  # both are held by this process
    let_go()
    os.utime(f"{in_use.parent}.lock", (1, 1))  # used last
    opened(tmp_path, third.manifest.hash, third.fetch)
    assert not in_use.exists()
    assert {path.name for path in tmp_path.glob("*.lock")} == {f"{third.manifest.hash[:32]}.lock"}


def test_what_others_cleared_away_meanwhile_is_gone_and_nothing_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two that clear at once: the other has removed every lock that this one has just listed."""
    monkeypatch.setenv(store.CACHE_VARIABLE, "0")
    listed = Path.glob

    def cleared_meanwhile(folder: Path, pattern: str) -> list[Path]:
        found = [*listed(folder, pattern), tmp_path / "of-another.lock"]
        for path in found[:-1]:
            if path.name != f"{mine.manifest.hash[:32]}.lock":
                path.unlink()
        return found

    first, mine = made({"a": "1"}), made({"a": "2"})
    open_(tmp_path, first)
    let_go()
    monkeypatch.setattr(Path, "glob", cleared_meanwhile)
    assert (open_(tmp_path, mine) / "a").read_text() == "2"


def test_what_cannot_be_cleared_away_keeps_nobody_from_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(store.CACHE_VARIABLE, "0")
    (tmp_path / "odd.lock").mkdir()
    snapshot = made({"a": "1"})
    assert (open_(tmp_path, snapshot) / "a").read_text() == "1"


def test_a_folder_that_was_made_anew_under_a_new_lock_is_not_cleared_by_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between opening a lock and having it, another cleared the folder and a third one fetched it again."""
    lock, place = tmp_path / "x.lock", tmp_path / "x"
    lock.write_text("1")
    flock = kept_folders.fcntl.flock

    def made_anew(file: int, how: int) -> None:
        lock.rename(tmp_path / "old")
        lock.write_text("1")
        place.mkdir()
        flock(file, how)

    monkeypatch.setattr(kept_folders.fcntl, "flock", made_anew)
    assert not kept_folders._remove(lock)
    assert place.exists()


def test_a_full_disk_or_a_folder_that_is_none_is_said(tmp_path: Path) -> None:
    (tmp_path / "s").write_text("no folder")
    snapshot = made({"a": "1"})
    with pytest.raises(SnapshotUnavailable, match="cannot be kept in"):
        opened(tmp_path / "s", snapshot.manifest.hash, snapshot.fetch)
