"""Repositories and checkouts that runs of a machine share.

    checkouts/<hash of the address>.git/         a bare clone, fetched into when something is asked of it
    checkouts/<hash of address and commit>/tree/     the files of one commit

git asks no person for anything, follows only the protocols that are listed, and runs no hook and no submodule of the
repository.
"""

import contextlib
import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from orchestrator.sdk.exceptions import OrchestratorError
from orchestrator.sdk.kept_folders import megabytes, used
from orchestrator.sdk.snapshots.store import CACHE_VARIABLE, DEFAULT_CACHE_MB

if sys.platform != "win32":
    import fcntl

GIT_SECONDS: Final = 600.0
_MARK: Final = "commit"
_COMMIT: Final = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_SAFE: Final = (
    "-c", "core.hooksPath=/dev/null", "-c", "protocol.ext.allow=never", "-c", "core.fsmonitor=false",
    "-c", "core.symlinks=false", "-c", "submodule.recurse=false", "-c", "http.followRedirects=initial",
)  # fmt: skip


class CheckoutFailed(OrchestratorError):
    """A repository cannot be cloned, or has no such branch. The message has git's own words."""


def checked_out(
    folder: Path, url: str, ref: str, credentials: dict[str, str] | None = None, *, is_again: bool = False
) -> tuple[Path, str]:
    """Return the folder with the files of a branch, tag or commit, and the commit; this process uses it until it ends.

    Args:
        folder: Of all checkouts.
        url: The repository; checked.
        ref: A branch, a tag, a commit, or nothing for the default branch; checked.
        credentials: `host`, `username` and `token`; empty: whatever the worker's user has.
        is_again: What the name was at when it was last looked for, without asking the repository.

    Raises:
        CheckoutFailed: git is missing, the repository cannot be reached, or there is no such thing in it.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    repository = folder / f"{_hash(url)}.git"
    if _COMMIT.fullmatch(ref):
        place = folder / _hash(url, ref)
        if (place / _MARK).exists():  # a commit does not change: nobody has to be asked
            used(place, _MARK, lambda: _check_out(repository, place, ref), _most())
            return place / "tree", ref
    with _alone(repository):
        known = _known(repository, ref) if is_again else ""
        commit = known or _fetched(repository, url, ref, credentials or {})
        _git(url, "-C", str(repository), "update-ref", _own_name(ref), commit)
        place = folder / _hash(url, commit)
        used(place, _MARK, lambda: _check_out(repository, place, commit), _most())
    return place / "tree", commit


def _known(repository: Path, ref: str) -> str:
    try:
        return _git(
            "", "-C", str(repository), "rev-parse", "--verify", "--quiet", f"{_own_name(ref)}^{{commit}}"
        ).strip()
    except CheckoutFailed:
        return ""


def _own_name(ref: str) -> str:
    """Under which name a repository keeps what a branch was at; it keeps the commit from being cleared away, too."""
    return f"refs/orchestrator/{_hash(ref)}"


def _fetched(repository: Path, url: str, ref: str, credentials: dict[str, str]) -> str:
    """Fetch what a name is at now, and return its commit."""
    if not (repository / "HEAD").exists():
        shutil.rmtree(repository, ignore_errors=True)
        _git(url, "init", "--quiet", "--bare", str(repository))
    said = ("fetch", "--quiet", "--no-tags", "--depth=1", "--no-recurse-submodules", "--force")
    name = ref or "HEAD"
    helper, own = credential_helper(credentials)
    try:
        _git(url, *helper, "-C", str(repository), *said, "--", url, name, environment=own)
    except CheckoutFailed:
        if not re.fullmatch(r"[0-9a-f]{7,64}", ref):
            raise
        # A server need not hand out commits by their hash alone, and never by a part of it: all of it is fetched.
        everything = ("fetch", "--quiet", "--no-recurse-submodules", "--force", *_unshallow(repository))
        names = ("+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*")
        _git(url, *helper, "-C", str(repository), *everything, "--", url, *names, environment=own)
        return _git(url, "-C", str(repository), "rev-parse", "--verify", "--quiet", f"{ref}^{{commit}}").strip()
    return _git(url, "-C", str(repository), "rev-parse", "--verify", "--quiet", "FETCH_HEAD^{commit}").strip()


def credential_helper(credentials: dict[str, str]) -> tuple[tuple[str, ...], dict[str, str]]:
    """Return options and environment by which git gets credentials for one host, over https alone, from nobody else.

    They stand in git's environment and in no command line, file or address.
    """
    if not credentials:
        return (), {}
    says = '!f() { test "$1" = get && printf "username=%s\\npassword=%s\\n" "$CODE_USERNAME" "$CODE_TOKEN"; }; f'
    options = ("-c", "credential.helper=", "-c", f"credential.https://{credentials['host']}.helper={says}")
    return options, {"CODE_USERNAME": credentials["username"], "CODE_TOKEN": credentials["token"]}


def _unshallow(repository: Path) -> tuple[str, ...]:
    return ("--unshallow",) if (repository / "shallow").exists() else ()


def _check_out(repository: Path, place: Path, commit: str) -> int:
    """Write a commit's files beside its place, and rename them there; return their size."""
    beside = place.with_name(f"{place.name}.new")
    for folder in (beside, place):
        shutil.rmtree(folder, ignore_errors=True)
    tree = beside / "tree"
    tree.mkdir(parents=True)
    own = {"GIT_INDEX_FILE": str(beside / "index")}
    _git("", "-C", str(repository), f"--work-tree={tree}", "read-tree", commit, environment=own)
    _git("", "-C", str(repository), f"--work-tree={tree}", "checkout-index", "--all", "--quiet", environment=own)
    (beside / "index").unlink()
    (beside / _MARK).write_text(commit)
    beside.rename(place)
    return sum(path.stat().st_size for path in (place / "tree").rglob("*") if path.is_file())


def _git(url: str, *words: str, environment: dict[str, str] | None = None) -> str:
    """Run git and return what it printed. Raises CheckoutFailed with its words."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ORCHESTRATOR_", "GIT_"))}
    own = {
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_ALLOW_PROTOCOL": "https:http:ssh:file",
        "GIT_SSH_COMMAND": "ssh -oBatchMode=yes",
        "GIT_ASKPASS": "",
        "SSH_ASKPASS": "",
        "LC_ALL": "C",
    }
    try:
        done = subprocess.run(
            ["git", *_SAFE, *words],
            env={**kept, **own, **(environment or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=GIT_SECONDS,
            check=False,
        )
    except FileNotFoundError:
        raise CheckoutFailed(
            "This worker has no git, from which the deployment has its code. Install it there."
        ) from None
    except subprocess.TimeoutExpired:
        raise CheckoutFailed(f"git took longer than {GIT_SECONDS:.0f} s with {url}.") from None
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip() or "nothing of that name is there"
        raise CheckoutFailed(f"The code cannot be had from {url}. git says: {said[-2000:]}")
    return done.stdout.decode(errors="replace")


@contextlib.contextmanager
def _alone(repository: Path) -> Iterator[None]:
    """Have a repository for oneself; the kernel frees it."""
    with open(f"{repository}.held", "a") as file:
        if sys.platform != "win32":
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _most() -> int:
    return megabytes(CACHE_VARIABLE, DEFAULT_CACHE_MB)


def _hash(*texts: str) -> str:
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()[:32]
