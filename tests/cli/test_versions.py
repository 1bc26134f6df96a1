"""Versions of a deployment on the command line."""

from tests.cli.conftest import Cli, ScriptWriter

FLOW = "from orchestrator import flow\n\n@flow\ndef etl(limit: int = {}):\n    print(limit)\n"


def test_versions_their_difference_and_the_way_back(local: Cli, write: ScriptWriter) -> None:
    write("etl.py", FLOW.format(1))
    local("deploy", "etl.py:etl", "--name", "nightly")
    write("etl.py", FLOW.format(2))
    local("deploy", "etl.py:etl", "--name", "nightly", "--tag", "new")

    assert "2 (now)" in local("deployment", "versions", "etl/nightly").stdout
    shown = local("deployment", "diff", "etl/nightly").stdout
    assert "-def etl(limit: int = 1):\n+def etl(limit: int = 2):" in shown
    assert 'tags: ["new"]' in shown
    assert "parameter_schema" not in shown

    assert "--yes" in local("deployment", "rollback", "etl/nightly", "--to", "1", code=2).stderr
    back = local("deployment", "rollback", "etl/nightly", "--to", "1", "--yes").stdout
    assert "version 3 is as version 1" in back
    first, _, third = reversed(local.json("deployment", "versions", "etl/nightly"))
    assert first["source"] == third["source"]
    assert third["settings"]["tags"] == ["new"]
    assert "Nothing differs" not in local("deployment", "diff", "etl/nightly", "1", "3").stdout
    assert local.json("deployment", "diff", "etl/nightly", "1", "3")["files"] == []
    assert "no version 9" in local("deployment", "diff", "etl/nightly", "9", code=1).stderr
