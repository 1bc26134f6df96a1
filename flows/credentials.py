"""The kinds of credentials that a block may hold: what a worker needs to set a run up, and user code never sees."""

from typing import Annotated, Final

import msgspec

from orchestrator.sdk.infrastructure.settings import about


class RegistryCredentials(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What pulls an image from a private registry."""

    registry: Annotated[
        str, about("Registry", "The registry's host.", example="registry.example.com", pattern=r"^[a-z0-9.:\[\]-]+$")
    ]
    username: Annotated[str, about("User name", "By which the registry knows this account.")]
    password: Annotated[str, about("Password or token", "Only workers are given it, to pull images.", secret=True)]


class GitCredentials(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What fetches code from a private repository."""

    host: Annotated[
        str,
        about(
            "Host",
            "The token is sent to this host alone.",
            example="git.example.com",
            pattern=r"^[a-z0-9.-]+(:[0-9]+)?$",
        ),
    ]
    username: Annotated[str, about("User name", "What hosts want beside a token.", example="git")] = "git"
    token: Annotated[str, about("Token", "A token or password that may read the repository.", secret=True)]


class Kubeconfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What reaches a Kubernetes cluster from outside."""

    kubeconfig: Annotated[
        str, about("kubeconfig", "The file, in YAML, with its credentials in it.", secret=True, lines=True)
    ]
    context: Annotated[str, about("Context", "Which of its contexts; empty: its current one.")] = ""


#: By type: the struct, its label, what it is for, and its icon in lucide.
CREDENTIALS: Final[dict[str, tuple[type[msgspec.Struct], str, str, str]]] = {
    "registry-credentials": (
        RegistryCredentials,
        "Registry credentials",
        "Lets workers pull images from a private registry.",
        "key-round",
    ),
    "git-credentials": (
        GitCredentials,
        "Git credentials",
        "Lets runs fetch their code from a private repository.",
        "git-branch",
    ),
    "kubeconfig": (Kubeconfig, "Kubeconfig", "Lets workers reach a Kubernetes cluster from outside.", "ship-wheel"),
}
