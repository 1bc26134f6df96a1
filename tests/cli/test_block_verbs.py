"""Blocks on the command line, against the embedded database."""

from pathlib import Path

from tests.cli.conftest import Cli


def test_a_block_is_made_shown_changed_and_deleted(local: Cli) -> None:
    assert "process" in local("block", "type", "ls").stdout
    assert "--memory-mb" in local("block", "type", "inspect", "process").stdout
    assert "orchestrator block create process" in local("block", "ls").stdout
    options = ("--memory-mb", "512", "--environment", "A=1", "--environment=B=x=y", "--open", "memory-mb")
    assert "memory_mb=512" in local("block", "create", "process", "small", *options).stdout
    (listed,) = local.json("block", "ls")
    assert listed["values"] == {"memory_mb": 512, "environment": {"A": "1", "B": "x=y"}}
    assert listed["opened"] == ["memory_mb"]
    assert "512" in local("block", "inspect", "small").stdout
    changed = local.json("block", "set", "small", "memory_mb=", "--cpu-seconds", "60", "--description", "For reports")
    assert changed["values"] == {"cpu_seconds": 60, "environment": {"A": "1", "B": "x=y"}}
    assert (changed["description"], changed["version"]) == ("For reports", 2)
    assert "Say --yes" in local("block", "delete", "small", code=2).stderr
    local("block", "delete", "small", "--yes")
    assert local.json("block", "ls") == []


def test_what_is_wrong_is_said(local: Cli) -> None:
    assert "There are process" in local("block", "create", "moon", "x", code=2).stderr
    assert "Its options: --memory-mb" in local("block", "create", "process", "x", "--colour", "1", code=2).stderr
    assert "write it as --field value" in local("block", "create", "process", "x", "lots", code=2).stderr
    assert "wants a value" in local("block", "create", "process", "x", "--user", code=2).stderr
    assert "memory_mb" in local("block", "create", "process", "x", "--memory-mb", "lots", code=1).stderr
    local("block", "create", "process", "x")
    assert "already" in local("block", "create", "process", "x", code=1).stderr


def test_a_secret_is_read_from_standard_input_or_a_file(local: Cli, tmp_path: Path) -> None:
    forge = ("block", "create", "git-credentials", "forge", "--host", "git.example.com", "--token")
    assert "nothing came" in local(*forge, "-", code=1).stderr
    token = tmp_path / "token"
    token.write_text("hush")
    made = local.json(*forge, f"@{token}")
    assert made["secrets_set"] == ["token"]
    assert "hush" not in str(made)
    file = tmp_path / "config"
    file.write_text("apiVersion: v1\n")
    made = local.json("block", "create", "kubeconfig", "cluster", "--kubeconfig", f"@{file}")
    assert made["secrets_set"] == ["kubeconfig"]


def test_deployments_execute_there(local: Cli, tmp_path: Path) -> None:
    script = tmp_path / "etl.py"
    script.write_text("from orchestrator import flow\n\n@flow\ndef etl():\n    pass\n")
    local("block", "create", "process", "small", "--memory-mb", "512")
    local("deploy", f"{script}:etl", "--name", "nightly")
    assert "execute in 'small'" in local("block", "use", "small", "etl/nightly").stdout
    shown = local.json("deployment", "inspect", "etl/nightly")
    assert shown["infrastructure"] == "small"
    said = local("deployment", "set", "etl/nightly", "--infra-override", "memory_mb=256").stdout
    assert "small with memory_mb=256" in said
    assert "used by etl/nightly" in local("block", "delete", "small", "--yes", code=1).stderr
    made = local.json("deployment", "run", "etl/nightly", "--infra-override", "cpu_seconds=5")
    assert made["name"]
    refused = local("deployment", "run", "etl/nightly", "--infra-override", "user=root", code=1)
    assert "does not open" in refused.stderr
    local("deploy", f"{script}:etl", "--name", "hourly", "--infra", "small", "--infra-override", "memory_mb=300")
    assert local.json("deployment", "inspect", "etl/hourly")["infrastructure_overrides"] == {"memory_mb": 300}
    assert "no block" in local("deployment", "set", "etl/nightly", "--infra", "smal", code=1).stderr


def test_what_a_worker_asks_of_an_engine_is_shown(local: Cli) -> None:
    local("block", "create", "kubernetes", "jobs", "--image", "etl:7", "--memory-limit", "1Gi")
    shown = local("block", "preview", "jobs").stdout
    assert shown.startswith("apiVersion: batch/v1\nkind: Job\n")
    assert "memory: 1Gi" in shown
    assert "secretKeyRef" in shown
    manifest = local.json("block", "preview", "jobs")
    assert manifest["spec"]["template"]["spec"]["containers"][0]["image"] == "etl:7"
    local("block", "create", "docker", "prod", "--image", "etl:7", "--volumes", "/data:/data:ro")
    assert local.json("block", "preview", "prod")["volumes"] == ["/data:/data:ro"]
    local("block", "create", "process", "small", "--memory-mb", "512")
    assert "ask no engine" in local("block", "preview", "small").stdout
