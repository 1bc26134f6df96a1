"""Futures and states among the arguments of a call: found, waited for, and replaced by their values."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from orchestrator.sdk.annotations import Annotation, allow_failure, quote
from orchestrator.sdk.exceptions import UpstreamError
from orchestrator.sdk.futures import Future
from orchestrator.sdk.runs import Run
from orchestrator.sdk.states import State

# Types that cannot hold a future: most arguments are told by one look-up, whole lists of them in C.
PLAIN = frozenset({type(None), bool, int, float, complex, str, bytes, bytearray, range, type})
_LINEAR = (list, tuple, set, frozenset)


class Upstream:
    """A future or state that a run's arguments need.

    Attributes:
        source: The future or state.
        lenient: Whether `allow_failure` stands around it.
    """

    __slots__ = ("lenient", "source")

    def __init__(self, source: Future | State, lenient: bool) -> None:
        self.source = source
        self.lenient = lenient

    @property
    def run_id(self) -> str:
        """The id of the run it comes from, empty for a state that user code made."""
        return self.source.run_id


def find_upstreams(run: Run) -> list[Upstream] | None:
    """Search a run's arguments and its `wait_for`, and note the task run's inputs.

    Returns:
        What must be waited for and put in; empty where only marks such as `quote` must be taken off, None where the
        arguments are ready as they are.
    """
    if not run.wait_for:
        for value in run.arguments:
            if type(value) not in PLAIN and search(value):
                break
        else:
            for value in run.keywords.values():
                if type(value) not in PLAIN and search(value):
                    break
            else:
                return None
    found: list[Upstream] = []
    for name, value in _named(run):
        before = len(found)
        search(value, found)
        if len(found) > before:
            run.inputs[name] = [upstream.run_id for upstream in found[before:] if upstream.run_id]
    return found


def _named(run: Run) -> Iterable[tuple[str, Any]]:
    yield from run.parameters.items()
    if run.wait_for:
        yield "wait_for", run.wait_for


def search(value: Any, found: list[Upstream] | None = None, lenient: bool = False, depth: int = 0) -> bool:
    """Look for futures, states and marks anywhere in a value.

    Args:
        value: Lists, tuples, sets, dicts and dataclasses are searched, other objects are not.
        found: Gets every future and state that is in there; without it the search ends at the first.
        lenient: Whether `allow_failure` stands around the value.
        depth: How deep the search is; it gives up at 50, where only a cycle gets to.

    Returns:
        Whether the value must be rebuilt.
    """
    kind = type(value)
    if kind in PLAIN or depth > 50:
        return False
    if issubclass(kind, Future | State):
        if found is not None:
            found.append(Upstream(value, lenient))
        return True
    if issubclass(kind, Annotation):
        if found is not None and not issubclass(kind, quote):
            search(value.value, found, lenient or issubclass(kind, allow_failure), depth + 1)
        return True
    hit = False
    for item in _items(value, kind):
        if type(item) not in PLAIN and search(item, found, lenient, depth + 1):
            if found is None:
                return True
            hit = True
    return hit


def _items(value: Any, kind: type) -> Iterable[Any]:
    if issubclass(kind, _LINEAR):
        return () if PLAIN.issuperset(map(type, value)) else value
    if issubclass(kind, dict):
        return () if PLAIN.issuperset(map(type, value.values())) else value.values()
    if hasattr(kind, "__dataclass_fields__"):
        return (getattr(value, name, None) for name in kind.__dataclass_fields__)
    return ()


def rebuild(value: Any, replace: Callable[[Future | State, bool], Any], lenient: bool = False) -> Any:
    """Return a value with its futures and states replaced and its marks taken off; what has none stays the same object.

    Args:
        value: As `search` understands it.
        replace: Gives the value for a future or state; its second argument tells whether `allow_failure` is around it.
        lenient: Whether `allow_failure` stands around the value.
    """
    kind = type(value)
    if kind in PLAIN or not search(value):
        return value
    if issubclass(kind, Future | State):
        return replace(value, lenient)
    if issubclass(kind, quote):
        return value.value
    if issubclass(kind, Annotation):
        return rebuild(value.value, replace, lenient or issubclass(kind, allow_failure))
    if issubclass(kind, dict):
        changed = {key: rebuild(item, replace, lenient) for key, item in value.items()}
        return changed if kind is dict else _like(value, changed)
    if issubclass(kind, _LINEAR):
        items = (rebuild(item, replace, lenient) for item in value)
        return kind(*items) if hasattr(kind, "_fields") else kind(items)
    from dataclasses import replace as replace_fields  # 10 ms at import, only for arguments that are dataclasses

    fields = {
        name: rebuild(getattr(value, name), replace, lenient)
        for name, field in kind.__dataclass_fields__.items()
        if field.init
    }
    return replace_fields(value, **fields)


def _like(value: Any, changed: dict[Any, Any]) -> Any:
    """Return a copy of a dict of another class (an OrderedDict, a defaultdict) with these values."""
    copy = value.copy()
    copy.update(changed)
    return copy


def put_in(run: Run) -> str:
    """Replace the run's upstreams, all of which have ended, by their values.

    Returns:
        Why the run cannot start, empty when it can.
    """
    for upstream in run.upstreams or ():
        state = _state(upstream)
        if not (state.is_completed() or (upstream.lenient and (state.is_final() or state.name == "NotReady"))):
            return f"{_describe(upstream.source)} did not complete: {state!r}"
    run.arguments = tuple(rebuild(value, _value) for value in run.arguments)
    run.keywords = {name: rebuild(value, _value) for name, value in run.keywords.items()}
    run.call_parameters = None
    run.upstreams = run.wait_for = None
    return ""


def upstream_error(run: Run, reason: str) -> UpstreamError:
    """Return the error of a run that cannot start, with what its upstream raised as the cause."""
    error = UpstreamError(reason)
    for upstream in run.upstreams or ():
        state = upstream.source if isinstance(upstream.source, State) else upstream.source.peek()
        cause = None if state.is_completed() or upstream.lenient else state.result(raise_on_failure=False)
        if isinstance(cause, Exception):
            error.__cause__ = cause
            break
    return error


def _state(upstream: Upstream) -> State:
    source = upstream.source
    if isinstance(source, State):
        return source
    # An upstream whose failure is let through counts as looked at; one that keeps this run from starting does not.
    return source.state if upstream.lenient else source.peek()


def _value(source: Future | State, lenient: bool) -> Any:
    state = source if isinstance(source, State) else source.state
    return state.result(raise_on_failure=not lenient)


def _describe(source: Future | State) -> str:
    return f"Upstream run '{source.name}'" if isinstance(source, Future) else "An upstream state"
