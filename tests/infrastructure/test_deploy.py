"""The manifests that install the system on a cluster: every name in them exists, and rights are what is used."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.infrastructure.cluster import FakeCluster
from tests.infrastructure.test_kubernetes import WAITS, Attempt

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "docs" / "deploy" / "kubernetes"
SETTINGS = set(re.findall(r"ORCHESTRATOR_[A-Z_]+", (ROOT / "docs" / "reference" / "settings.md").read_text()))


def documents(folder: str) -> list[dict[str, Any]]:
    found = []
    for path in sorted((FOLDER / folder).glob("*.yaml")):
        found += list(yaml.safe_load_all(path.read_text()))
    return found


def objects(kind: str) -> list[dict[str, Any]]:
    return [each for each in documents("base") if each["kind"] == kind]


def test_every_setting_in_them_is_one() -> None:
    named = set(re.findall(r"ORCHESTRATOR_[A-Z_]+", "".join(path.read_text() for path in FOLDER.rglob("*.yaml"))))
    assert named <= SETTINGS
    assert {"ORCHESTRATOR_API_URL", "ORCHESTRATOR_ALLOWED_HOSTS"} <= named


def test_what_runs_is_unprivileged_and_gets_its_secrets_by_reference() -> None:
    templates = [each["spec"]["template"]["spec"] for each in (*objects("Deployment"), *objects("Job"))]
    assert {each["metadata"]["name"] for each in objects("Deployment")} == {"web", "worker", "beat"}
    assert len(templates) == 4
    for pod in templates:
        (container,) = pod["containers"]
        assert pod["securityContext"]["runAsNonRoot"]
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert {"secretRef": {"name": "orchestrator"}} in container["envFrom"]
        assert pod["automountServiceAccountToken"] is (container["name"] == "worker")
    assert objects("Secret") == []


def test_the_site_is_probed_by_an_address_and_a_name_that_it_answers_to(client: Any) -> None:
    (web,) = [each for each in objects("Deployment") if each["metadata"]["name"] == "web"]
    (container,) = web["spec"]["template"]["spec"]["containers"]
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        asked = container[probe]["httpGet"]
        assert client.get(asked["path"], headers={"Host": asked["httpHeaders"][0]["value"]}).status_code == 200


def test_a_worker_may_do_in_the_cluster_what_it_does_and_nothing_more(
    cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.sdk.infrastructure.pod_beginning._QUIET_SECONDS", 0.1)
    first = Attempt(cluster, WAITS)
    end = first.begin()
    first.kind.stop(1.0)
    end()
    Attempt(cluster, "print(1)", run=first.run, keep_finished_seconds=0).execute()
    cluster.no_pods = "exceeded quota"
    Attempt(cluster, WAITS, start_timeout_seconds=1).execute()
    asked = {_right(*request) for request in cluster.requests}
    (role,) = objects("Role")
    given = {(resource, verb) for rule in role["rules"] for resource in rule["resources"] for verb in rule["verbs"]}
    assert asked | {("pods", "watch")} == given


def _right(method: str, path: str) -> tuple[str, str]:
    parts = path.partition("/namespaces/default/")[2].split("/")
    resource = "pods/log" if parts[-1] == "log" else parts[0]
    verb = {"POST": "create", "DELETE": "delete", "GET": "get" if len(parts) > 1 else "list"}[method]
    return resource, verb


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")
@pytest.mark.parametrize("folder", ["base", "example"])
def test_kustomize_renders_them(folder: str) -> None:
    done = subprocess.run(
        ["kubectl", "kustomize", str(FOLDER / folder)], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    rendered = list(yaml.safe_load_all(done.stdout))
    assert {each["kind"] for each in rendered} >= {"Deployment", "Service", "Job", "ConfigMap", "Role", "RoleBinding"}
    (config,) = [each["metadata"]["name"] for each in rendered if each["kind"] == "ConfigMap"]
    for each in rendered:
        if each["kind"] in ("Deployment", "Job"):
            (container,) = each["spec"]["template"]["spec"]["containers"]
            assert container["envFrom"][0] == {"configMapRef": {"name": config}}
            assert container["image"].startswith("registry.")
