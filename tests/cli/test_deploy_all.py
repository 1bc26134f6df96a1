"""`orchestrator deploy --all`: many deployments declared in one file."""

import json
from dataclasses import replace

import pytest

from tests.cli.conftest import Cli, ScriptWriter

FLOWS = """
from orchestrator import flow

@flow
def etl(limit: int = 1):
    "Extracts."

@flow
def report(day: str = "today"):
    pass
"""
FILE = """
project = "warehouse"

[defaults]
tags = ["warehouse"]

[[deployments]]
name = "nightly"
entrypoint = "jobs/flows.py:etl"
parameters = { limit = 10 }
schedules = [{ cron = "0 2 * * *", timezone = "Europe/Paris" }]
limit = 2
expected = "10m"

[[deployments]]
name = "daily"
entrypoint = "jobs/flows.py:report"
queue = "reports"
tags = ["people"]
schedules = [{ interval = "1h" }]
"""


@pytest.fixture
def project(local: Cli, write: ScriptWriter) -> Cli:
    write("jobs/flows.py", FLOWS)
    write("orchestrator.toml", FILE)
    return local


def test_what_is_declared_is_shown_then_applied_then_kept(project: Cli) -> None:
    assert "+ etl/nightly\n+ report/daily\n2 to create." in project("deploy", "--all", "--dry-run").stdout.lower()
    assert "--yes" in project("deploy", "--all", code=2).stderr

    applied = project("deploy", "--all", "--yes")
    assert "+ etl/nightly\n+ report/daily\n" in applied.stdout, "neither of those before made any"
    assert "Snapshot " in applied.stderr
    daily, nightly = sorted(project.json("deployment", "ls"), key=lambda one: one["name"], reverse=True)
    assert (nightly["project"], nightly["parameters"], nightly["limit"]) == ("warehouse", {"limit": 10}, 2)
    assert (nightly["entrypoint"], nightly["description"]) == ("jobs/flows.py:etl", "Extracts.")
    assert nightly["schedules"][0]["timezone"] == "Europe/Paris"
    assert (daily["tags"], daily["queue"]) == (["warehouse", "people"], "reports")
    assert daily["schedules"][0]["expression"] == "3600"
    assert nightly["source"] == daily["source"]
    assert "2 as declared." in project("deploy", "--all").stdout


def test_only_what_changed_is_set_and_what_is_named_no_more_goes_with_prune(project: Cli, write: ScriptWriter) -> None:
    project("deploy", "--all", "--yes")
    project("deployment", "set", "etl/nightly", "--description", "By hand.")
    write("orchestrator.toml", FILE.replace("limit = 10", "limit = 20").split('[[deployments]]\nname = "daily"')[0])
    planned = project("deploy", "--all", "--yes").stdout
    assert "~ etl/nightly\n  - parameters.limit: 10\n  + parameters.limit: 20\n" in planned
    assert "kept as set elsewhere: description" in planned
    assert "? report/daily is not in the file any more, and stays." in planned
    answer = json.loads(project("deploy", "--all", "--prune", "--json").stdout)
    assert [one["action"] for one in answer["deployments"]] == ["keep", "delete"]
    assert [one["name"] for one in project.json("deployment", "ls")] == ["etl/nightly"]


def test_all_that_is_wrong_is_told_with_the_nearest_name(local: Cli, write: ScriptWriter) -> None:
    write(
        "orchestrator.toml",
        'projct = "x"\n[defaults]\nnaem = "x"\n[[deployments]]\nname = "a"\nentrypoint = "x.py:f"\ncrash_retry = 1\n'
        'limit = "2"\ncron = "@daily"\n[[deployments]]\nname = "b"\nschedules = [{ crn = "* * * * *" }]\n',
    )
    said = local("deploy", "--all", code=1).stderr
    for words in (
        "there is no 'projct'. Did you mean 'project'?", "[defaults] there is no 'naem'.",
        "deployment 'a': there is no 'crash_retry'. Did you mean 'crash_retries'?",
        "deployment 'a': limit is a whole number, not '2'.", "deployment 'b': entrypoint is missing.",
        "there is no 'cron'. It belongs to a schedule: schedules = [{ cron = … }].", 'Write project = "…"',
    ):  # fmt: skip
        assert words in said, said
    write("orchestrator.toml", "project = [")
    assert "is no TOML" in local("deploy", "--all", code=1).stderr
    assert "leave FILE.py:FLOW" in local("deploy", "x.py:f", "--all", code=2).stderr


def test_nothing_is_changed_where_one_cannot_be(project: Cli, write: ScriptWriter) -> None:
    write("orchestrator.toml", FILE.replace("jobs/flows.py:report", "jobs/flows.py:nothing"))
    assert "deployment 'daily': jobs/flows.py has no nothing" in project("deploy", "--all", "--yes", code=1).stderr
    write("orchestrator.toml", FILE.replace("limit = 10", 'limit = "ten"').replace("0 2 * * *", "0 99 * * *"))
    said = project("deploy", "--all", "--yes", code=1).stderr
    assert "nothing was changed" in said
    assert "deployment 'nightly'" in said
    assert project.json("deployment", "ls") == []


def test_a_pyproject_declares_them_too_and_the_folder_above_is_found(local: Cli, write: ScriptWriter) -> None:
    write("jobs/flows.py", FLOWS)
    table = (
        '[project]\nname = "house"\n[[tool.orchestrator.deployments]]\nname = "n"\nentrypoint = "jobs/flows.py:etl"\n'
    )
    write("pyproject.toml", table + 'source = "path"\n')
    below = replace(local, directory=local.directory / "jobs")
    below("deploy", "--all", "--yes")
    (made,) = local.json("deployment", "ls")
    assert (made["project"], made["source"]) == ("house", {})
    assert made["directory"] == str(local.directory)
    outside = replace(local, directory=local.directory.parent)
    assert "There is no orchestrator.toml" in outside("deploy", "--all", code=1).stderr
