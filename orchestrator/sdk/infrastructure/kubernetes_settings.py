"""What a run's Job is made of: the fields of a Kubernetes block."""

from __future__ import annotations

from typing import Annotated, Any, Final

import msgspec

from orchestrator.sdk.infrastructure.settings import about

_QUANTITY: Final = r"^([0-9]+(\.[0-9]+)?(m|k|M|G|T|Ki|Mi|Gi|Ti)?)?$"
_NAME: Final = r"^([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?)?$"


class KubernetesSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a run's Job is made of."""

    image: Annotated[
        str,
        about("Image", "It has Python, orchestrator-flows and what your flows import. Without one: the manifest's.",
              max_length=500, pattern=r"^([a-zA-Z0-9][^\s]*)?$", example="registry.internal/etl:7"),
    ] = ""  # fmt: skip
    namespace: Annotated[
        str, about("Namespace", "Where the Job is made.", pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")
    ] = "default"
    service_account: Annotated[
        str, about("Service account", "Whose rights in the cluster the run has; without one, none.", pattern=_NAME)
    ] = ""
    image_pull_secrets: Annotated[
        list[str], about("Image pull secrets", "Secrets of the namespace for the image's registry, one a line.")
    ] = []
    environment: Annotated[
        dict[str, str], about("Environment", "Variables that its code finds, one NAME=value a line.", example="TZ=UTC")
    ] = {}
    cpu_request: Annotated[
        str, about("Processors, request", "What a node must have free: 0.5 or 500m.", opened=True, pattern=_QUANTITY)
    ] = ""
    cpu_limit: Annotated[
        str, about("Processors, limit", "What it may use at most.", opened=True, pattern=_QUANTITY)
    ] = ""
    memory_request: Annotated[
        str, about("Memory, request", "What a node must have free: 512Mi or 2Gi.", opened=True, pattern=_QUANTITY)
    ] = ""
    memory_limit: Annotated[
        str, about("Memory, limit", "The kernel kills what goes beyond.", opened=True, pattern=_QUANTITY)
    ] = ""
    node_selector: Annotated[
        dict[str, str], about("Node selector", "Labels that its node has to have, one NAME=value a line.")
    ] = {}
    tolerations: Annotated[
        list[dict[str, Any]],
        about("Tolerations", "Taints of nodes that it stands, as a list in JSON.",
              example='[{"key": "spot", "operator": "Exists"}]'),
    ] = []  # fmt: skip
    start_timeout_seconds: Annotated[
        int,
        about("Time to begin", "How long a pod may wait for a node and for its image before its run is given up.",
              ge=5, le=604_800, unit="seconds", opened=True),
    ] = 600  # fmt: skip
    keep_finished_seconds: Annotated[
        int,
        about("Keep finished Jobs", "How long the cluster keeps a Job that has ended; 0: it is deleted at once.",
              ge=0, le=31_536_000, unit="seconds"),
    ] = 3600  # fmt: skip
    python: Annotated[
        str,
        about("Python", "The interpreter in the image that has orchestrator-flows.", example="/opt/venv/bin/python"),
    ] = "python"
    manifest: Annotated[
        dict[str, Any],
        about(
            "Manifest", "A whole Job in JSON to begin with; the fields above are set in it where they say something."
        ),
    ] = {}
    patches: Annotated[
        list[dict[str, Any]],
        about("Patches", "JSON Patch operations (RFC 6902) on the manifest, as a list in JSON.",
              example='[{"op": "add", "path": "/spec/template/spec/priorityClassName", "value": "batch"}]'),
    ] = []  # fmt: skip
    kubeconfig: Annotated[
        str,
        about("Kubeconfig", "The block with the cluster's address and credentials. Without one, the worker's own"
              " service account, where it runs in the cluster.", block="kubeconfig"),
    ] = ""  # fmt: skip
    api_url: Annotated[
        str,
        about("API address", "The server's address as seen from the pod. Without it, the worker's own.",
              pattern=r"^(https?://\S+)?$", example="http://orchestrator-web.orchestrator:4200"),
    ] = ""  # fmt: skip
