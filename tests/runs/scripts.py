"""Facts as a script's process records them, for tests of ingest: values, numbered and timed by hand."""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

from orchestrator.sdk.boot import this_boot
from orchestrator.sdk.events import (
    AnyFact,
    Ended,
    Error,
    Exited,
    FlowRunCreated,
    FlowRunState,
    Header,
    Log,
    Resources,
    TaskRunCreated,
    TaskRunState,
)
from orchestrator.sdk.ids import uuid7
from orchestrator.sdk.reader import Batch
from runs.ingest import Outcome, ingest

START = 1_795_000_000_000_000  # microseconds since the epoch, in November 2026
STEP = 1_000


class Process:
    """One process and its journal. Each method records a fact and returns it."""

    def __init__(self, run: str = "", journal: str = "", start: int = START) -> None:
        boot = this_boot()
        self.run = run or str(uuid7())
        self.header = Header(
            journal=journal or str(uuid7()), t=start, pid=4242, host=boot.host, machine=boot.machine, boot=boot.boot
        )
        self.facts: list[AnyFact] = []
        self._time = start

    def record(self, fact: AnyFact, t: int | None = None) -> AnyFact:
        self._time += STEP
        fact.n, fact.t = len(self.facts) + 1, self._time if t is None else t
        self.facts.append(fact)
        return fact

    def create(self, flow: str = "etl", run: str = "", **fields: Any) -> str:
        run = run or self.run
        self.record(FlowRunCreated(run=run, flow=flow, name="swift-otter", **fields))
        return run

    def state(self, type_: str, name: str = "", run: str = "", attempt: int = 1, **fields: Any) -> None:
        self.record(
            FlowRunState(run=run or self.run, attempt=attempt, type=type_, name=name or type_.capitalize(), **fields)
        )

    def begin(self, **fields: Any) -> "Process":
        """Record a flow run that runs."""
        self.create(**fields)
        self.state("RUNNING", pid=4242)
        return self

    def task(self, type_: str = "RUNNING", run: str = "", id_: str = "", attempt: int = 1, **fields: Any) -> str:
        id_ = id_ or str(uuid7())
        self.record(
            TaskRunCreated(
                run=run or self.run, attempt=attempt, id=id_, task="load", key="etl.load", type=type_,
                state=type_.capitalize(), **fields,
            )
        )  # fmt: skip
        return id_

    def task_state(
        self, id_: str, type_: str, name: str = "", attempt: int = 1, task_attempt: int = 1, **f: Any
    ) -> None:
        self.record(
            TaskRunState(
                run=f.pop("run", self.run), attempt=attempt, id=id_, task_attempt=task_attempt, type=type_,
                name=name or type_.capitalize(), **f,
            )
        )  # fmt: skip

    def log(self, message: str, t: int | None = None, **fields: Any) -> None:
        self.record(Log(run=fields.pop("run", self.run), message=message, **fields), t)

    def exited(self, **fields: Any) -> None:
        self.record(Exited(run=fields.pop("run", self.run), **fields))

    def resources(self, **fields: Any) -> None:
        self.record(Resources(run=fields.pop("run", self.run), **fields))

    def end(self) -> None:
        self.record(Ended())

    def batch(self, facts: Sequence[AnyFact] | None = None) -> Batch:
        return Batch(self.header, list(self.facts if facts is None else facts))

    def ingest(self, **options: Any) -> Outcome:
        """Bring in everything recorded so far."""
        return ingest(self.batch(), **options)


def error(message: str = "boom") -> Error:
    return Error("ValueError", message, "Traceback …")


def pieces(facts: Sequence[AnyFact], cuts: Iterable[int]) -> list[list[AnyFact]]:
    """Cut facts into batches at these places."""
    places = [0, *sorted({cut % (len(facts) + 1) for cut in cuts}), len(facts)]
    return [list(facts[start:end]) for start, end in pairwise(places) if start < end]
