"""Limits of tags on the command line, against the embedded database."""

import json
from pathlib import Path

from tests.cli.conftest import Cli

LIMIT = "concurrency-limit"


def test_a_limit_is_made_shown_changed_reset_and_deleted(local: Cli) -> None:
    assert "at most 1 task run at once" in local(LIMIT, "create", "prod-database", "1").stdout
    assert "limited already" in local(LIMIT, "create", "prod-database", "2", code=1).stderr
    (listed,) = local.json(LIMIT, "ls")
    assert (listed["tag"], listed["limit"], listed["used"]) == ("prod-database", 1, 0)
    assert "prod-database" in local(LIMIT, "inspect", "prod-database").stdout
    limits = Path(local.environment["ORCHESTRATOR_HOME"], "limits.json")
    assert json.loads(limits.read_text())["tags"] == ["prod-database"]
    assert local.json(LIMIT, "set", listed["id"], "0")["limit"] == 0
    assert "Say --yes" in local(LIMIT, "reset", "prod-database", code=2).stderr
    assert local.json(LIMIT, "reset", "prod-database", "--yes") == {"freed": 0}
    assert "Say --yes" in local(LIMIT, "delete", "prod-database", code=2).stderr
    local(LIMIT, "delete", "prod-database", "--yes")
    assert local.json(LIMIT, "ls") == []
    assert "There is no limit of 'prod-database'" in local(LIMIT, "inspect", "prod-database", code=1).stderr


def test_empty_lists_say_what_to_type(local: Cli) -> None:
    assert "orchestrator concurrency-limit create prod-database 1" in local(LIMIT, "ls").stdout
    assert "orchestrator server start" in local("worker", "ls").stdout
