"""What tests run in forked processes does as the command itself does."""

import socket
import subprocess

import pytest

from tests.cli.conftest import Cli, ScriptWriter

FLOW = "from orchestrator import flow\n\n@flow\ndef job(n: int = 1):\n    print(n)\n"


def outcome(done: "subprocess.CompletedProcess[str]") -> tuple[int, str, str]:
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--version"], 0),
        (["deployment", "--help"], 0),
        (["deployment", "ls"], 0),
        (["deployment", "inspect", "job/nightly", "--json"], 0),
        (["calendar", "year", "nobody"], 2),
        (["destination", "ls", "--json"], 0),
        (["flow-run", "inspect", "no-such-run"], 1),
        (["flow-rn"], 2),
    ],
)
def test_a_forked_verb_does_as_the_command_does(
    local: Cli, write: ScriptWriter, arguments: list[str], code: int
) -> None:
    write("job.py", FLOW)
    local("deploy", "job.py:job", "--name", "nightly", "--cron", "0 7 * * *")

    assert outcome(local(*arguments, code=code)) == outcome(local.command(*arguments, code=code))


def test_a_forked_verb_has_the_environment_folder_and_home_that_it_is_given(local: Cli, write: ScriptWriter) -> None:
    write("job.py", FLOW)
    forked = local("deploy", "job.py:job", "--name", "forked", "--cron", "0 7 * * *", TZ="Asia/Tokyo")
    itself = local.command("deploy", "job.py:job", "--name", "itself", "--cron", "0 7 * * *", TZ="Asia/Tokyo")

    assert forked.stdout.replace("forked", "itself") == itself.stdout
    assert {found["name"] for found in local.json("deployment", "ls")} == {"job/forked", "job/itself"}
    failed = local("flow", "ls", code=1, ORCHESTRATOR_API_URL="ftp://nowhere")
    assert outcome(failed) == outcome(local.command("flow", "ls", code=1, ORCHESTRATOR_API_URL="ftp://nowhere"))


def test_a_forked_verb_that_does_not_end_is_ended(local: Cli) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        environment = {**local.environment, "ORCHESTRATOR_API_URL": f"http://127.0.0.1:{silent.getsockname()[1]}"}
        with pytest.raises(subprocess.TimeoutExpired):
            local.template.run(["flow", "ls"], local.directory, environment, 0.5)

    assert local("--version").stdout
