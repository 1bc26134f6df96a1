"""Verbs with no server: the journals are brought in and the embedded database answers."""

import json
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

from tests.cli.conftest import Cli, ScriptWriter

SCRIPT = '''
from orchestrator import flow, task

@task
def double(n: int) -> int:
    print("doubling", n)
    return 2 * n

@flow
def etl_job(limit: int = 2, day: str = "2026-01-01"):
    """Doubles."""
    return [double(n) for n in range(limit)]

etl_job()
'''
RUN_KEYS = {"id", "name", "flow", "deployment", "state_type", "state_name", "start_time", "end_time"}


def test_a_scripts_run_is_listed_inspected_and_read(local: Cli, write: ScriptWriter) -> None:
    write("etl.py", SCRIPT)
    assert local.script("etl.py").returncode == 0

    (run,) = local.json("flow-run", "ls")
    inspected = local.json("flow-run", "inspect", run["name"])
    logs = local("flow-run", "logs", run["id"][:13]).stdout

    assert set(run) >= RUN_KEYS
    assert (run["flow"], run["state_type"], run["deployment"]) == ("etl_job", "COMPLETED", None)
    assert inspected["id"] == run["id"]
    assert inspected["parameters"] == {"limit": 2, "day": "2026-01-01"}
    assert inspected["task_run_counts"] == {"COMPLETED": 2}
    assert "doubling 0" in logs
    assert "doubling 1" in logs
    assert "Flow run - Finished in state Completed()" in logs
    assert run["name"] in local("flow-run", "ls").stdout


def test_the_database_is_left_closed(local: Cli) -> None:
    local.command("flow-run", "ls")

    assert not list(Path(local.environment["ORCHESTRATOR_HOME"]).glob("*-wal"))


def test_a_run_that_is_not_there_is_one_line_and_exit_code_1(local: Cli) -> None:
    failed = local.command("flow-run", "inspect", "no-such-run", code=1)

    assert failed.stderr.splitlines() == [
        "Error: There is no flow run 'no-such-run'. `orchestrator flow-run ls` lists the newest."
    ]
    assert failed.stdout == ""


def test_empty_lists_say_what_to_type(local: Cli) -> None:
    assert "orchestrator deploy" in local.command("deployment", "ls").stdout
    assert local.json("deployment", "ls") == []


def test_deploy_starts_nothing_and_says_what_comes_next(local: Cli, write: ScriptWriter) -> None:
    write("etl.py", SCRIPT)

    made = local("deploy", "etl.py:etl_job", "--name", "nightly", "--cron", "0 7 * * *", "--timezone", "Europe/Paris")

    assert "Not started while loading: etl_job()" in made.stderr
    assert "doubling" not in made.stdout + made.stderr
    assert "Created deployment etl_job/nightly." in made.stdout
    assert made.stdout.count(" 06:00") + made.stdout.count(" 05:00") == 5
    assert "orchestrator server start" in made.stdout
    assert local.json("flow-run", "ls") == []
    (deployment,) = local.json("deployment", "ls")
    assert deployment["name"] == "etl_job/nightly"
    assert deployment["entrypoint"] == "etl.py:etl_job"
    assert deployment["directory"] == ""
    assert deployment["source"]["kind"] == "snapshot"
    assert "Snapshot " in made.stderr
    local("deploy", "etl.py:etl_job", "--name", "nightly", "--source", "path")
    assert local.json("deployment", "inspect", "etl_job/nightly")["directory"] == str(local.directory)
    assert deployment["description"] == "Doubles."
    assert set(deployment["parameter_schema"]["properties"]) == {"limit", "day"}


def test_a_project_with_folders_named_like_ours(local: Cli, write: ScriptWriter) -> None:
    for folder in ("flows", "runs", "teams", "tests", "notifications"):
        write(f"{folder}/__init__.py", f"NAME = {folder!r}\n")
    write(
        "job.py",
        "import flows, runs, tests\nfrom orchestrator import flow\n\n@flow\ndef job():\n    print(flows.NAME)\n",
    )

    local("deploy", "job.py:job", "--name", "mine")

    assert local.json("deployment", "inspect", "job/mine")["entrypoint"] == "job.py:job"


def test_what_cannot_be_deployed_is_said(local: Cli, write: ScriptWriter) -> None:
    write("broken.py", "raise RuntimeError('boom')\n")

    assert "boom" in local.start("deploy", "broken.py:job", "--name", "x").communicate(timeout=30)[0]
    assert "nothing.py" in local("deploy", "nothing.py:job", "--name", "x", code=1).stderr
    assert "--name" in local("deploy", "nothing.py:job", code=2).stderr


def test_a_run_asked_for_without_a_server_waits_for_one(local: Cli, write: ScriptWriter) -> None:
    write("etl.py", SCRIPT)
    local("deploy", "etl.py:etl_job", "--name", "nightly")

    refused = local("deployment", "run", "etl-job/nightly", "--watch", code=1)
    made = local("deployment", "run", "etl-job/nightly", "-p", "limit=7")

    assert "orchestrator server start" in refused.stderr
    assert "orchestrator server start" in made.stdout
    (run,) = local.json("flow-run", "ls")
    assert (run["state_type"], run["deployment"]) == ("SCHEDULED", "etl_job/nightly")
    assert json.loads(local("flow-run", "cancel", run["id"], "--json").stdout)["state_type"] == "CANCELLED"


def test_a_token_stands_alone_on_the_last_line(local: Cli) -> None:
    assert local("token", "create", "ci", "--expires-in", "30d").stdout.splitlines()[-1].startswith("orc_")
    assert [token["name"] for token in local.json("token", "ls")] == ["ci"]


def test_a_log_line_names_its_task_run_and_a_dead_process_is_no_noise(local: Cli, write: ScriptWriter) -> None:
    write("worse.py", SCRIPT.replace('print("doubling", n)', "raise ValueError(n)") + "\n")
    local.script("worse.py")

    listed = local.command("flow-run", "ls")
    (run,) = local.json("flow-run", "ls")

    assert listed.stderr == ""
    assert "Task run 'double-0' - Finished in state Failed" in local.command("flow-run", "logs", run["id"]).stdout


def test_a_worker_elsewhere_counts_as_a_server(local: Cli, write: ScriptWriter, tmp_path: Path) -> None:
    write("etl.py", SCRIPT)
    assert "until a server is up" in local("deploy", "etl.py:etl_job", "--name", "x").stdout
    now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S")
    with closing(sqlite3.connect(next(tmp_path.rglob("orchestrator.db")))) as connection, connection:
        connection.execute(
            "INSERT INTO runs_worker (id, name, host, pid, places, started_at, heartbeat_at)"
            " VALUES (?, 'w', 'h', 1, 8, ?, ?)",
            (uuid4().hex, now, now),
        )

    assert "until a server is up" not in local("deploy", "etl.py:etl_job", "--name", "x").stdout


def test_no_password_on_standard_input_is_said(local: Cli) -> None:
    assert "No password came" in local.command("user", "set-password", code=1).stderr


def test_a_second_factor_that_is_not_there_is_said(local: Cli) -> None:
    assert "no user 'ann'" in local("user", "reset-second-factor", "ann", code=1).stderr
    local("server", "url")  # makes the first administrator
    assert "admin has no second factor" in local("user", "reset-second-factor", "admin", code=1).stderr


def test_a_broken_setting_is_one_line(cli: Cli) -> None:
    for name, value in [
        ("DATABASE_URL", "mysql://localhost/x"),
        ("LOG_LEVEL", "loud"),
        ("EXTERNAL_URL", "example"),
        ("BROKER_URL", "foo"),
    ]:
        failed = cli.command("flow-run", "ls", code=1, **{f"ORCHESTRATOR_{name}": value})

        assert failed.stderr.startswith(f"Error: ORCHESTRATOR_{name}")
        assert len(failed.stderr.splitlines()) == 1


def test_a_database_that_is_not_there_is_one_line(cli: Cli) -> None:
    failed = cli.command("flow-run", "ls", code=1, ORCHESTRATOR_DATABASE_URL="postgresql://nobody@127.0.0.1:9/nothing")

    assert failed.stderr.startswith("Error: The database cannot be used: ")
    assert len(failed.stderr.splitlines()) == 1
