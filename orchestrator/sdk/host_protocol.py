"""What a worker, its run host and the processes that it keeps say: one JSON object a line, over stream sockets.

The end of the stream is a message too: the worker is gone, so the host kills what runs, writes their endings and exits.
"""

from typing import Any, TypeAlias

import msgspec

from orchestrator.sdk.infrastructure.base import Placement


class Start(msgspec.Struct, tag_field="op", tag="start", kw_only=True, omit_defaults=True):
    """Worker to host: run this attempt, which the worker has claimed."""

    run: str  #: id of the flow run
    attempt: int
    journal: str  #: UUIDv7 that the run's process gives its journal
    entrypoint: str  #: /absolute/path.py:function, or package.module:function
    flow: str = ""  #: the flow's name, as the server knows it
    name: str = ""  #: the run's name
    directory: str = ""  #: where the run works, and what a module is imported from
    source_credentials: dict[str, str] = {}  #: what a private source takes; gone before user code is loaded
    source: dict[str, Any] = {}  #: where the code is (`sdk.sources`): directory and entrypoint may be relative to it
    parameters: dict[str, Any] = {}
    tags: list[str] = []
    deployment_id: str | None = None
    deployment: str | None = None
    scheduled_for: str | None = None  #: ISO 8601
    token: str = ""  #: good for this run only
    api_url: str = ""
    env: dict[str, str] = {}
    lease_until: float = 0.0  #: by `boot.boot_seconds`: it must have ended by then unless extended; 0: no such bound
    task_runner: str = ""  #: the one that its deployment chose, by name; empty: the flow's own
    reruns: bool = False  #: if it crashes it is run again
    goes_on: bool = False  #: it has begun, elsewhere, and its supervisor is gone
    keep: str = ""  #: whose kept process may run it; empty: a process of its own
    infrastructure: Placement | None = None  #: where it executes; None: in a process forked by the host, as it is
    secrets: int = 0  #: the file that came along, with token and credentials (`host_secrets`); 0: they stand here


class Stop(msgspec.Struct, tag_field="op", tag="stop", kw_only=True):
    """Worker to host: SIGTERM to the run's process group, SIGKILL after the grace."""

    run: str
    grace_seconds: float = 5.0
    reason: str = "cancelled"


class Extend(msgspec.Struct, tag_field="op", tag="extend", kw_only=True):
    """Worker to host: the lease of this run was extended."""

    run: str
    attempt: int
    lease_until: float  #: as in `Start`


class Ready(msgspec.Struct, tag_field="op", tag="ready"):
    """Host to worker: the engine is imported, send runs."""


class Started(msgspec.Struct, tag_field="op", tag="started", kw_only=True):
    """Host to worker: the run has a process, the leader of its own group."""

    run: str
    attempt: int
    pid: int


class RunExited(msgspec.Struct, tag_field="op", tag="exited", kw_only=True):
    """Host to worker: the run's process and its group are gone, its journal has an ending; its place is free."""

    run: str
    attempt: int
    exit_code: int | None = None  #: None when a signal ended it, or when it could not be started
    signal: int = 0
    peak: int = 0  #: bytes of memory, the most that the process had
    cpu_seconds: float = 0.0


class Finished(msgspec.Struct, tag_field="op", tag="finished", kw_only=True):
    """Kept process to host: its run has ended, its journal is closed, and it is fit for the next run."""

    exit_code: int
    peak: int = 0  #: as in `RunExited`, since the process began
    cpu_seconds: float = 0.0  #: since the process began


class Stale(msgspec.Struct, tag_field="op", tag="stale"):
    """Kept process to host: the code has changed since it was loaded, so the run that came has not begun here."""


ToHost: TypeAlias = Start | Stop | Extend
FromKept: TypeAlias = Finished | Stale
FromHost: TypeAlias = Ready | Started | RunExited

decode_to_host = msgspec.json.Decoder(ToHost).decode
decode_from_host = msgspec.json.Decoder(FromHost).decode
decode_from_kept = msgspec.json.Decoder(FromKept).decode
_encode = msgspec.json.Encoder(enc_hook=str).encode


def pack(message: ToHost | FromHost | FromKept) -> bytes:
    """Return a message as the line to send."""
    return _encode(message) + b"\n"
