"""What runners share whose tasks execute in other processes: the machines stay here, the functions go there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from orchestrator.sdk.effects import Outcome
from orchestrator.sdk.exceptions import CrashedRun, RunnerError
from orchestrator.sdk.runners.base import Job, TaskRunner
from orchestrator.sdk.runners.calls import MAX_LOSSES, RemoteCall
from orchestrator.sdk.runners.threads import ThreadPoolTaskRunner
from orchestrator.sdk.runners.transfer import pack
from orchestrator.sdk.runs import TaskRun


class RemoteTaskRunner(TaskRunner):
    """Base of runners whose tasks execute in other processes.

    States, retries, limits and results live in the flow's process: an attempt's function and arguments go out, its
    facts and its outcome come back. Some threads here go on with the runs in between; none waits for an outcome.
    """

    is_remote = True

    def __init__(self) -> None:
        self._local = ThreadPoolTaskRunner()

    def run(self, job: Job) -> None:
        """Go on with a run in a thread of this process; subflows execute there too."""
        self._local.run(job)

    def run_later(self, job: Job, seconds: float) -> None:
        """Do so after a delay that holds no thread."""
        self._local.run_later(job, seconds)

    def close(self) -> None:
        """End what this runner started."""
        self._local.close()

    def call(self, run: TaskRun, tags: frozenset[str]) -> RemoteCall:
        """Have an attempt executed elsewhere; see `TaskRunner.call`. One that cannot be has ended at once."""
        call = self.make_call(run)
        try:
            call.payload = self.pack(run, tags, call)
            self.begin(call)
        except Exception as error:
            call.end(Outcome(error=error))
        return call

    def pack(self, run: TaskRun, tags: frozenset[str], call: RemoteCall) -> bytes:
        """Return what is sent of an attempt. Raises TransferError."""
        return pack(run, tags)

    def make_call(self, run: TaskRun) -> RemoteCall:
        """Return a call of this runner's kind."""
        raise NotImplementedError

    def begin(self, call: RemoteCall) -> None:
        """Hand a call out, without waiting for it."""
        raise NotImplementedError

    def lose(self, call: RemoteCall, message: str) -> None:
        """Note that the process which had a call is gone: handed out anew where it had not begun, else crashed."""
        if call.is_over:
            return
        call.losses += 1
        if call.has_begun or call.losses >= MAX_LOSSES:
            call.end(Outcome(error=CrashedRun(message), crashed=True))
            return
        try:
            self.begin(call)
        except Exception as error:
            call.end(Outcome(error=error))


GENERAL_RESOURCES: Final = frozenset({"num_cpus", "num_gpus", "memory"})
"""Names in a task's `resources` that Ray knows by itself; all others are of the cluster's own making."""


def root_cause(error: BaseException) -> BaseException:
    """Return what an error came from in the first place."""
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def needs(package: str, runner: str, load: Callable[[], Any]) -> Any:
    """Return what `load` returns, with words for who has not installed the package."""
    try:
        return load()
    except ImportError as error:
        raise RunnerError(
            f"{runner} needs the package {package}, which is not installed. "
            f"Install it: pip install 'orchestrator-flows[{package}]'."
        ) from error
