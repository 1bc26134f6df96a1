"""Two lines turn a Python script into an observed flow: `from orchestrator import flow` and `@flow`.

Every public name is here and loaded when it is first used (PEP 562), so that importing costs a script almost nothing.
"""

_MODULES = {
    "orchestrator._version": ("__version__",),
    "orchestrator.sdk.annotations": ("allow_failure", "quote", "unmapped"),
    "orchestrator.sdk.context": ("tags",),
    "orchestrator.sdk.exceptions": (
        "CancelledRun",
        "CrashedRun",
        "FailedRun",
        "MapError",
        "MissingContextError",
        "OrchestratorError",
        "ParameterError",
        "RunnerError",
        "RunTimeoutError",
        "TransferError",
        "UnsuccessfulRun",
        "UpstreamError",
    ),
    "orchestrator.sdk.flows": ("Flow", "flow"),
    "orchestrator.sdk.futures": ("Future", "FutureList", "as_completed", "wait"),
    "orchestrator.sdk.log_capture": ("get_run_logger",),
    "orchestrator.sdk.retries": ("exponential_backoff",),
    "orchestrator.sdk.runners.celery": ("CeleryTaskRunner",),
    "orchestrator.sdk.runners.dask": ("DaskTaskRunner",),
    "orchestrator.sdk.runners.inline": ("InlineTaskRunner",),
    "orchestrator.sdk.runners.processes": ("ProcessPoolTaskRunner",),
    "orchestrator.sdk.runners.ray": ("RayTaskRunner",),
    "orchestrator.sdk.runners.threads": ("ThreadPoolTaskRunner",),
    "orchestrator.sdk.runs": ("FlowRun", "TaskRun"),
    "orchestrator.sdk.states": (
        "Cancelled",
        "Completed",
        "Crashed",
        "Failed",
        "Pending",
        "Running",
        "State",
        "StateType",
    ),
    "orchestrator.sdk.tasks": ("Task", "task"),
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [*_HOMES, "runtime"]


def __getattr__(name: str) -> object:
    if name == "runtime":
        from orchestrator.sdk import runtime as value
    elif name in _HOMES:
        value = getattr(__import__(_HOMES[name], fromlist=[name]), name)
    else:
        raise AttributeError(f"module 'orchestrator' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
