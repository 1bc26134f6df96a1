"""How values are pickled that travel between a flow's process and others.

cloudpickle does it: what can be imported goes by reference, what a script or a notebook defines by value.
"""

from __future__ import annotations

import io
import os
import sys
import sysconfig
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from importlib.machinery import PathFinder
from types import ModuleType
from typing import Any, Final

import cloudpickle  # type: ignore[import-untyped]

_INIT: Final = "__init__"
_lock = threading.Lock()  # what goes by value is said to the whole process


class Pickler(cloudpickle.Pickler):  # type: ignore[misc]
    """Pickles exceptions by their parts: Python's way calls `__init__` with `args`, which many do not take."""

    def reducer_override(self, value: Any) -> Any:
        """Say how a value is pickled; cloudpickle asks of each one that is not of a plain type."""
        if isinstance(value, BaseException) and _is_misread(type(value)):
            reduced: Any = value.__reduce__()  # Python's own: an OSError's has its file's name
            return rebuild_error, (type(value), reduced[1], portable(reduced[2] if len(reduced) > 2 else {}))
        return super().reducer_override(value)


def dumps(value: Any) -> bytes:
    """Pickle a value. Raises whatever its parts raise."""
    with io.BytesIO() as file:
        Pickler(file).dump(value)
        return file.getvalue()


def rebuild_error(cls: type[BaseException], arguments: tuple[Any, ...], attributes: dict[str, Any]) -> BaseException:
    """Return an exception as it was, without calling its own `__init__`."""
    error = cls.__new__(cls, *arguments)
    initialize = next(init for base in cls.__mro__ if not _is_python(init := getattr(base, _INIT)))
    initialize(error, *arguments)  # Python's own: some keep more than `args`, such as an errno
    for name, value in attributes.items():
        setattr(error, name, value)
    return error


def _is_misread(cls: type[BaseException]) -> bool:
    """Whether a class of exceptions has an `__init__` of its own and does not say how it is pickled."""
    own = (getattr(cls, name, None) for name in ("__reduce__", "__reduce_ex__", "__getstate__"))
    return _is_python(cls.__init__) and not any(map(_is_python, own))


def _is_python(function: Any) -> bool:
    return hasattr(function, "__code__")


_PORTABLE: Final = frozenset({type(None), bool, int, float, str, bytes})


def portable(values: dict[str, Any]) -> dict[str, Any]:
    """Return what can travel of a flow run's parameters or an exception's attributes; the rest is not needed there."""
    if all(type(value) in _PORTABLE for value in values.values()):
        return values
    return {name: value for name, value in values.items() if reason_against(value) is None}


def reason_against(value: Any) -> BaseException | None:
    """Return what keeps a value from being pickled, None where nothing does."""
    try:
        dumps(value)
    except Exception as error:  # whatever a user's __reduce__ raises
        return error
    return None


# --- which modules travel along


@contextmanager
def travelling(modules: list[ModuleType]) -> Iterator[None]:
    """Have cloudpickle take what these modules define by value inside the block."""
    if not modules:
        yield
        return
    with _lock:
        taken = [module for module in modules if module.__name__ not in cloudpickle.list_registry_pickle_by_value()]
        for module in taken:
            cloudpickle.register_pickle_by_value(module)
        try:
            yield
        finally:
            for module in taken:
                cloudpickle.unregister_pickle_by_value(module)


def unknown_modules(function: Any) -> list[ModuleType]:
    """Return the function's module where another process could not import it, such as a file a worker has loaded."""
    module = _module_of(function)
    return [] if module is None or _can_be_imported(module.__name__, _file(module)) else [module]


def own_modules(function: Any) -> list[ModuleType]:
    """Return the function's module, and those loaded from below its folder, as far as they are not installed."""
    module = _module_of(function)
    if module is None or not _is_own(_file(module)):
        return []
    return _loaded_below(os.path.dirname(_file(module)) + os.sep, len(sys.modules))


@lru_cache(maxsize=16)
def _loaded_below(folder: str, count: int) -> list[ModuleType]:
    """Return the own modules in a folder; `count` of the loaded modules tells whether to look again."""
    return [
        module
        for name, module in list(sys.modules.items())
        if getattr(module, "__name__", None) == name  # Python allows anything there
        and name not in ("__main__", "__mp_main__")
        and _file(module).startswith(folder)
        and _is_own(_file(module))
    ]


def _module_of(function: Any) -> ModuleType | None:
    name = getattr(function, "__module__", None) or ""
    return None if name in ("__main__", "") else sys.modules.get(name)


def _file(module: ModuleType) -> str:
    return os.path.abspath(getattr(module, "__file__", None) or os.devnull)


@lru_cache(maxsize=1024)
def _can_be_imported(name: str, file: str) -> bool:
    """Whether `import` finds a module of this name in this file; what is in a package is taken at its word."""
    if "." in name:
        return True
    spec = PathFinder.find_spec(name)
    return spec is not None and os.path.realpath(spec.origin or "") == os.path.realpath(file)


_INSTALLED: Final = tuple(
    os.path.abspath(path) + os.sep
    for name, path in sysconfig.get_paths().items()
    if name in ("stdlib", "platstdlib", "purelib", "platlib")
)
_ITSELF: Final = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))) + os.sep


def _is_own(file: str) -> bool:
    """Whether a module's file is the user's: no standard library, no installed package, not the engine."""
    return file.endswith(".py") and not file.startswith((*_INSTALLED, _ITSELF))
