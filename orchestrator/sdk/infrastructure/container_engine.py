"""What is asked of a container engine (Docker, or any with its API, such as Podman), and its answers in words.

The `docker` package is loaded by the process that supervises an attempt, and by no other: 0.1 s and 15 MB.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, Self

from orchestrator.sdk.infrastructure.printed import PIECE_BYTES, Lines

RUN_LABEL: Final = "orchestrator-run"
ATTEMPT_LABEL: Final = "orchestrator-attempt"
REMOVE_LABEL: Final = "orchestrator-remove"
CONNECT_SECONDS: Final = 10
_SOCKETS: Final = ("/var/run/docker.sock", "/run/docker.sock", "/run/podman/podman.sock")
_OLDEST: Final = "1.41"  # of the API: Docker 20.10, Podman 3


class EngineProblem(Exception):
    """The engine said no, or did not answer; the message has its own words."""


class EngineAway(EngineProblem):
    """The engine did not answer."""


class ImageMissing(EngineProblem):
    """The image is not there, or could not be had."""


class ContainerGone(EngineProblem):
    """The engine answers, and has no such container any more."""


def name_of(run: str, attempt: int) -> str:
    """Return the name of an attempt's container or Job: the same whoever starts it, so that it exists once."""
    return f"orchestrator-{run}-{attempt}"


def labels_of(run: str, attempt: int) -> dict[str, str]:
    """Return the labels by which what an attempt left is found."""
    return {RUN_LABEL: run, ATTEMPT_LABEL: str(attempt), "app.kubernetes.io/managed-by": "orchestrator"}


@dataclass(frozen=True, kw_only=True)
class Container:
    """A container as it is asked for."""

    run: str
    attempt: int
    image: str
    command: list[str]
    environment: Mapping[str, str]
    volumes: list[str] = field(default_factory=list)  #: `source:target[:ro]`
    network: str = ""  #: a network's name, `host` or `none`; empty: the engine's default
    extra_networks: list[str] = field(default_factory=list)
    memory_bytes: int = 0
    cpus: float = 0.0
    user: str = ""
    directory: str = ""
    remove: bool = True  #: when it has ended, by whoever comes

    @property
    def name(self) -> str:
        """By which it is found again."""
        return name_of(self.run, self.attempt)


@dataclass(frozen=True)
class Stopped:
    """How a container ended."""

    exit_code: int
    out_of_memory: bool = False
    error: str = ""  #: the engine's own words, where it could not run the command


class Engine:
    """One engine, over its API.

    Args:
        url: `unix:///path` or `tcp://host:port`; empty: the socket that is there.

    Raises:
        EngineAway: None answers there.
    """

    def __init__(self, url: str = "") -> None:
        import docker  # 0.1 s

        self.url = url or _found()
        self._errors = docker.errors
        self._auth: dict[str, str] | None = None
        with self._words():  # the version is asked for below, so that a client that fails can be closed
            self._client = docker.APIClient(base_url=self.url, version=_OLDEST, timeout=CONNECT_SECONDS)
        try:
            with self._words():
                parts = self._client.version(api_version=False).get("Components") or []
        except EngineProblem:
            self.close()
            raise
        self.is_podman = any("podman" in str(part.get("Name", "")).lower() for part in parts)

    @property
    def gateway(self) -> str:
        """The name by which a container on a network of the engine's own reaches this machine."""
        return "host.containers.internal" if self.is_podman else "host.docker.internal"

    def log_in(self, username: str, password: str) -> None:
        """Use this name and password to pull."""
        self._auth = {"username": username, "password": password}

    # Images

    def has_image(self, image: str) -> bool:
        """Whether the image is here."""
        try:
            with self._words():
                self._client.inspect_image(image)
        except ImageMissing:
            return False
        return True

    def pull(self, image: str) -> None:
        """Pull an image. Raises ImageMissing with the registry's words."""
        repository, tag = _parted(image)
        try:
            with self._words():
                for line in self._client.pull(repository, tag=tag, stream=True, decode=True, auth_config=self._auth):
                    if line.get("error"):
                        raise ImageMissing(str(line["error"]).strip())
        except ImageMissing as error:
            raise ImageMissing(f"the image {image} could not be pulled: {error}") from None

    # Containers

    def create(self, container: Container) -> bool:
        """Make a container. False: it is there already, made by whoever supervised this attempt before."""
        try:
            with self._words():
                self._client.create_container(
                    container.image,
                    entrypoint=container.command[:1],  # instead of the image's own, as in Kubernetes
                    command=container.command[1:],
                    name=container.name,
                    labels={
                        **labels_of(container.run, container.attempt),
                        REMOVE_LABEL: "yes" if container.remove else "no",
                    },
                    environment=dict(container.environment),
                    user=container.user or None,
                    working_dir=container.directory or None,
                    volumes=[_target(volume) for volume in container.volumes],
                    host_config=self._host_config(container),
                )
                for network in container.extra_networks:
                    self._client.connect_container_to_network(container.name, network)
        except EngineProblem as problem:
            if not isinstance(problem, ImageMissing | EngineAway) and self.find(container.name) is not None:
                return False
            raise
        return True

    def _host_config(self, container: Container) -> Any:
        on_its_own = container.network not in ("host", "none")
        return self._client.create_host_config(
            binds=container.volumes,
            network_mode=container.network or None,
            mem_limit=container.memory_bytes or None,
            memswap_limit=container.memory_bytes or None,  # no more by swapping
            nano_cpus=int(container.cpus * 1e9) or None,
            init=True,  # signals reach Python, and orphans are reaped
            extra_hosts={self.gateway: "host-gateway"} if on_its_own and not self.is_podman else None,
        )

    def start(self, name: str) -> None:
        """Start a container that was made; one that runs or has ended stays as it is."""
        with self._words():
            self._client.start(name)

    def find(self, name: str) -> dict[str, Any] | None:
        """Return what the engine knows of a container, None where there is none."""
        try:
            with self._words():
                found: dict[str, Any] = self._client.inspect_container(name)
        except ImageMissing:  # how the engine says that there is nothing
            return None
        return found

    def wait(self, name: str) -> int:
        """Wait until a container is not running; return its exit code. Raises EngineAway: the connection broke."""
        try:
            with self._words():
                return int(self._client.wait(name, timeout=None)["StatusCode"])
        except ImageMissing:  # how the engine says that there is nothing
            raise ContainerGone("its container is gone: somebody removed it") from None

    def stopped(self, name: str) -> Stopped | None:
        """Return how a container ended; None while it has not."""
        state = (self.find(name) or {}).get("State")
        if state is None:
            raise ContainerGone("its container is gone: somebody removed it")
        if state.get("Running") or state.get("Status") in ("created", "configured", "initialized", "restarting"):
            return None
        return Stopped(int(state["ExitCode"]), bool(state.get("OOMKilled")), str(state.get("Error") or ""))

    def lines(self, name: str) -> Iterator[str]:
        """Follow what a container prints, line by line from its start, to its end or to that of the connection."""
        client = self._client  # its own `logs` leaves the connection open where it breaks
        url = f"{client.base_url}/v{client.api_version}/containers/{name}/logs"
        wanted = {"stdout": 1, "stderr": 1, "follow": 1}
        outputs: dict[int, Lines] = {}  # stdout and stderr
        with self._words(), client.get(url, params=wanted, stream=True, timeout=(CONNECT_SECONDS, None)) as answer:
            answer.raise_for_status()
            for stream, piece in _frames(answer.raw):
                yield from outputs.setdefault(stream, Lines()).feed(piece)
            for output in outputs.values():
                yield from output.rest()

    def stop(self, name: str, grace_seconds: float) -> None:
        """SIGTERM, then SIGKILL after the grace. Returns when it has ended; nothing happens where it has already."""
        try:
            with self._words():
                self._client.stop(name, timeout=max(0, round(grace_seconds)))
        except ImageMissing:
            pass

    def kill(self, name: str) -> None:
        """SIGKILL."""
        try:
            with self._words():
                self._client.kill(name)
        except EngineAway:
            raise
        except EngineProblem:  # it is gone, or does not run
            pass

    def remove(self, name: str) -> None:
        """Remove a container, whatever it does."""
        try:
            with self._words():
                self._client.remove_container(name, v=True, force=True)
        except EngineAway:
            raise
        except EngineProblem:  # it is gone, or somebody removes it just now
            pass

    def remove_ended(self, older_than_seconds: float) -> None:
        """Remove containers of runs that ended so long ago and were to be removed: those that supervised them are gone.

        What ended lately may still be looked at by whoever follows it.
        """
        wanted = {"label": f"{REMOVE_LABEL}=yes", "status": ["exited"]}
        with self._words():
            found = self._client.containers(all=True, filters=wanted)
        for each in found:
            name = each["Names"][0].lstrip("/")
            finished = str(((self.find(name) or {}).get("State") or {}).get("FinishedAt") or "")
            if finished and _age(finished) > older_than_seconds:
                self.remove(name)

    def of_run(self, run: str) -> list[tuple[str, int]]:
        """Return the names and attempts of a run's containers."""
        with self._words():
            found = self._client.containers(all=True, filters={"label": f"{RUN_LABEL}={run}"})
        return [(each["Names"][0].lstrip("/"), int(each["Labels"].get(ATTEMPT_LABEL, 0))) for each in found]

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def _words(self) -> _Words:
        return _Words(self.url, self._errors)


class _Words:
    """Turns what the client raises into problems with the engine's own words."""

    def __init__(self, url: str, errors: Any) -> None:
        self._url = url
        self._errors = errors

    def __enter__(self) -> None:
        return None

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        from requests import HTTPError  # `docker` has loaded it

        if error is None or isinstance(error, EngineProblem | GeneratorExit) or not isinstance(error, Exception):
            return
        # Podman answers 500 where a container goes while it looks.
        if isinstance(error, self._errors.NotFound) or "no such container" in str(error):
            raise ImageMissing(_explained(error)) from None
        if isinstance(error, self._errors.APIError):
            raise EngineProblem(_explained(error)) from None
        if isinstance(error, HTTPError):  # of the one request that is our own
            raise EngineProblem(str(error)) from None
        raise EngineAway(f"the container engine at {self._url} does not answer: {_innermost(error)}") from None


def _explained(error: Any) -> str:
    return str(getattr(error, "explanation", None) or error).strip()


def _innermost(error: BaseException) -> str:
    """The cause that libraries wrapped: `No such file or directory`, `Connection refused`."""
    seen: BaseException = error
    while (inner := seen.__cause__ or seen.__context__) is not None:
        seen = inner
    return getattr(seen, "strerror", None) or str(seen) or type(seen).__name__


def _frames(stream: Any) -> Iterator[tuple[int, bytes]]:
    """Return what a container printed: each piece comes behind 8 bytes that say from which stream and how long it is.

    Source: Docker Engine API, "Stream format" of `ContainerAttach`.
    """
    while len(head := stream.read(8)) == 8:
        left = int.from_bytes(head[4:], "big")
        while left and (piece := stream.read(min(left, PIECE_BYTES))):
            left -= len(piece)
            yield head[0], piece


def _age(stamp: str) -> float:
    """Return how many seconds ago an engine's time is: RFC 3339, with more digits than Python reads."""
    seconds = stamp.partition(".")[0].removesuffix("Z")
    return (datetime.now(UTC) - datetime.fromisoformat(seconds[:19]).replace(tzinfo=UTC)).total_seconds()


def _found() -> str:
    candidates = list(_SOCKETS)
    if folder := os.environ.get("XDG_RUNTIME_DIR"):
        candidates.append(f"{folder}/podman/podman.sock")
    there = next((path for path in candidates if os.path.exists(path)), _SOCKETS[0])
    return f"unix://{there}"


def _parted(image: str) -> tuple[str, str]:
    """Return an image's repository and tag (or digest), as the API takes them."""
    if "@" in image:
        repository, _, digest = image.partition("@")
        return repository, digest
    repository, colon, tag = image.rpartition(":")
    return (repository, tag) if colon and "/" not in tag else (image, "latest")


def registry_of(image: str) -> str:
    """Return the registry that an image is pulled from; one without a registry in its name is Docker Hub's.

    Source: the rule of the reference grammar of container images.
    """
    first, slash, _ = image.partition("/")
    return first if slash and ("." in first or ":" in first or first == "localhost") else "docker.io"


def _target(volume: str) -> str:
    return volume.split(":")[1] if ":" in volume else volume
