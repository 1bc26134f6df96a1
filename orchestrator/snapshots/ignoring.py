"""What of a folder is left out: by default, by .gitignore files and by .orchestratorignore files.

Both kinds of files are read in every folder; a deeper one decides before one above it, a later line before an earlier
one, `!` takes along what another line leaves out, and nothing is looked for in a folder that is left out, all as git
does it. .orchestratorignore decides first, then .gitignore, then what is left out by default.
"""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from pathspec import GitIgnoreSpec

GIT: Final = ".gitignore"
OWN: Final = ".orchestratorignore"
#: Never taken, whatever the files say.
NEVER: Final = frozenset({".git", ".hg", ".svn", "__pycache__"})
#: Says what is deployed, and is no code: a schedule that changes in it must not look like changed code everywhere.
DECLARATIONS: Final = "orchestrator.toml"
#: Left out unless a file says otherwise; an environment's folder is known by its pyvenv.cfg too.
DEFAULTS: Final = (
    "*.py[co]", ".venv/", "venv/", "node_modules/", ".tox/", ".nox/", ".eggs/", "*.egg-info/", ".mypy_cache/",
    ".pytest_cache/", ".ruff_cache/", ".hypothesis/", ".ipynb_checkpoints/", ".coverage", ".DS_Store", ".idea/",
    ".vscode/", ".env", ".env.*", "!.env.example",
)  # fmt: skip

_defaults: Final = GitIgnoreSpec.from_lines(DEFAULTS)


@dataclass(frozen=True, slots=True)
class Rules:
    """What holds in a folder, by its path from the root; made anew for each folder with `below`."""

    root: Path
    own: tuple[tuple[str, GitIgnoreSpec], ...] = ()  #: by the folder that they stand in, the deepest first
    git: tuple[tuple[str, GitIgnoreSpec], ...] = ()
    outside: tuple[tuple[str, GitIgnoreSpec], ...] = field(default=())  #: .gitignore files above the root

    @classmethod
    def of(cls, root: Path) -> "Rules":
        """The rules that hold at a root, with those of its repository above it."""
        outside = []
        if not (root / ".git").exists():
            for folder in root.parents:
                if (spec := _read(folder / GIT)) is not None:
                    outside.append((f"{root.relative_to(folder).as_posix()}/", spec))
                if (folder / ".git").exists():
                    break
            else:
                outside = []  # no repository: whose files those are nobody knows
        return cls(root, outside=tuple(outside))

    def below(self, folder: str) -> "Rules":
        """The rules that hold in a folder (`""`, `"pkg/"`), with those of its own files."""
        own, git = _read(self.root / folder / OWN), _read(self.root / folder / GIT)
        return Rules(
            self.root,
            ((folder, own), *self.own) if own is not None else self.own,
            ((folder, git), *self.git) if git is not None else self.git,
            self.outside,
        )

    def leave_out(self, path: str) -> str:
        """Return what leaves a path out; empty where it is taken. A folder's path ends with `/`."""
        name = path.rstrip("/").rpartition("/")[2]
        if name in NEVER or path == DECLARATIONS:
            return "always"
        if path.endswith("/") and os.path.isfile(self.root / path / "pyvenv.cfg"):
            return "the default (a virtual environment)"
        for specs, file in ((self.own, OWN), (self.git, GIT)):
            for folder, spec in specs:
                if (said := spec.check_file(path[len(folder) :]).include) is not None:
                    return f"{folder}{file}" if said else ""
        for above, spec in self.outside:
            if (said := spec.check_file(above + path).include) is not None:
                return f"{GIT} above the root" if said else ""
        return "the default" if _defaults.check_file(path).include else ""


def _read(path: Path) -> GitIgnoreSpec | None:
    try:
        return GitIgnoreSpec.from_lines(path.read_text(errors="replace").splitlines())
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None
