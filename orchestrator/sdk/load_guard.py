"""Whether user code is being loaded, to be looked at or run later: flows called at its top level are then left out."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

# A plain module global and no context variable: a thread that the file starts while it is loaded is meant too.
_loading: list[str] = []


def is_loading() -> bool:
    """Whether a file of flows is being loaded in this process."""
    return bool(_loading)


def leave_out(call: str) -> bool:
    """Say on standard error that a call is left out, if a file is being loaded.

    Args:
        call: What was called, e.g. `the_new_thing()`.

    Returns:
        Whether to leave it out; the caller then returns None at once.
    """
    if _loading:
        print(f"Not started while loading: {call} in {_loading[-1]}", file=sys.stderr, flush=True)
        return True
    return _is_spawned_copy()


def _is_spawned_copy() -> bool:
    """Whether multiprocessing loads the script once more, in a process that it starts: Dask's local clusters do."""
    process = sys.modules.get("multiprocessing.process")
    return process is not None and getattr(process.current_process(), "_inheriting", False)


@contextmanager
def loading(name: str) -> Iterator[None]:
    """Mark that the file or module of this name is being loaded."""
    _loading.append(name)
    try:
        yield
    finally:
        _loading.remove(name)
