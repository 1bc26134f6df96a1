"""The code is in a git repository, which the run's machine clones for itself."""

import posixpath
import re
from typing import ClassVar, Final
from urllib.parse import urlsplit

import msgspec

from orchestrator.sdk.exceptions import FlowLoadError
from orchestrator.sdk.home import home
from orchestrator.sdk.sources.base import Code, Reach

#: What a branch, a tag or a commit may be called: as git allows it, and nothing that could be an option.
_REF: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./@+-]{0,199}")
#: git@host:path, which git takes for ssh.
_SHORT_SSH: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*@[A-Za-z0-9][A-Za-z0-9.-]*:[A-Za-z0-9_./~+-]+")
_SCHEMES: Final = frozenset({"https", "http", "ssh", "file"})


class GitSource(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A branch, which runs follow, or a tag or commit, of a repository."""

    url: str
    ref: str = ""  #: empty: the repository's default branch
    environment: str = ""  #: the file of it that says what it needs; empty: what the worker has
    credentials: str = ""  #: the block of git-credentials that reads it; empty: whatever the worker's user has

    kind: ClassVar[str] = "git"
    is_rooted: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if problem := problem_of(self.url) or problem_of_ref(self.ref):
            raise ValueError(problem)
        if posixpath.isabs(self.environment) or posixpath.normpath(self.environment or ".").split("/")[0] == "..":
            raise ValueError("`environment` is a file within the repository")
        if self.credentials and not self.url.startswith("https://"):
            raise ValueError("`credentials` are sent over https:// alone")

    def opened(self, reach: Reach) -> Code:
        """Clone it where it is not here, and check out what the branch is at now."""
        from orchestrator.sdk.sources.checkouts import CheckoutFailed, checked_out  # subprocess, urllib

        try:
            folder, commit = checked_out(
                home().checkouts, self.url, self.ref, dict(reach.credentials), is_again=reach.is_again
            )
        except CheckoutFailed as error:
            raise FlowLoadError(str(error)) from None
        return Code(str(folder), {"commit": commit})


def problem_of(url: str) -> str:
    """Return why an address is none that may be cloned; empty where it is one.

    git takes options, commands (`ext::`) and files for addresses; only what is plainly one is passed on.
    """
    if not url.isprintable() or any(letter.isspace() for letter in url) or len(url) > 1000 or "\\" in url:
        return "`url` has characters that an address cannot have"
    if _SHORT_SSH.fullmatch(url):
        return ""
    parts = urlsplit(url)
    if parts.scheme not in _SCHEMES or "::" in url.partition("//")[0]:
        return f"`url` begins with one of {', '.join(f'{name}://' for name in sorted(_SCHEMES))}, or is user@host:path"
    if parts.scheme == "file":
        return "" if not parts.netloc and posixpath.isabs(parts.path) else "`url`: write file:///absolute/path"
    if not parts.hostname or parts.hostname.startswith("-"):
        return "`url` names no host"
    if parts.password or (parts.username and parts.scheme != "ssh"):
        return "`url` has a user or password in it: everybody who sees the deployment would see it"
    if parts.username and parts.username.startswith("-"):
        return "`url` names no user"
    return ""


def problem_of_ref(ref: str) -> str:
    """Return why a text names no branch, tag or commit; empty where it may."""
    if not ref or (
        _REF.fullmatch(ref) and ".." not in ref and "@{" not in ref and not ref.endswith((".lock", "/", "."))
    ):
        return ""
    return "`ref` is no name of a branch or tag, and no commit"
