"""The texts that people write: Jinja2 templates that see plain values and nothing else.

Three fences, each enough by itself against code of a stranger: the parsed template is walked and whatever is not on a
short list is refused (calls, assignments, imports, `**` …); the environment looks names up in plain values only, never
among the attributes of an object; and what a template may cost is bounded before it runs, since loops see at most
`MAX_ITEMS` items and filters cut what they make.
"""

import re
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from functools import lru_cache
from operator import add, floordiv, mod, mul, sub, truediv
from typing import Any, Final

from django.core.exceptions import ValidationError
from jinja2 import StrictUndefined, Template, TemplateSyntaxError, nodes
from jinja2.exceptions import TemplateRuntimeError
from jinja2.runtime import LoopContext
from jinja2.sandbox import ImmutableSandboxedEnvironment

from notifications.template_filters import FILTERS, MAX_ITEMS, MAX_TEXT, TESTS, items, shown

MAX_SOURCE: Final = 10_000
MAX_OUTPUT: Final = 4_000
_UNSTORABLE: Final = re.compile("[\\0\ud800-\udfff]")  # NUL, and halves of surrogate pairs
MAX_DEPTH: Final = 40  # of the parsed template
MAX_COST: Final = 50_000  # nodes that rendering can meet …
_COST_OF_FILTER: Final = 10  # … a filter counting for so many: it may go through a long text
MAX_LOOPS: Final = 2  # inside each other

Context = Mapping[str, Any]


class Named(str):
    """A text with parts: `{{ state }}` is its text, `{{ state.type }}` a part."""

    __slots__ = ("parts",)

    def __new__(cls, text: str, **parts: Any) -> "Named":
        """Make one of a text and its parts, plain values."""
        self = super().__new__(cls, text)
        self.parts = parts
        return self


# What a template may name, and the parts of each; None: any part.
NAMES: Final[dict[str, tuple[str, ...] | None]] = {
    "flow_run": ("name", "id", "url", "attempt", "tags", "parameters", "start_time", "duration"),
    "flow": ("name",),
    "deployment": ("name",),
    "state": ("type", "name", "message"),
    "event": (),
    "reason": (),
    "time": (),
    "timezone": (),
    "url": (),
    "log_lines": (),
    "policy": ("name",),
    "team": ("name",),
}
_LOOP_PARTS: Final = ("index", "index0", "first", "last", "length")


def sample_context() -> dict[str, Any]:
    """Return what a template sees when it is checked; the values of a run that there might have been."""
    return {
        "flow_run": Named(
            "fuzzy-leopard",
            name="fuzzy-leopard",
            id="0190a7b2-6f3c-7c1e-9d52-0c7a4f2e8b11",
            url="https://orchestrator.example.com/runs/0190a7b2-6f3c-7c1e-9d52-0c7a4f2e8b11/",
            attempt=1,
            tags=["prod"],
            parameters=_Whatever(),
            start_time="2022-06-27 16:20:11 EDT",
            duration="1 m 26 s",
        ),
        "flow": Named("new-thing", name="new-thing"),
        "deployment": Named("nightly", name="nightly"),
        "state": Named("failed", type="FAILED", name="Failed", message="ValueError: no rows"),
        "event": "Failed",
        "reason": "ValueError: no rows",
        "time": "2022-06-27 16:21:37 EDT",
        "timezone": "America/New_York",
        "url": "https://orchestrator.example.com/runs/0190a7b2-6f3c-7c1e-9d52-0c7a4f2e8b11/",
        "log_lines": ["16:21:36 Loading 12 files", "16:21:37 ERROR no rows in part 7"],
        "policy": Named("Failed to #alerts", name="Failed to #alerts"),
        "team": Named("default", name="default"),
    }


def check(source: str) -> None:
    """Refuse a template that cannot be used.

    Raises:
        ValidationError: By `message`: the line and the reason, as in `line 2: unexpected '}'`.
    """
    try:
        render(source, sample_context())
    except TemplateError as error:
        raise ValidationError({"message": str(error)}) from None


def render(source: str, context: Context) -> str:
    """Return the text of a template, at most `MAX_OUTPUT` characters.

    Args:
        source: The template.
        context: Plain values (texts, numbers, lists, dicts) and `Named` ones by the names of `NAMES`.

    Raises:
        TemplateError: With the line and the reason.
    """
    template = _compiled(source)
    try:
        return _cut(template.generate(**context))
    except Exception as error:  # the code of a template is somebody else's
        raise TemplateError(_line_of(error), _reason(error)) from None


class TemplateError(ValueError):
    """A template that cannot be used; its text has the line and the reason."""

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(f"line {line}: {reason}")


class _Whatever(dict[str, Any]):
    """Parameters of no run in particular: every name has a value."""

    def __missing__(self, name: str) -> str:
        return "…"


def _cut(pieces: Iterator[str]) -> str:
    made, length = [], 0
    for piece in pieces:
        made.append(piece)
        length += len(piece)
        if length > MAX_OUTPUT:
            return "".join(made)[: MAX_OUTPUT - 1] + "…"
    return "".join(made)


_ITEMS: Final = "items of a loop"  # a filter's name that no template can write


# ── the environment ──────────────────────────────────────────────────────────────────────────────────────────────────

_OPERATORS: Final = {"+": add, "-": sub, "*": mul, "/": truediv, "//": floordiv, "%": mod}


class _Environment(ImmutableSandboxedEnvironment):
    """Looks names up in plain values; no attribute of any object is ever read, but those of the loop."""

    intercepted_binops = frozenset({*_OPERATORS, "**"})

    def getattr(self, obj: Any, attribute: str) -> Any:
        return self.getitem(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        if isinstance(obj, LoopContext):
            return getattr(obj, argument) if argument in _LOOP_PARTS else self._missing(obj, argument)
        if isinstance(obj, Named) and isinstance(argument, str):
            obj = obj.parts
        if isinstance(obj, Mapping | list | tuple | str):
            try:
                return obj[argument]
            except (TypeError, LookupError):
                pass
        return self._missing(obj, argument)

    def _missing(self, obj: Any, argument: Any) -> Any:
        return self.undefined(f"there is no “{str(argument)[:100]}” here", obj=obj, name=str(argument)[:100])

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        if operator in _OPERATORS and isinstance(left, int | float) and isinstance(right, int | float):
            if isinstance(left, int) and isinstance(right, int) and (left.bit_length() + right.bit_length()) > 256:
                raise TemplateRuntimeError("these numbers are too large")
            return _OPERATORS[operator](left, right)
        if operator == "+" and isinstance(left, str) and isinstance(right, str):
            return (str(left) + str(right))[:MAX_TEXT]
        raise TemplateRuntimeError(f"“{operator}” takes numbers; texts are put together with “~”")


def _made_environment() -> _Environment:
    # Not optimized: folding constants costs the square of a template's depth, and would run filters while it compiles.
    made = _Environment(
        undefined=StrictUndefined, finalize=shown, trim_blocks=True, lstrip_blocks=True, cache_size=0, optimized=False
    )
    made.globals.clear()
    made.filters = {**FILTERS, _ITEMS: items}
    made.tests = {name: made.tests[name] for name in TESTS}
    return made


_ENVIRONMENT: Final = _made_environment()


@lru_cache(maxsize=128)
def _compiled(source: str) -> Template:
    """Return a template that was found harmless. Raises TemplateError."""
    if len(source) > MAX_SOURCE:
        raise TemplateError(1, f"the text has {len(source):,} characters; at most {MAX_SOURCE:,} are taken")
    if found := _UNSTORABLE.search(source):
        raise TemplateError(source.count("\n", 0, found.start()) + 1, "a character in it cannot be stored")
    try:
        tree = _ENVIRONMENT.parse(source)
        _Walk().refuse_what_is_not_allowed(tree)
        return _ENVIRONMENT.from_string(tree)
    except TemplateSyntaxError as error:
        raise TemplateError(error.lineno, _plain(error.message or "")) from None
    except (RecursionError, MemoryError):
        raise TemplateError(1, "it is nested too deeply") from None
    except (ValueError, OverflowError) as error:  # a number of thousands of digits
        raise error if isinstance(error, TemplateError) else TemplateError(1, "a number in it is too large") from None


# ── the walk ─────────────────────────────────────────────────────────────────────────────────────────────────────────

_ALLOWED: Final = (
    nodes.Template, nodes.Output, nodes.TemplateData, nodes.Name, nodes.Getattr, nodes.Getitem, nodes.Slice,
    nodes.Const, nodes.List, nodes.Tuple, nodes.Filter, nodes.Test, nodes.Keyword, nodes.If, nodes.For, nodes.CondExpr,
    nodes.Compare, nodes.Operand, nodes.And, nodes.Or, nodes.Not, nodes.Add, nodes.Sub, nodes.Mul, nodes.Div,
    nodes.FloorDiv, nodes.Mod, nodes.Neg, nodes.Pos, nodes.Concat,
)  # fmt: skip
_WRITTEN: Final = {
    "Assign": "set", "AssignBlock": "set", "Macro": "macro", "Import": "import", "FromImport": "from",
    "Include": "include", "Extends": "extends", "Block": "block", "CallBlock": "call", "FilterBlock": "filter",
    "With": "with", "ScopedEvalContextModifier": "autoescape", "Pow": "**", "Dict": "{…}",
    "Call": "(…)", "NSRef": "namespace",
}  # fmt: skip


class _Walk:
    """One walk over a parsed template."""

    def refuse_what_is_not_allowed(self, tree: nodes.Template) -> None:
        """Raise TemplateError for the first node that is not allowed; bind loops to at most `MAX_ITEMS` items."""
        if self._cost(tree, frozenset(), 0, 0) > MAX_COST:
            raise TemplateError(1, "it does too much: use fewer loops, or shorter ones")

    def _cost(self, node: nodes.Node, local: frozenset[str], depth: int, loops: int) -> int:
        """How many nodes rendering this one can meet at most, filters counting for more."""
        if depth > MAX_DEPTH:
            raise TemplateError(node.lineno, "it is nested too deeply")
        self._refuse(node, local)
        if isinstance(node, nodes.For):
            return self._cost_of_loop(node, local, depth, loops)
        own = _COST_OF_FILTER if isinstance(node, nodes.Filter) else 1
        return own + sum(self._cost(child, local, depth + 1, loops) for child in node.iter_child_nodes())

    def _cost_of_loop(self, node: nodes.For, local: frozenset[str], depth: int, loops: int) -> int:
        if loops == MAX_LOOPS:
            raise TemplateError(node.lineno, f"at most {MAX_LOOPS} loops can stand inside each other")
        if node.recursive:
            raise TemplateError(node.lineno, "“recursive” cannot be used here")
        outside = self._cost(node.iter, local, depth + 1, loops)
        inside = local | {"loop"} | {name.name for name in node.find_all(nodes.Name) if name.ctx == "store"}
        rest = [*node.body, *([node.test] if node.test else [])]
        each = sum(self._cost(child, inside, depth + 1, loops + 1) for child in rest)
        otherwise = sum(self._cost(child, local, depth + 1, loops) for child in node.else_)
        node.iter = nodes.Filter(node.iter, _ITEMS, [], [], None, None, lineno=node.lineno)
        return 1 + outside + MAX_ITEMS * max(each, 1) + otherwise

    def _refuse(self, node: nodes.Node, local: frozenset[str]) -> None:
        if not isinstance(node, _ALLOWED):
            word = _WRITTEN.get(type(node).__name__, type(node).__name__)
            raise TemplateError(node.lineno, f"“{word}” cannot be used here")
        if isinstance(node, nodes.Name) and node.ctx == "load":
            _refuse_name(node, local)
        elif isinstance(node, nodes.Getattr) and isinstance(node.node, nodes.Name):
            _refuse_part(node, node.node.name, node.attr, local)
        elif isinstance(node, nodes.Getitem) and isinstance(node.node, nodes.Name):
            if isinstance(node.arg, nodes.Const) and isinstance(node.arg.value, str):
                _refuse_part(node, node.node.name, node.arg.value, local)
        elif isinstance(node, nodes.Filter):
            _refuse_unknown(node, "filter", FILTERS)
        elif isinstance(node, nodes.Test):
            _refuse_unknown(node, "test", TESTS)


def _refuse_name(node: nodes.Name, local: frozenset[str]) -> None:
    if node.name not in NAMES and node.name not in local:
        every = [*NAMES, *(f"{name}.{part}" for name, parts in NAMES.items() for part in parts or ())]
        by_part = {one.rpartition(".")[2]: one for one in reversed(every)}
        near = get_close_matches(node.name, [*NAMES, *local], n=1) or [
            by_part[part] for part in get_close_matches(node.name, by_part, n=1)
        ]
        raise TemplateError(node.lineno, _no(node.name, near))


def _refuse_part(node: nodes.Node, name: str, part: str, local: frozenset[str]) -> None:
    parts: tuple[str, ...] = _LOOP_PARTS if name == "loop" else NAMES.get(name) or ()
    if part not in parts and (name == "loop" or (name in NAMES and name not in local)):
        near = [f"{name}.{one}" for one in get_close_matches(part, parts, n=1)]
        raise TemplateError(node.lineno, _no(f"{name}.{part}", near))


def _refuse_unknown(node: Any, what: str, known: Any) -> None:
    if node.name not in known:
        near = get_close_matches(node.name, known, n=1)
        raise TemplateError(node.lineno, _no(node.name, near, f"{what} "))


def _no(name: str, near: list[str], what: str = "") -> str:
    return f"there is no {what}“{name[:100]}”" + (f"; did you mean “{near[0]}”?" if near else "")


# ── errors ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def _line_of(error: BaseException) -> int:
    """The template's line in which this was raised (Jinja2 rewrites its tracebacks to the template's lines)."""
    line, traceback = 1, error.__traceback__
    while traceback is not None:
        if traceback.tb_frame.f_code.co_filename == "<template>":
            line = traceback.tb_lineno
        traceback = traceback.tb_next
    return line


def _reason(error: Exception) -> str:
    return "a number is divided by zero" if isinstance(error, ZeroDivisionError) else _plain(str(error))


def _plain(message: str) -> str:
    message = message.replace("Jinja was looking for the following tags:", "expected").rstrip(".")[:300]
    return message[:1].lower() + message[1:]
