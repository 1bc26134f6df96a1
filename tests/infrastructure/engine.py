"""A real container engine for tests: Podman's API over a socket of its own, with an image that is made here.

No registry is asked: the image is an empty root filesystem, and containers are given this machine's Python, its
environment and this checkout, read-only.
"""

import io
import os
import shutil
import socket
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

IMAGE = "localhost/orchestrator-test:1"
START_SECONDS = 20.0
# So that tests that are killed leave no engine behind.
WITH_ITS_PARENT = ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []
ROOT = Path(__file__).resolve().parents[2]

# Where no limits may be raised, a container starts with these (podman's own defaults are higher).
CONTAINERS_CONF = """
[containers]
default_ulimits = ["nofile=4096:4096", "nproc=4096:4096"]
log_driver = "k8s-file"

[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
"""


class NoEngine(Exception):
    """No container engine can be had here; the message says why."""


@dataclass(slots=True)
class PodmanEngine:
    """A running engine, which can be restarted."""

    folder: Path
    process: "subprocess.Popen[bytes] | None" = field(default=None)

    @property
    def url(self) -> str:
        """Where its API is."""
        return f"unix://{self.folder}/engine.sock"

    @property
    def environment(self) -> dict[str, str]:
        """For podman's command line."""
        files = {"CONTAINERS_CONF": "containers.conf", "CONTAINERS_STORAGE_CONF": "storage.conf"}
        return {**os.environ, **{name: str(self.folder / file) for name, file in files.items()}}

    def start(self) -> None:
        """Serve the API, and wait until it answers."""
        with (self.folder / "engine.log").open("ab") as log:
            words = [*WITH_ITS_PARENT, "podman", "system", "service", "--time=0", self.url]
            self.process = subprocess.Popen(words, env=self.environment, cwd=self.folder, stdout=log, stderr=log)
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise NoEngine(f"podman's API does not start: {(self.folder / 'engine.log').read_text()[-500:]}")
            time.sleep(0.05)

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as connection:
            return connection.connect_ex(self.url.removeprefix("unix://")) == 0

    def kill(self) -> None:
        """End the API's process at once; containers go on."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def podman(self, *words: str) -> str:
        """Run podman's command line, and return what it printed."""
        done = subprocess.run(
            ["podman", *words],
            env=self.environment,
            cwd=self.folder,  # conmon leaves files where it is started
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        if done.returncode:
            raise NoEngine(f"podman {words[0]} fails: {done.stderr.strip()[-500:]}")
        return done.stdout


def volumes() -> list[str]:
    """What a container of the test image needs to run this Python with this checkout, read-only."""
    folders = {Path("/usr"), ROOT, Path(sys.prefix).resolve(), Path(sys.base_prefix).resolve()}
    return [
        f"{folder}:{folder}:ro"
        for folder in sorted(folders)
        if not any(folder != other and folder.is_relative_to(other) for other in folders)
    ]


def python() -> str:
    """This environment's interpreter, as a container finds it."""
    return str(Path(sys.prefix).resolve() / "bin" / "python")


@contextmanager
def podman_engine() -> Iterator[PodmanEngine]:
    """Run an engine, with the image in it. Raises NoEngine."""
    if missing := [program for program in ("podman", "runc", "catatonit") if shutil.which(program) is None]:
        raise NoEngine(f"{', '.join(missing)} not found: apt-get install podman runc catatonit")
    if os.geteuid() != 0:
        raise NoEngine("these tests run podman as root")
    with tempfile.TemporaryDirectory(prefix="orch-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        (folder / "containers.conf").write_text(CONTAINERS_CONF)
        storage = f'[storage]\ndriver = "vfs"\nrunroot = "{folder}/run"\ngraphroot = "{folder}/graph"\n'
        (folder / "storage.conf").write_text(storage)
        engine = PodmanEngine(folder)
        (folder / "root.tar").write_bytes(_root())
        engine.podman("import", "--quiet", str(folder / "root.tar"), IMAGE)
        engine.podman("run", "--rm", "--network=host", "--volume=/usr:/usr:ro", IMAGE, "/usr/bin/true")
        engine.start()
        try:
            yield engine
        finally:
            engine.podman("rm", "--all", "--force", "--time=0")
            engine.kill()


def _root() -> bytes:
    """An image's root filesystem: folders to mount on, and the links of a merged /usr."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for folder in ("usr", "etc", "tmp", "proc", "sys", "dev", "root"):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o1777 if folder == "tmp" else 0o755
            archive.addfile(entry)
        for link in ("bin", "lib", "sbin", "lib64"):
            entry = tarfile.TarInfo(link)
            entry.type, entry.linkname = tarfile.SYMTYPE, f"usr/{link}"
            archive.addfile(entry)
    return buffer.getvalue()


@contextmanager
def engine_or_skip() -> Iterator[PodmanEngine]:
    """Run an engine; where there can be none, what needs it is skipped, and says what is missing."""
    with ExitStack() as stack:
        try:
            engine = stack.enter_context(podman_engine())
        except NoEngine as error:
            pytest.skip(f"no container engine: {error}")
        yield engine
