"""Getting a flow out of a user's file or module, without starting anything."""

import hashlib
import importlib
import importlib.util
import os
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from orchestrator.sdk.exceptions import FlowLoadError
from orchestrator.sdk.flows import Flow
from orchestrator.sdk.load_guard import loading
from orchestrator.sdk.tracebacks import summary


@dataclass(frozen=True, slots=True)
class Entrypoint:
    """Where a flow is: `path.py:function` or `package.module:function`."""

    target: str  #: the path or the module's dotted name
    function: str = ""  #: empty: the only flow that is there

    @classmethod
    def parse(cls, text: str) -> "Entrypoint":
        """Read an entrypoint as people type it. Raises FlowLoadError when there is nothing before the colon."""
        target, colon, function = text.strip().rpartition(":")
        if not colon or not _is_dotted_name(function):  # no colon, or the one of C:\flows.py
            target, function = text.strip(), ""
        if not target:
            raise FlowLoadError(f"{text!r} names no file. Write path.py:function or package.module:function.")
        return cls(target, function)

    @property
    def is_file(self) -> bool:
        """Whether the target is a path."""
        return self.target.endswith(".py") or os.sep in self.target or os.path.isfile(self.target)

    @property
    def path(self) -> Path:
        """The target as an absolute path."""
        return Path(self.target).expanduser().absolute()

    def __str__(self) -> str:
        target = str(self.path) if self.is_file else self.target
        return f"{target}:{self.function}" if self.function else target


def load_flow(entrypoint: str) -> Flow[..., Any]:
    """Load a file or module and return the flow in it.

    Flows called at its top level are left out, with a line on standard error each (`load_guard`). A file becomes a
    module of its own, with its folder first on `sys.path` as when Python runs it, and is not called `__main__`.

    Args:
        entrypoint: `path.py:function` or `package.module:function`; the function may be left out if there is one flow.

    Raises:
        FlowLoadError: Nothing is there, it cannot be loaded, or what is there is no flow. The message says which, and
            what flows there are.
    """
    return find_flow(entrypoint)[1]


def find_flow(entrypoint: str) -> tuple[Entrypoint, Flow[..., Any]]:
    """Do as `load_flow`, and return the entrypoint with its function named too."""
    wanted = Entrypoint.parse(entrypoint)
    module = _load_file(wanted) if wanted.is_file else _load_module(wanted)
    function = wanted.function or _only_flow(wanted, module)
    return Entrypoint(wanted.target, function), _pick(Entrypoint(wanted.target, function), module)


def _load_file(wanted: Entrypoint) -> ModuleType:
    path = wanted.path
    try:
        source = path.read_bytes()
    except FileNotFoundError:
        raise FlowLoadError(f"There is no file {path}.") from None
    except OSError as error:
        raise FlowLoadError(f"{path} cannot be read: {error.strerror}.") from None
    folder = os.path.dirname(os.path.realpath(path))
    if folder not in sys.path[:1]:
        sys.path.insert(0, folder)
    code = _compile(source, path)
    name = _module_name(path)
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    _run(wanted, module, code, path)
    return module


def _compile(source: bytes, path: Path) -> CodeType:
    # Compiled here and not by the importer: its cached bytecode is taken for current when a file was edited within the
    # same second to the same size.
    try:
        return compile(source, str(path), "exec", dont_inherit=True)
    except SyntaxError as error:
        raise _syntax_error(error, path) from error
    except ValueError as error:  # null bytes
        raise FlowLoadError(f"{path} is no Python file: {error}.") from None


def _run(wanted: Entrypoint, module: ModuleType, code: CodeType, path: Path) -> None:
    """Execute a file's top level; what it raises after the flow was defined is only warned of."""
    try:
        with loading(path.name):
            exec(code, module.__dict__)
    except (Exception, SystemExit) as error:
        found = _lookup(module, wanted.function) if wanted.function else None
        if not isinstance(found, Flow):
            del sys.modules[module.__name__]
            raise _load_error(error, wanted) from error
        print(
            f"Going on without the rest of {path.name}: {summary(error)} at line {_line_in(error, path)}, "
            f"while loading, after {wanted.function} was defined. Code for running the file directly belongs below "
            'if __name__ == "__main__":',
            file=sys.stderr,
            flush=True,
        )


def _load_module(wanted: Entrypoint) -> ModuleType:
    if not _is_dotted_name(wanted.target):
        raise FlowLoadError(f"There is no file {wanted.path}, and {wanted.target!r} is no module's name.")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        with loading(wanted.target):
            return importlib.import_module(wanted.target)
    except ModuleNotFoundError as error:
        if error.name and (wanted.target == error.name or wanted.target.startswith(error.name + ".")):
            raise FlowLoadError(f"There is no module {error.name!r} (looked in {os.getcwd()} and sys.path).") from None
        raise _load_error(error, wanted) from error
    except (Exception, SystemExit) as error:
        raise _load_error(error, wanted) from error


def _pick(wanted: Entrypoint, module: ModuleType) -> Flow[..., Any]:
    found = _lookup(module, wanted.function)
    if isinstance(found, Flow):
        return found
    if found is None:
        raise FlowLoadError(f"{wanted.target} has no {wanted.function}. {_what_there_is(wanted, module)}")
    kind = "function without @flow above it" if callable(found) and hasattr(found, "__code__") else type(found).__name__
    raise FlowLoadError(
        f"{wanted.function} in {wanted.target} is no flow but a {kind}. {_what_there_is(wanted, module)}"
    )


def _only_flow(wanted: Entrypoint, module: ModuleType) -> str:
    names = _flow_names(module)
    if len(names) == 1:
        return names[0]
    raise FlowLoadError(_what_there_is(wanted, module))


def _what_there_is(wanted: Entrypoint, module: ModuleType) -> str:
    names = _flow_names(module)
    if not names:
        return f"{wanted.target} has no flow: put @flow above a function."
    listed = ", ".join(f"{wanted.target}:{name}" for name in names)
    return f"Its flows: {listed}." if wanted.function else f"{wanted.target} has several flows; name one: {listed}."


def _flow_names(module: ModuleType) -> list[str]:
    """Return the names of the flows a module defines; those it imports only where it defines none."""
    flows = {name: value for name, value in vars(module).items() if isinstance(value, Flow)}
    own = [name for name, value in flows.items() if getattr(value.fn, "__module__", "") == module.__name__]
    return own or list(flows)


def _lookup(module: ModuleType, dotted: str) -> object:
    value: object = module
    for part in dotted.split("."):
        value = getattr(value, part, None)
    return value


def _module_name(path: Path) -> str:
    """Return the name a file is loaded by: its own where `import` would find just this file, else a unique one.

    With its own name what it defines can be pickled by reference for other processes, and a second file that imports
    it gets this same module.
    """
    name = path.stem
    if name.isidentifier() and name not in sys.modules:
        try:
            spec = importlib.util.find_spec(name)
        except (ImportError, ValueError):
            spec = None
        if spec is not None and spec.origin and os.path.realpath(spec.origin) == os.path.realpath(path):
            return name
    readable = "".join(letter if letter.isalnum() else "_" for letter in name)
    return f"_{readable}_{hashlib.sha256(os.fsencode(path)).hexdigest()[:8]}"


def _load_error(error: BaseException, wanted: Entrypoint) -> FlowLoadError:
    if isinstance(error, SyntaxError):
        return _syntax_error(error, wanted.path)
    if isinstance(error, ModuleNotFoundError):
        text = f"{wanted} needs the module {error.name!r}, which this Python ({sys.executable}) does not have"
    else:
        text = f"{wanted} cannot be loaded: {summary(error)}"
    line = _line_in(error, wanted.path)
    where = f" ({wanted.path.name}, line {line})" if wanted.is_file and line else ""
    return FlowLoadError(f"{text}{where}.")


def _syntax_error(error: SyntaxError, path: Path) -> FlowLoadError:
    text = (error.text or "").strip()
    return FlowLoadError(
        f"{error.filename or path}:{error.lineno or 1}: {type(error).__name__}: {error.msg}"
        + (f": {text}" if text else "")
    )


def _line_in(error: BaseException, path: Path) -> int:
    """Return the line of a file that an exception last passed through; 0 when it did not."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    return lines[-1] or 0 if lines else 0


def _is_dotted_name(text: str) -> bool:
    return bool(text) and all(part.isidentifier() for part in text.split("."))
