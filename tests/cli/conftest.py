"""Runs the command as a person does: a process of its own, with a home of its own.

A verb that ends by itself is forked from a process with Django in it (`tests.cli.forking`); what servers and workers
do, and how the command starts and fails to, is the command's own.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.cli.forking import COMMAND, Template

CLEAN = {name: value for name, value in os.environ.items() if not name.startswith(("ORCHESTRATOR_", "TEST_DATABASE"))}


@dataclass
class Cli:
    """The command in some folder and with some environment."""

    environment: dict[str, str]
    directory: Path
    template: Template

    def __call__(self, *arguments: str, code: int = 0, **environment: str) -> "subprocess.CompletedProcess[str]":
        """Run it, forked, and check its exit code."""
        if arguments[0] in {"server", "worker", "drill"}:
            return self.command(*arguments, code=code, **environment)
        done = self.template.run(arguments, self.directory, {**self.environment, **environment}, 60)
        return _checked(done, code)

    def command(self, *arguments: str, code: int = 0, **environment: str) -> "subprocess.CompletedProcess[str]":
        """Run the command itself and check its exit code."""
        done = subprocess.run(
            [*COMMAND, *arguments],
            cwd=self.directory,
            env={**self.environment, **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return _checked(done, code)

    def json(self, *arguments: str) -> Any:
        """Run it with --json and return what it printed."""
        return json.loads(self(*arguments, "--json").stdout)

    def start(self, *arguments: str) -> "subprocess.Popen[str]":
        """Start it and return its process, whose output is a pipe."""
        return subprocess.Popen(
            [*COMMAND, *arguments],
            cwd=self.directory,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def script(self, name: str, **environment: str) -> "subprocess.CompletedProcess[str]":
        """Run a script of the folder with Python."""
        return subprocess.run(
            [sys.executable, name],
            cwd=self.directory,
            env={**self.environment, **environment},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )


def _checked(done: "subprocess.CompletedProcess[str]", code: int) -> "subprocess.CompletedProcess[str]":
    assert done.returncode == code, f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stderr, done.stderr
    return done


@pytest.fixture(scope="session")
def template() -> Iterator[Template]:
    """What verbs are forked from."""
    template = Template(CLEAN)
    yield template
    template.close()


@pytest.fixture(scope="session")
def migrated_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose database is there already; making it takes two seconds."""
    home = tmp_path_factory.mktemp("migrated") / "home"
    done = subprocess.run(
        [*COMMAND, "flow-run", "ls"],
        env={**CLEAN, "ORCHESTRATOR_HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "No runs yet" in done.stdout
    return home


@pytest.fixture
def cli(tmp_path: Path, template: Template) -> Cli:
    """The command in an empty folder, with a home that is not there yet."""
    project = tmp_path / "project"
    project.mkdir()
    return Cli({**CLEAN, "ORCHESTRATOR_HOME": str(tmp_path / "home"), "TZ": "UTC"}, project, template)


@pytest.fixture
def local(cli: Cli, migrated_home: Path) -> Cli:
    """The command with a home whose database is there, and no server."""
    shutil.copytree(migrated_home, cli.environment["ORCHESTRATOR_HOME"])
    return cli


ScriptWriter = Callable[[str, str], Path]


@pytest.fixture
def write(cli: Cli) -> ScriptWriter:
    """Writes a file of the project."""

    def write_file(name: str, text: str) -> Path:
        path = cli.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    return write_file
