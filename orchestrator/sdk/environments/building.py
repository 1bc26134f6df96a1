"""Building an environment by uv, once for all runs of this machine that need the same."""

import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from orchestrator.sdk.environments.engine_links import link_engine, signature
from orchestrator.sdk.environments.needs import Needs
from orchestrator.sdk.exceptions import OrchestratorError
from orchestrator.sdk.kept_folders import is_being_made, megabytes, used

BUILD_SECONDS: Final = 1_800.0  #: after which a build is given up
CACHE_VARIABLE: Final = "ORCHESTRATOR_ENVIRONMENTS_MB"
DEFAULT_CACHE_MB: Final = 10_240
_MARK: Final = "orchestrator-ready"
_FORM: Final = "1"  #: raised when environments are made in another way
_SAID_LINES: Final = 40

Say = Callable[[str], object]


class BuildFailed(OrchestratorError):
    """An environment could not be built. The message has uv's own words."""


def built(folder: Path, needs: Needs, root: Path, called: str, snapshot: str, say: Say) -> Path:
    """Return the Python of an environment, built where it is not here; this process uses it until it ends.

    Args:
        folder: Of all environments.
        needs: What is in it.
        root: The code's folder, to which files that it names are relative.
        called: The file that says what it needs.
        snapshot: The code's hash, of which an environment that names files of it is part.
        say: Tells how far it is.

    Raises:
        BuildFailed: uv is not here, or cannot build it.
    """
    place = folder / needs.digest(_FORM, signature(), snapshot if needs.is_local else "")
    if is_being_made(place, _MARK):
        say(f"Waiting for the environment of {called}, which another run builds")
    try:
        lock = used(
            place, _MARK, lambda: _build(place, needs, root, called, say), megabytes(CACHE_VARIABLE, DEFAULT_CACHE_MB)
        )
    except OSError as error:
        raise BuildFailed(f"The environment of {called} cannot be kept in {folder}: {error}.") from None
    os.set_inheritable(lock, True)  # it is used by the Python that this process becomes
    return place / "bin" / "python"


def _build(place: Path, needs: Needs, root: Path, called: str, say: Say) -> int:
    """Build an environment in its place, where nobody looks before its mark is there; return its size."""
    began = time.monotonic()
    say(f"Building the environment of {called}")
    shutil.rmtree(place, ignore_errors=True)
    work = place.with_name(f"{place.name}.work")
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    try:
        (work / "requirements.txt").write_text(needs.requirements)
        (work / "excludes.txt").write_text("orchestrator-flows\n")
        cache = f"--cache-dir={place.parent / '.cache'}"
        common = ["--no-config", "--color=never", "--no-progress", "--system-certs", "--no-python-downloads", cache]
        python = f"--python={needs.python or sys.executable}"
        _uv(["venv", *common, "--no-project", python, str(place)], root, called)
        if needs.requirements.strip():
            about = ["-r", needs.file or str(work / "requirements.txt"), "--excludes", str(work / "excludes.txt")]
            _uv(["pip", "install", *common, f"--python={place / 'bin' / 'python'}", *about], root, called)
        (site_packages,) = place.glob("lib/python*/site-packages")
        packages = len(list(site_packages.glob("*.dist-info")))
        link_engine(site_packages)
        (place / _MARK).touch()
    except BaseException:
        shutil.rmtree(place, ignore_errors=True)
        raise
    finally:
        shutil.rmtree(work, ignore_errors=True)
    count = f"{packages} package{'s' if packages != 1 else ''}"
    say(f"Built the environment of {called} with {count} in {time.monotonic() - began:.1f} s")
    return _size(place)


def _uv(words: list[str], directory: Path, called: str) -> None:
    """Run uv without anything of the run's own. Raises BuildFailed with its words."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ORCHESTRATOR_")}
    process = subprocess.Popen(
        [_found_uv(), *words],
        cwd=directory,
        env={**environment, "NO_COLOR": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        output, _ = process.communicate(timeout=BUILD_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise BuildFailed(
            f"The environment of {called} was not built within {BUILD_SECONDS / 60:.0f} minutes."
        ) from None
    if process.returncode:
        lines = [line.rstrip() for line in output.decode(errors="replace").splitlines() if line.strip()]
        said = "\n".join(map(_without_secrets, lines[-_SAID_LINES:]))
        if process.returncode < 0:
            said += f"\nuv was ended by {signal.Signals(-process.returncode).name}."
        raise BuildFailed(f"The environment of {called} cannot be built. uv says:\n{said}")


def _without_secrets(line: str) -> str:
    """Return a line without the passwords in its addresses."""
    return re.sub(r"(\w+://)[^/\s@]+@", r"\1***@", line)


def _found_uv() -> str:
    """Return where uv is. Raises BuildFailed."""
    if importlib.util.find_spec("uv") is not None:
        from uv import find_uv_bin  # only who builds needs it

        try:
            return str(find_uv_bin())
        except FileNotFoundError:
            pass
    if found := shutil.which("uv"):
        return found
    raise BuildFailed(
        "This worker has no uv, which builds environments. Install it there (pip install uv), or deploy with "
        "--no-environment to run with what the worker has."
    )


def _size(folder: Path) -> int:
    """The bytes of a folder's own files; what is linked is elsewhere."""
    return sum(path.lstat().st_size for path in folder.rglob("*") if not path.is_symlink() and path.is_file())
