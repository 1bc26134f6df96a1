"""The manifest of a Job: what a block's fields, its base and its patches make, and what none of them may change."""

from typing import Any

import pytest

from orchestrator.sdk.infrastructure import manifests
from orchestrator.sdk.infrastructure.kubernetes import Kubernetes
from orchestrator.sdk.infrastructure.kubernetes_settings import KubernetesSettings
from orchestrator.sdk.infrastructure.manifests import TOKEN, ManifestError

RUN = "0197a1b2-0000-7000-8000-000000000001"
NAME = f"orchestrator-{RUN}-1"


def preview(**settings: Any) -> dict[str, Any]:
    return Kubernetes(KubernetesSettings(**settings)).preview(RUN, "http://server:4200")


def test_the_fields_of_a_block_make_a_job() -> None:
    manifest = preview(
        image="etl:7", namespace="batch", service_account="etl", image_pull_secrets=["pull"], cpu_request="500m",
        memory_limit="1Gi", node_selector={"disk": "ssd"}, tolerations=[{"key": "spot", "operator": "Exists"}],
        environment={"A": "b"}, keep_finished_seconds=60,
    )  # fmt: skip
    labels = {"orchestrator-run": RUN, "orchestrator-attempt": "1", "app.kubernetes.io/managed-by": "orchestrator"}
    environment = {
        "A": "b", "ORCHESTRATOR_ECHO": "0", "ORCHESTRATOR_API_URL": "http://server:4200",
        "ORCHESTRATOR_RUN_ID": RUN, "ORCHESTRATOR_ATTEMPT": "1",
    }  # fmt: skip
    secret = {"name": TOKEN, "valueFrom": {"secretKeyRef": {"name": NAME, "key": TOKEN}}}
    assert manifest == {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": NAME, "labels": labels},
        "spec": {
            "backoffLimit": 0,
            "parallelism": 1,
            "completions": 1,
            "ttlSecondsAfterFinished": 60,
            "template": {
                "metadata": {"labels": labels},
                "spec": {
                    "restartPolicy": "Never",
                    "serviceAccountName": "etl",
                    "imagePullSecrets": [{"name": "pull"}],
                    "nodeSelector": {"disk": "ssd"},
                    "tolerations": [{"key": "spot", "operator": "Exists"}],
                    "containers": [
                        {
                            "name": "run",
                            "image": "etl:7",
                            "command": ["python", "-m", "orchestrator.sdk.attempt"],
                            "resources": {"requests": {"cpu": "500m"}, "limits": {"memory": "1Gi"}},
                            "env": [*({"name": name, "value": value} for name, value in environment.items()), secret],
                        }
                    ],
                },
            },
        },
    }


def test_a_run_without_a_service_account_gets_no_rights_in_the_cluster() -> None:
    assert preview(image="etl:7")["spec"]["template"]["spec"]["automountServiceAccountToken"] is False


def test_a_base_manifest_is_kept_and_patches_come_last() -> None:
    base = {
        "apiVersion": "batch/v1", "kind": "Job", "metadata": {"annotations": {"team": "etl"}},
        "spec": {"template": {"spec": {"containers": [
            {"name": "proxy", "image": "proxy:1"},
            {"name": "run", "image": "old:1", "args": ["x"], "env": [{"name": "A", "value": "base"}]},
        ]}}},
    }  # fmt: skip
    patches = [{"op": "add", "path": "/spec/template/spec/priorityClassName", "value": "batch"}]
    manifest = preview(image="new:2", manifest=base, patches=patches, environment={"A": "block"})
    pod = manifest["spec"]["template"]["spec"]
    assert manifest["metadata"]["annotations"] == {"team": "etl"}
    assert pod["priorityClassName"] == "batch"
    proxy, run = pod["containers"]
    assert proxy == {"name": "proxy", "image": "proxy:1"}
    assert run["image"] == "new:2"
    assert "args" not in run
    assert {"name": "A", "value": "block"} in run["env"]
    assert base["spec"]["template"]["spec"]["containers"][1]["image"] == "old:1"  # type: ignore[index]


def test_what_an_attempt_hangs_on_cannot_be_patched_away() -> None:
    patches = [
        {"op": "add", "path": "/metadata", "value": {"name": "mine", "generateName": "x-"}},
        {"op": "add", "path": "/spec/backoffLimit", "value": 6},
        {"op": "add", "path": "/spec/template/spec/restartPolicy", "value": "Always"},
        {"op": "replace", "path": "/spec/template/spec/containers/0/env", "value": [{"name": TOKEN, "value": "x"}]},
    ]
    manifest = preview(image="etl:7", patches=patches)
    pod = manifest["spec"]["template"]["spec"]
    assert manifest["metadata"]["name"] == NAME
    assert "generateName" not in manifest["metadata"]
    assert manifest["spec"]["backoffLimit"] == 0
    assert pod["restartPolicy"] == "Never"
    assert [each for each in pod["containers"][0]["env"] if each["name"] == TOKEN] == [
        {"name": TOKEN, "valueFrom": {"secretKeyRef": {"name": NAME, "key": TOKEN}}}
    ]


@pytest.mark.parametrize(
    ("settings", "field", "said"),
    [
        ({}, "image", "Name an image"),
        ({"image": "x", "manifest": {"kind": "Pod"}}, "manifest", "of kind 'Pod'"),
        ({"image": "x", "manifest": {"kind": "Job", "spec": 3}}, "manifest", "spec of the manifest is no mapping"),
        ({"image": "x", "manifest": {"kind": "Job", "spec": {"template": {"spec": {"containers": []}}}}},
         "manifest", "no list of containers"),
        ({"image": "x", "patches": [{"op": "remove", "path": "/nowhere"}]}, "patches", "Patch 1 (remove /nowhere)"),
        ({"image": "x", "patches": [{"op": "jump", "path": "/spec"}]}, "patches", "Patch 1 (jump /spec)"),
        ({"image": "x", "patches": [{"path": "/spec"}]}, "patches", "Patch 1"),
        ({"image": "x", "patches": [{"op": "replace", "path": "", "value": 3}]}, "patches", "leave no manifest"),
        ({"image": "x", "environment": {"ORCHESTRATOR_API_TOKEN": "x"}}, "environment", "cannot be set here"),
    ],
)  # fmt: skip
def test_settings_that_make_no_job_are_told_by_field(settings: dict[str, Any], field: str, said: str) -> None:
    errors = Kubernetes.check(KubernetesSettings(**settings))
    assert set(errors) == {field}
    assert said in errors[field]


DOUBLING = [{"op": "add", "path": "/spec/x", "value": ["y" * 1024]}] + [
    {"op": "copy", "from": "/spec/x", "path": f"/spec/x/{place}"} for place in range(1, 11)
]
DEEP: dict[str, Any] = {}
for _ in range(900):
    DEEP = {"x": DEEP}


@pytest.mark.parametrize(
    ("settings", "field", "said"),
    [
        ({"patches": DOUBLING}, "patches", "the manifest has more than 256 KB"),
        ({"patches": DOUBLING + DOUBLING[1:]}, "patches", "More than 10 patches copy"),
        ({"patches": [{"op": "test", "path": "/kind", "value": "Job"}] * 101}, "patches", "There are 101 patches"),
        ({"patches": [{"op": "add", "path": "/spec/x", "value": DEEP}] * 2}, "patches", "nested too deep"),
        ({"manifest": {"kind": "Job", "spec": {"x": "y" * 600_000}}}, "manifest", "more than 256 KB"),
        ({"manifest": {"kind": "Job", "spec": DEEP}}, "manifest", "nested too deep"),
    ],
)  # fmt: skip
def test_settings_that_would_fill_a_server_s_memory_are_refused(
    settings: dict[str, Any], field: str, said: str
) -> None:
    errors = Kubernetes.check(KubernetesSettings(image="x", **settings))
    assert set(errors) == {field}
    assert said in errors[field]


def test_patches_leave_the_settings_as_they_are() -> None:
    patches = [
        {"op": "add", "path": "/spec/x", "value": {"a": 1}},
        {"op": "add", "path": "/spec/x/b", "value": 2},
    ]
    settings = KubernetesSettings(image="x", manifest={"kind": "Job", "spec": {"y": 1}}, patches=patches)
    assert Kubernetes(settings).preview("run", "")["spec"]["x"] == {"a": 1, "b": 2}
    assert settings.patches[0]["value"] == {"a": 1}
    assert settings.manifest == {"kind": "Job", "spec": {"y": 1}}


def test_a_patch_that_does_not_fit_is_an_error_of_the_manifest() -> None:
    with pytest.raises(ManifestError, match="does not fit the manifest"):
        manifests.job(
            RUN, 1, command=["x"], environment={}, image="x", patches=[{"op": "test", "path": "/kind", "value": "Pod"}]
        )
