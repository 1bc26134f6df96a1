"""The recorded facts and their JSON codec.

A journal is a sequence of lines; each is one JSON object. The first line of every segment is a `Header`, all others are
facts: `n` numbers them from 1 within the journal (over all its segments), `t` is the time in microseconds since the
Unix epoch, and the tag `k` names the kind. Whoever reads must pass over kinds and fields it does not know: a newer
script may write to an older server.
"""

from typing import Any, TypeAlias

import msgspec

VERSION = 1

MAX_PARAMETER_BYTES = 512 * 1024
MAX_LOG_BYTES = 1024 * 1024


class Fact(msgspec.Struct, tag_field="k", omit_defaults=True, kw_only=True):
    """What every fact has."""

    n: int = 0  #: sequence number within the journal, set by the journal
    t: int = 0  #: microseconds since the Unix epoch, set by the journal when zero


class Error(msgspec.Struct, omit_defaults=True):
    """An exception as it was seen: the class's name, its message and the user's own traceback as text."""

    type: str
    message: str
    traceback: str = ""


class Attempt(Fact, kw_only=True):
    """A fact that belongs to one attempt of one flow run."""

    run: str  #: id of the flow run
    attempt: int = 1  #: which attempt of the flow run, from 1


class FlowRunCreated(Attempt, tag="flow_run", kw_only=True):
    """A script or a subflow call made a flow run. Runs that the server created are not repeated here.

    Source of the flow's identity: (team, name); two offline machines agree without asking.
    """

    flow: str
    name: str
    version: str = ""
    parameters: dict[str, Any] = {}
    tags: list[str] = []
    parent: str = ""  #: id of the flow run that called this subflow
    parent_task_run: str = ""  #: id of the task run that stands for this subflow in its parent
    entrypoint: str = ""  #: path:function, as far as known
    description: str = ""


class FlowRunState(Attempt, tag="flow_state", kw_only=True):
    """An attempt of a flow run entered a state."""

    type: str
    name: str
    message: str = ""
    error: Error | None = None
    run_name: str = ""  #: set when the run's name became known only now (`flow_run_name` templates)
    pid: int = 0  #: set with RUNNING
    cause: str = ""  #: with CRASHED: why, one of `causes.Cause`


class FlowRunSnapshot(Attempt, tag="flow_run_update", kw_only=True):
    """Values that the engine knows only after it coerced the parameters of a run that the server created."""

    parameters: dict[str, Any] | None = None
    run_name: str = ""


class CodeFound(Attempt, tag="code", kw_only=True):
    """Which code exactly an attempt runs, where its source did not say it all: the commit that a branch was at."""

    commit: str


class TaskRunCreated(Attempt, tag="task_run", kw_only=True):
    """A task was called or submitted. Carries the first state, so that a plain call costs two facts in all."""

    id: str
    task: str  #: the task's name
    key: str  #: module-qualified name of the function, by which a task is known across attempts
    index: int = 0  #: count of earlier calls of this key in this attempt, from 0
    name: str = ""  #: the run's own name (`task_run_name`, or "task-index")
    tags: list[str] = []
    inputs: dict[str, list[str]] = {}  #: argument → ids of the task runs (or subflow runs) it came from
    max_retries: int = 0
    type: str = "PENDING"
    state: str = "Pending"
    subflow: str = ""  #: id of the flow run, when this task run stands for a subflow call


class TaskRunState(Attempt, tag="task_state", kw_only=True):
    """A task run entered a state."""

    id: str
    task_attempt: int = 1  #: which attempt of the task run, from 1
    type: str
    name: str
    message: str = ""
    error: Error | None = None
    run_name: str = ""  #: set when the run's name became known only now (`task_run_name` of a submitted task)
    until: int = 0  #: with AwaitingRetry: when the next attempt is due, microseconds since the epoch


class Log(Attempt, tag="log", kw_only=True):
    """A log line or a printed line."""

    task_run: str = ""
    task_attempt: int = 0
    level: int = 20  #: a level of Python's logging; prints are 20
    logger: str = ""  #: "stdout" and "stderr" for what was printed
    message: str = ""


class Resources(Attempt, tag="resources", kw_only=True):
    """What an attempt's process and those that it started used, since the sample before."""

    cpu: float = 0.0  #: processors: 1.0 is one of them, whole
    memory: int = 0  #: bytes, resident now
    peak: int = 0  #: bytes, the most so far
    cpu_seconds: float = 0.0  #: of the process so far


class Exited(Attempt, tag="exited", kw_only=True):
    """The supervisor's word on a process that ended without an ending of its own (written after its facts)."""

    exit_code: int | None = None
    signal: int = 0
    message: str = ""
    cause: str = ""  #: one of `causes.Cause`, where the supervisor knows it
    peak: int = 0  #: bytes of memory, the most that the process had
    cpu_seconds: float = 0.0


class Ended(Fact, tag="end", kw_only=True):
    """The process closed its journal in good order: nothing follows."""


class Header(msgspec.Struct, tag_field="k", tag="header", omit_defaults=True, kw_only=True):
    """The first line of a segment."""

    v: int = VERSION
    journal: str  #: UUIDv7
    segment: int = 0
    first: int = 1  #: number of the first fact in this segment
    t: int = 0
    pid: int = 0
    host: str = ""
    machine: str = ""  #: /etc/machine-id where there is one, else the host's name
    boot: str = ""  #: boot id: only this boot judges by the file's lock
    run: str = ""  #: the flow run that a supervisor started this process for
    attempt: int = 0


AnyFact: TypeAlias = (
    FlowRunCreated
    | FlowRunState
    | FlowRunSnapshot
    | CodeFound
    | TaskRunCreated
    | TaskRunState
    | Log
    | Resources
    | Exited
    | Ended
)

encode = msgspec.json.Encoder(enc_hook=str).encode
decode_line = msgspec.json.Decoder(Header | AnyFact).decode
