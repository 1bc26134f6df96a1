"""Docker: each run in a container of its own, on any engine that has the Docker API (Docker, Podman).

The run's process in the container reads what to run from the API, and ships its facts there, by the run's own token.
Its supervisor, on the worker's machine, makes the container, passes on what is printed before the engine of flows is
there to record it, waits, and removes it. A supervisor that is killed leaves the container: its name is made of run and
attempt, so the next one finds it, and no second one can be made.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from itertools import islice
from typing import Annotated, Any, Final, Literal, TypeVar
from urllib.parse import urlsplit, urlunsplit

import msgspec

from orchestrator.sdk.causes import Cause
from orchestrator.sdk.home import ECHO_VARIABLE
from orchestrator.sdk.host_exits import describe
from orchestrator.sdk.infrastructure.base import Ended, Infrastructure, InfrastructureError, Launch, Unreachable
from orchestrator.sdk.infrastructure.container_engine import (
    Container,
    ContainerGone,
    Engine,
    EngineAway,
    EngineProblem,
    ImageMissing,
    Stopped,
    name_of,
    registry_of,
)
from orchestrator.sdk.infrastructure.printed import Printed
from orchestrator.sdk.infrastructure.settings import about

MEGABYTE: Final = 1024 * 1024
T = TypeVar("T")

AWAY_SECONDS: Final = 30.0  #: for so long an engine may not answer (it is restarted) before a run that waits ends
LEAVE_SECONDS: Final = 600.0  #: … and before one that may be under way there is left to itself
LEFT_SECONDS: Final = 3600.0  #: after its end a container that nobody removed is removed by the next run there
_RETRY_SECONDS: Final = 0.5
_LAST_LINES_SECONDS: Final = 5.0  # for what a container printed last
_CAUSES: Final = {ImageMissing: Cause.IMAGE, ContainerGone: Cause.LOST, EngineAway: Cause.LOST}
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})


class DockerSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a run's container is made of."""

    image: Annotated[
        str,
        about("Image", "It has Python, orchestrator-flows and what your flows import.",
              max_length=500, pattern=r"^[a-zA-Z0-9][^\s]*$", example="registry.internal/etl:7"),
    ]  # fmt: skip
    pull_policy: Annotated[
        Literal["if-missing", "always", "never"],
        about("Pull", "When the image is fetched from its registry before a run.", opened=True),
    ] = "if-missing"
    environment: Annotated[
        dict[str, str], about("Environment", "Variables that its code finds, one NAME=value a line.", example="TZ=UTC")
    ] = {}
    volumes: Annotated[
        list[str],
        about("Volumes", "Folders of the engine's machine or named volumes, one source:target[:ro] a line.",
              example="/srv/data:/data:ro"),
    ] = []  # fmt: skip
    networks: Annotated[
        list[str],
        about("Networks", "Networks of the engine, one a line; host for that of its machine, none for none."
              " Without one: the engine's default.", example="host"),
    ] = []  # fmt: skip
    memory_mb: Annotated[
        int,
        about("Memory", "The most that its container may use; the kernel kills what goes beyond.",
              ge=16, le=16 * 1024 * 1024, unit="MB", opened=True),
    ] | None = None  # fmt: skip
    cpus: Annotated[
        float,
        about("Processors", "How many it may use at most; 0.5 is half of one.", ge=0.01, le=4096, opened=True),
    ] | None = None  # fmt: skip
    user: Annotated[
        str,
        about("User", "A user of the image, by name or by number, with :group; without one, the image's own.",
              pattern=r"^([a-zA-Z0-9_][a-zA-Z0-9_.:-]*)?$", example="1000:1000"),
    ] = ""  # fmt: skip
    working_directory: Annotated[
        str, about("Working directory", "In the container, instead of the image's own.", pattern=r"^(/.*)?$")
    ] = ""
    python: Annotated[
        str,
        about("Python", "The interpreter in the image that has orchestrator-flows.", example="/opt/venv/bin/python"),
    ] = "python"
    auto_remove: Annotated[
        bool, about("Remove", "Whether its container is removed when it has ended. Else it stays, to be looked at.")
    ] = True
    registry_credentials: Annotated[
        str,
        about("Registry credentials", "The block with name and password for the image's registry.",
              block="registry-credentials"),
    ] = ""  # fmt: skip
    engine: Annotated[
        str,
        about("Engine", "Where the engine's API is; without it, the socket on the worker's machine.",
              pattern=r"^((unix:///|tcp://)\S+)?$", example="unix:///run/podman/podman.sock"),
    ] = ""  # fmt: skip
    api_url: Annotated[
        str,
        about("API address", "The server's address as seen from the container. Without it, the worker's own; where"
              " that is this machine's, the engine's name for it.",
              pattern=r"^(https?://\S+)?$", example="http://server.internal:4200"),
    ] = ""  # fmt: skip


class Docker(Infrastructure[DockerSettings]):
    """A container for each attempt."""

    kind = "docker"
    label = "Docker"
    summary = "Each run in a container of its own, on the Docker or Podman engine of its worker's machine."
    risk = "Volumes reach into the engine's machine, and whoever may use its engine may do there what root may."
    icon = "container"
    outlives_worker = "host"
    Settings = DockerSettings

    def __init__(self, settings: DockerSettings, block: str = "", credentials: Any = None) -> None:
        super().__init__(settings, block, credentials)
        self._lock = threading.Lock()  # held while the container is made, so that a stop finds it
        self._name = ""
        self._is_stopped = False
        self._has_begun = False
        self._may_live = False  # its container may be under way: that no engine answers is not its end
        self._printed = Printed(print)

    @classmethod
    def check(cls, settings: DockerSettings) -> dict[str, str]:
        """Names of variables, volumes and networks have to be ones."""
        errors = {}
        for name in settings.environment:
            if not name or "=" in name or name.startswith("ORCHESTRATOR_"):
                errors["environment"] = f"{name!r} cannot be set here: name a variable of your own code's."
        for volume in settings.volumes:
            parts = volume.split(":")
            if len(parts) not in (2, 3) or not parts[0] or not parts[1].startswith("/") or parts[2:] not in (
                [], ["ro"], ["rw"]
            ):  # fmt: skip
                errors["volumes"] = f"{volume!r} is not source:target or source:target:ro, with target from /."
        if len(settings.networks) > 1 and {"host", "none"} & set(settings.networks):
            errors["networks"] = "host and none stand alone."
        return errors

    def preview(self, run: str, api_url: str) -> dict[str, Any]:
        """Return what a run's container is made of, on an engine that calls its machine as Docker does."""
        environment = {"ORCHESTRATOR_API_URL": api_url, "ORCHESTRATOR_RUN_ID": run, "ORCHESTRATOR_ATTEMPT": "1"}
        container = self._container("host.docker.internal", Launch(run=run, attempt=1, environment=environment))
        return {"name": container.name, **{name: value for name, value in asdict(container).items() if value}}

    def run(self, launch: Launch) -> Ended:
        """Execute the attempt in its container, and remove that."""
        self._may_live = self._has_begun = launch.goes_on
        self._printed = Printed(launch.tell)
        if launch.goes_on:
            self._name = name_of(launch.run, launch.attempt)
        try:
            with self._patiently(lambda: Engine(self.settings.engine), launch) as engine:
                return self._run(engine, launch)
        except EngineProblem as problem:
            if self._is_passing(problem) and self._may_live:
                raise Unreachable(self._said(problem)) from None
            cause = _CAUSES.get(type(problem), Cause.EXIT)
            raise InfrastructureError(self._said(problem), cause) from None

    def stop(self, grace_seconds: float) -> None:
        """Have the engine end the container: SIGTERM, SIGKILL after the grace."""
        with self._lock:
            self._is_stopped = True
        if self._name:
            with suppress(EngineProblem):  # `run` meets the same, and tells
                self._patiently(lambda: self._stop(grace_seconds))

    def _stop(self, grace_seconds: float) -> None:
        with Engine(self.settings.engine) as engine:
            engine.stop(self._name, grace_seconds)

    def _run(self, engine: Engine, launch: Launch) -> Ended:
        container = self._container(engine.gateway, launch)
        if launch.goes_on:
            if self._patiently(lambda: engine.find(container.name), launch) is None:
                raise ContainerGone("its container is gone")
        else:
            self._patiently(lambda: self._prepare(engine, launch, container), launch)
            if not self._patiently(lambda: self._begin(engine, container), launch):
                return Ended(message=launch.stop_reason())
            self._has_begun = True
        stopped = self._follow(engine, launch, container.name)
        if self.settings.auto_remove:
            with suppress(EngineProblem):  # it has ended, which is what counts; the next run there clears it away
                engine.remove(container.name)
        return self._ended(stopped, launch)

    def _patiently(self, ask: Callable[[], T], launch: Launch | None = None) -> T:
        """Return what an engine says, asked again while it is away: longer where a container may be under way.

        Args:
            ask: May be called again and again.
            launch: Whose log is told once that the engine is away.

        Raises:
            EngineProblem: It stays away, or says no.
        """
        away_since = 0.0
        while True:
            try:
                return ask()
            except EngineProblem as problem:
                if not self._is_passing(problem):
                    raise
                if launch is not None and not away_since:
                    launch.tell(f"{self._said(problem)}. It is asked again.")
                away_since = away_since or time.monotonic()
                is_in_vain = self._is_stopped and not self._may_live
                if is_in_vain or time.monotonic() - away_since > (LEAVE_SECONDS if self._may_live else AWAY_SECONDS):
                    raise
                time.sleep(_RETRY_SECONDS)

    def _is_passing(self, problem: EngineProblem) -> bool:
        """Whether it says nothing about the container: of one that has begun any but that it is gone."""
        return isinstance(problem, EngineAway) or (self._has_begun and not isinstance(problem, ContainerGone))

    def _prepare(self, engine: Engine, launch: Launch, container: Container) -> None:
        self._clear_away(engine, launch)
        if engine.find(container.name) is None:
            self._fetch_image(engine, launch)

    def _clear_away(self, engine: Engine, launch: Launch) -> None:
        """Remove what earlier attempts left, whose supervisors were killed: two are never under way at once."""
        for name, attempt in engine.of_run(launch.run):
            if attempt < launch.attempt:
                engine.kill(name)
                if self.settings.auto_remove:
                    engine.remove(name)
        with suppress(EngineProblem):  # others', of which nobody told; one that is away tells so next
            engine.remove_ended(LEFT_SECONDS)

    def _fetch_image(self, engine: Engine, launch: Launch) -> None:
        image, policy = self.settings.image, self.settings.pull_policy
        if policy == "never" or (policy == "if-missing" and engine.has_image(image)):
            return
        if known := self.credentials.get("registry_credentials"):
            if registry_of(image) != (registry := str(known.get("registry", ""))):
                raise ImageMissing(
                    f"the image {image} is not of {registry}, which the registry credentials are for: they are not sent"
                )
            engine.log_in(str(known.get("username", "")), str(known.get("password", "")))
        launch.tell(f"Pulling the image {image}")
        engine.pull(image)

    def _begin(self, engine: Engine, container: Container) -> bool:
        """Have the container run. False: it was stopped first."""
        with self._lock:
            if self._is_stopped:
                if self._may_live:  # an engine that went away may have begun it
                    engine.remove(container.name)
                return False
            self._may_live, self._name = True, container.name
            if engine.create(container) or engine.stopped(container.name) is None:
                engine.start(container.name)
            return True

    def _container(self, gateway: str, launch: Launch) -> Container:
        settings = self.settings
        first, *others = settings.networks or [""]
        environment = {**settings.environment, ECHO_VARIABLE: "0", **launch.environment}
        environment["ORCHESTRATOR_API_URL"] = settings.api_url or seen_from_container(
            launch.environment["ORCHESTRATOR_API_URL"], "" if first == "host" else gateway
        )
        return Container(
            run=launch.run,
            attempt=launch.attempt,
            image=settings.image,
            command=[settings.python, *launch.arguments],
            environment=environment,
            volumes=settings.volumes,
            network=first,
            extra_networks=others,
            memory_bytes=(settings.memory_mb or 0) * MEGABYTE,
            cpus=settings.cpus or 0.0,
            user=settings.user,
            directory=settings.working_directory,
            remove=settings.auto_remove,
        )

    # While it runs

    def _follow(self, engine: Engine, launch: Launch, name: str) -> Stopped:
        """Pass on what the container prints, and return how it ended."""
        reader = threading.Thread(target=self._read, args=(name,), name="container-logs", daemon=True)
        reader.start()
        stopped = self._wait(engine, launch, name)
        reader.join(_LAST_LINES_SECONDS)
        return stopped

    def _wait(self, engine: Engine, launch: Launch, name: str) -> Stopped:
        """Wait for the end, past engines that are restarted meanwhile. Raises EngineProblem where one stays away."""
        exit_code: int | None = None
        while True:
            try:
                stopped = self._patiently(lambda: engine.stopped(name), launch)
            except ContainerGone:
                if exit_code is None:
                    raise
                return Stopped(exit_code)  # somebody removed it as soon as it had ended
            if stopped is not None:
                return stopped
            try:
                exit_code = engine.wait(name)
            except EngineProblem:
                time.sleep(_RETRY_SECONDS)

    def _read(self, name: str) -> None:
        """Tell each line once, past connections that break: then those that were told are counted off again."""
        told, deadline = 0, 0.0
        while True:
            try:
                with Engine(self.settings.engine) as engine:
                    for line in islice(engine.lines(name), told, None):
                        told += 1
                        if line := line.rstrip("\r"):
                            self._printed.add(line)
                    if engine.stopped(name) is not None:
                        return
                deadline = 0.0
            except EngineAway:
                deadline = deadline or time.monotonic() + LEAVE_SECONDS
                if time.monotonic() > deadline:
                    return
            except EngineProblem:  # it is removed
                return
            time.sleep(_RETRY_SECONDS)

    # Its end

    def _ended(self, stopped: Stopped, launch: Launch) -> Ended:
        number = stopped.exit_code - 128 if 128 < stopped.exit_code < 128 + 65 else 0
        code = None if number else stopped.exit_code
        if self._is_stopped:
            return Ended(code, number)
        if stopped.out_of_memory:
            return Ended(code, number, f"out of memory: {self._limit()}", Cause.OUT_OF_MEMORY)
        message = stopped.error or describe(code, number)
        if number == 9 and self.settings.memory_mb:
            message += f", perhaps out of memory: {self._limit()}"
        if self._printed.last and stopped.exit_code:
            message += f"; it last said: {self._printed.last[:300]}"
            if "exec" in message and "No such file" in message:  # an init's words, which leave out what it looked for
                message += f" (is {self.settings.python} in the image {self.settings.image}?)"
        return Ended(code, number, message)

    def _limit(self) -> str:
        return (
            f"its container may use {self.settings.memory_mb} MB" if self.settings.memory_mb else "its machine is full"
        )

    def _said(self, problem: Exception) -> str:
        return f"{problem} (block {self.block!r})" if self.block else str(problem)


def seen_from_container(url: str, gateway: str) -> str:
    """Return a server's address as a container reaches it: this machine's loopback is another one's in there.

    Args:
        url: As the worker reaches it.
        gateway: The engine's name for its machine; empty: the container is on that machine's network.
    """
    parts = urlsplit(url)
    if not gateway or parts.hostname not in _LOOPBACK:
        return url
    return urlunsplit(parts._replace(netloc=f"{gateway}:{parts.port}" if parts.port else gateway))
