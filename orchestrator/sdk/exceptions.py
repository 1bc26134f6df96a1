"""The errors of the engine.

    OrchestratorError
    ├── ParameterError (ValueError)     a flow was called with parameters that do not fit its signature
    ├── FlowLoadError                   a file or module has no such flow, or cannot be loaded
    ├── MapError (ValueError)           `map` was called with what cannot be mapped over
    ├── MissingContextError             something that needs a run was used outside one
    ├── TransferError (TypeError)       a value cannot be sent to, or back from, the process where a task executes
    ├── RunnerError                     a task runner's cluster cannot be reached, or its package is not there
    ├── RunTimeoutError (TimeoutError)  a run took longer than its `timeout_seconds`
    └── UnsuccessfulRun                 the result was asked of a run that has none
        ├── FailedRun                   … it failed without an exception of its own
        ├── CancelledRun                … it was cancelled
        ├── CrashedRun                  … its process or thread was ended from outside
        └── UpstreamError               … it was not started, since a run that it needs did not complete

What user code raises is raised again as it is, never wrapped.
"""


class OrchestratorError(Exception):
    """Root of all errors that the engine raises by itself."""


class ParameterError(OrchestratorError, ValueError):
    """A flow was called with parameters that do not fit its signature. The message names each one."""


class FlowLoadError(OrchestratorError):
    """No flow could be got from a file or module. The message says why; `__cause__` is what its code raised."""


class MapError(OrchestratorError, ValueError):
    """`map` got nothing to iterate over, or iterables of different lengths. The message names the arguments."""


class MissingContextError(OrchestratorError):
    """Something that needs a run was used outside one."""


class TransferError(OrchestratorError, TypeError):
    """A value cannot be sent to, or back from, the process where a task executes. The message names it."""


class RunnerError(OrchestratorError):
    """A task runner cannot execute anything: its cluster cannot be reached, or a package is not installed."""


class RunTimeoutError(OrchestratorError, TimeoutError):
    """A flow run or task run took longer than its `timeout_seconds`."""


class UnsuccessfulRun(OrchestratorError):
    """The result was asked of a run that ended without one."""


class FailedRun(UnsuccessfulRun):
    """A run failed without an exception of its own, e.g. because a task run failed that nobody looked at."""


class CancelledRun(UnsuccessfulRun):
    """A run was cancelled."""


class CrashedRun(UnsuccessfulRun):
    """A run was ended from outside: by a signal, or with its process."""


class UpstreamError(UnsuccessfulRun):
    """A task run was not started, since a run that it needs did not complete."""
