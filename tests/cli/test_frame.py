"""The command as a whole: help, usage errors, and what it must not import."""

import subprocess
import sys

import pytest

from orchestrator.cli import COMMANDS
from tests.cli.conftest import CLEAN, Cli

HEAVY = {"django", "rest_framework", "celery", "requests", "urllib3", "msgspec", "pydantic", "asyncio", "runs", "flows"}


def imported_by(*arguments: str, **environment: str) -> set[str]:
    """The top-level modules that a command imports."""
    code = (
        "import sys\nfrom orchestrator.cli import main\n"
        "try: main(sys.argv[1:])\nexcept SystemExit: pass\n"
        "print(*{name.partition('.')[0] for name in sys.modules}, file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env={**CLEAN, **environment},
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    return set(done.stderr.splitlines()[-1].split())


def test_help_lists_every_command_and_imports_little() -> None:
    assert not HEAVY & imported_by("--help")


def test_a_verb_that_asks_a_server_imports_neither_django_nor_requests(tmp_path: object) -> None:
    environment = {"ORCHESTRATOR_HOME": str(tmp_path), "ORCHESTRATOR_API_URL": "http://127.0.0.1:9"}

    assert not HEAVY & imported_by("flow-run", "ls", **environment)


def test_a_verb_without_a_server_imports_neither_the_admins_pages_nor_what_writes_messages(local: Cli) -> None:
    imported = imported_by("deployment", "ls", **local.environment)

    assert "runs" in imported
    assert not {"unfold", "jinja2", "holidays"} & imported


def test_every_command_has_help_with_an_example(cli: Cli) -> None:
    shown = cli.command("--help").stdout
    for name in COMMANDS:
        assert f"  {name} " in shown


@pytest.mark.parametrize(
    "verb",
    [
        "deploy",
        "deployment run",
        "deployment schedule set",
        "deployment mute",
        "flow-run ls",
        "flow-run watch",
        "token create",
        "notification create",
        "notification deliveries",
        "destination create",
    ],
)
def test_help_of_verbs_has_an_example(cli: Cli, verb: str) -> None:
    assert f"orchestrator {verb} " in cli.command(*verb.split(), "--help").stdout


def test_a_wrong_command_is_a_usage_error_with_a_suggestion(cli: Cli) -> None:
    assert "flow-run" in cli.command("flow-rn", code=2).stderr


def test_version(cli: Cli) -> None:
    assert cli.command("version").stdout.strip().count(".") == 2
    assert cli.command("--version").stdout == cli.command("version").stdout


def test_no_verb_needs_fcntl_to_be_imported() -> None:
    """Windows has none; there the command line asks a server elsewhere."""
    program = (
        "import asyncio, click, ctypes, importlib, multiprocessing, pkgutil, subprocess, sys, tempfile\n"
        "sys.modules['fcntl'], sys.platform = None, 'win32'\n"
        "import orchestrator.cli as cli\n"
        "for found in pkgutil.iter_modules(cli.__path__, 'orchestrator.cli.'):\n"
        "    if not found.name.endswith('_urls'):\n"  # a URLconf: Django's
        "        importlib.import_module(found.name)\n"
        "from pathlib import Path\n"
        "from orchestrator.sdk.home import Home\n"
        "from orchestrator.server import record\n"
        "assert record.read(Home(Path('nowhere'))) is None\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
