"""Where things lie on this machine: the home directory and the files in it."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

SHIP_VARIABLE: Final = "ORCHESTRATOR_SHIP"  #: set where a run is executed away from its worker's home
#: In a container, whose output is recorded from outside: `0` keeps what the run records itself out of that.
ECHO_VARIABLE: Final = "ORCHESTRATOR_ECHO"


@dataclass(frozen=True, slots=True)
class Home:
    """Paths below `ORCHESTRATOR_HOME` (default `~/.orchestrator`, mode 0700)."""

    root: Path

    @property
    def journals(self) -> Path:
        """Segments, `<journal id>-<segment, six digits>.jsonl`; a file that is being made has another ending."""
        return self.root / "journals"

    @property
    def bell(self) -> Path:
        """Datagram socket of the process that brings journals in; any datagram wakes it."""
        return self.root / "bell.sock"

    @property
    def database(self) -> Path:
        """The embedded SQLite database."""
        return self.root / "orchestrator.db"

    @property
    def broker_socket(self) -> Path:
        """Unix socket of the embedded broker."""
        return self.root / "broker.sock"

    @property
    def server_file(self) -> Path:
        """JSON about the running server: pid, url, token (0600). Trust it only while `server_lock` is held."""
        return self.root / "server.json"

    @property
    def server_lock(self) -> Path:
        """Held (flock) by the running server of this home."""
        return self.root / "server.lock"

    @property
    def ingest_lock(self) -> Path:
        """Held (flock) by the one process that brings this home's journals in."""
        return self.root / "ingest.lock"

    @property
    def limits(self) -> Path:
        """JSON that names the tags which any team limits; no file: none."""
        return self.root / "limits.json"

    @property
    def control_socket(self) -> Path:
        """Unix socket (0600) of the helper that answers questions while no server runs."""
        return self.root / "control.sock"

    @property
    def control_lock(self) -> Path:
        """Held (flock) by that helper, and before it by whoever starts it."""
        return self.root / "control.lock"

    @property
    def secret_key(self) -> Path:
        """Django's SECRET_KEY (0600)."""
        return self.root / "secret.key"

    @property
    def snapshots(self) -> Path:
        """Snapshots of code that runs of this machine use, by their hash; whatever is missing is fetched again."""
        return self.root / "snapshots"

    @property
    def checkouts(self) -> Path:
        """Git repositories and their files that runs of this machine use; whatever is missing is cloned again."""
        return self.root / "checkouts"

    @property
    def environments(self) -> Path:
        """Environments that uv built for runs of this machine, by a hash of what they need."""
        return self.root / "environments"

    @property
    def logs(self) -> Path:
        """What the server's parts print."""
        return self.root / "logs"

    def make(self) -> None:
        """Create the home (0700) and its folders where they are missing. Raises OSError when that is impossible."""
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        for folder in (self.journals, self.logs):
            folder.mkdir(mode=0o700, exist_ok=True)


def home() -> Home:
    """Return this process's home, read from the environment at each call."""
    return Home(Path(os.environ.get("ORCHESTRATOR_HOME") or Path.home() / ".orchestrator").absolute())


def ships_itself() -> bool:
    """Whether this process ships its own facts, to the server that its environment names.

    A run that a worker's host started leaves that to the worker's home, unless it has nothing of the worker's
    (`orchestrator.sdk.attempt` in a container).
    """
    if not os.environ.get("ORCHESTRATOR_API_URL"):
        return False
    return not os.environ.get("ORCHESTRATOR_RUN_ID") or bool(os.environ.get(SHIP_VARIABLE))
