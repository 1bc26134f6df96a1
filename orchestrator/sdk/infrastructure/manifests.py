"""The Job that executes an attempt, as a manifest: made from a block's settings alone, so that it can be looked at."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

import jsonpatch

from orchestrator.sdk.infrastructure.container_engine import labels_of, name_of
from orchestrator.sdk.infrastructure.pods import CONTAINER

#: Never in a manifest: it stands in a Secret that belongs to the Job.
TOKEN: Final = "ORCHESTRATOR_API_TOKEN"
MAX_PATCHES: Final = 100  #: these and the size of what they make are bounded, since a server tries them
MAX_COPIES: Final = 10
MAX_BYTES: Final = 256 * 1024


class ManifestError(ValueError):
    """A manifest, or a patch to one, makes no Job; the message says where."""


def job(
    run: str,
    attempt: int,
    *,
    command: Sequence[str],
    environment: Mapping[str, str],
    image: str,
    base: Mapping[str, Any] | None = None,
    patches: Sequence[Mapping[str, Any]] = (),
    job_fields: Mapping[str, Any] | None = None,
    pod_fields: Mapping[str, Any] | None = None,
    container_fields: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the manifest of an attempt's Job.

    What a block's fields say goes over the base, patches over that; and last what the attempt itself needs: its name
    and labels, its command, one try, and the reference to the Secret with its token.

    Args:
        run, attempt: Which attempt.
        command: What its container executes.
        environment: What it finds; no secrets.
        image: Empty: the base's.
        base: A whole manifest to begin with; None: a Job with an empty pod.
        patches: Operations of JSON Patch (RFC 6902).
        job_fields, pod_fields, container_fields: For the Job's spec, its pod's, and the container's. Empty ones are
            left out.

    Raises:
        ManifestError: There is no Job, or no container in it, or a patch does not fit.
    """
    manifest = _copied(base) if base else {"apiVersion": "batch/v1", "kind": "Job", "metadata": {}}
    spec = _mapping(manifest, "spec")
    template = _mapping(spec, "template")
    pod = _mapping(template, "spec")
    container = _container(pod)
    _fill(spec, job_fields)
    _fill(pod, pod_fields)
    _fill(container, {"image": image, **(container_fields or {})})
    _add_environment(container, environment)
    manifest = _patched(manifest, patches)
    _insist(manifest, run, attempt, command)
    return manifest


def secret(run: str, attempt: int, token: str, owner: Mapping[str, Any]) -> dict[str, Any]:
    """Return the manifest of the Secret with an attempt's token; it goes with its Job.

    Args:
        run, attempt: Which attempt.
        token: The run's own.
        owner: The Job, as the cluster has it.
    """
    name = name_of(run, attempt)
    reference = {"apiVersion": "batch/v1", "kind": "Job", "name": name, "uid": owner["metadata"]["uid"]}
    metadata = {"name": name, "labels": labels_of(run, attempt), "ownerReferences": [reference]}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": "Opaque", "stringData": {TOKEN: token}}


def wrong_base(base: Mapping[str, Any]) -> str:
    """Return what is wrong with a base manifest, as a sentence; empty where nothing is."""
    if not base:
        return ""
    try:
        job("run", 1, command=["python"], environment={}, image="image", base=base)
    except ManifestError as error:
        return str(error)
    return ""


def _copied(base: Mapping[str, Any]) -> dict[str, Any]:
    try:
        return copy.deepcopy(dict(base))
    except RecursionError:
        raise ManifestError("The manifest is nested too deep.") from None


def _patched(manifest: dict[str, Any], patches: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    if len(patches) > MAX_PATCHES:
        raise ManifestError(f"There are {len(patches)} patches; {MAX_PATCHES} may be.")
    if sum(patch.get("op") == "copy" for patch in patches) > MAX_COPIES:
        raise ManifestError(f"More than {MAX_COPIES} patches copy; write what they copy into them.")
    _check_size(manifest, "The manifest")
    for place, patch in enumerate(patches, 1):
        said = f"Patch {place} ({patch.get('op')} {patch.get('path')})"
        try:
            manifest = jsonpatch.apply_patch(manifest, [copy.deepcopy(patch)], in_place=True)  # it is our own copy
        except (jsonpatch.JsonPatchException, jsonpatch.JsonPointerException, TypeError, KeyError) as error:
            raise ManifestError(f"{said} does not fit the manifest: {error}.") from None
        except RecursionError:
            raise ManifestError(f"{said} makes a manifest that is nested too deep.") from None
        _check_size(manifest, f"{said}: the manifest")
    if not isinstance(manifest, dict):
        raise ManifestError("The patches leave no manifest.")
    return manifest


def _check_size(manifest: Any, what: str) -> None:
    """Raise ManifestError for one that is too large: each `copy` may double it."""
    try:
        size = len(json.dumps(manifest))
    except RecursionError:
        raise ManifestError(f"{what} is nested too deep.") from None
    if size > MAX_BYTES:
        raise ManifestError(f"{what} has more than {MAX_BYTES // 1024} KB.")


def _insist(manifest: dict[str, Any], run: str, attempt: int, command: Sequence[str]) -> None:
    """Set what may not be otherwise: by it an attempt exists once, is found again, and gets its token."""
    if manifest.get("kind") != "Job":
        raise ManifestError(f"The manifest is of kind {manifest.get('kind')!r}; it has to be a Job.")
    labels, name = labels_of(run, attempt), name_of(run, attempt)
    metadata = _mapping(manifest, "metadata")
    metadata.pop("generateName", None)
    metadata["name"] = name
    spec = _mapping(manifest, "spec")
    template = _mapping(spec, "template")
    pod = _mapping(template, "spec")
    spec.update(backoffLimit=0, parallelism=1, completions=1)
    for named in (metadata, _mapping(template, "metadata")):
        named["labels"] = {**(named.get("labels") or {}), **labels}
    pod["restartPolicy"] = "Never"
    container = _container(pod)
    container["command"] = list(command)
    container.pop("args", None)
    container["env"] = [each for each in container.get("env") or [] if each.get("name") != TOKEN]
    container["env"].append({"name": TOKEN, "valueFrom": {"secretKeyRef": {"name": name, "key": TOKEN}}})
    if not container.get("image"):
        raise ManifestError("There is no image: set one, or have the manifest name one.")


def _container(pod: dict[str, Any]) -> dict[str, Any]:
    """Return the container of a pod that executes the attempt: the one that is called so, else the first."""
    containers = pod.setdefault("containers", [{"name": CONTAINER}])
    if not isinstance(containers, list) or not containers or not all(isinstance(each, dict) for each in containers):
        raise ManifestError("spec.template.spec.containers is no list of containers.")
    found: dict[str, Any] = next((each for each in containers if each.get("name") == CONTAINER), containers[0])
    found["name"] = CONTAINER
    return found


def _mapping(parent: dict[str, Any], key: str) -> dict[str, Any]:
    found = parent.setdefault(key, {})
    if not isinstance(found, dict):
        raise ManifestError(f"{key} of the manifest is no mapping.")
    return found


def _fill(target: dict[str, Any], values: Mapping[str, Any] | None) -> None:
    for key, value in (values or {}).items():
        if value not in (None, "", [], {}):
            target[key] = value


def _add_environment(container: dict[str, Any], environment: Mapping[str, str]) -> None:
    kept = container.get("env") or []
    if not isinstance(kept, list):
        raise ManifestError("env of the container is no list.")
    own = [{"name": name, "value": value} for name, value in environment.items() if name != TOKEN]
    container["env"] = [each for each in kept if each.get("name") not in environment] + own
