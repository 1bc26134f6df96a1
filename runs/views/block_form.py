"""The form of a block, made from the typed settings of its type. What was typed is never lost, but for secrets."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from django.core.exceptions import ValidationError
from django.http import QueryDict

from flows.block_types import BlockType
from flows.models import Block
from orchestrator.sdk.infrastructure.settings import Field, Shape

VALUE: Final = "values."
OPEN: Final = "open"
MASKED: Final = ""


@dataclass(frozen=True, slots=True)
class FormField:
    """A field as the form shows it."""

    field: Field
    text: str = ""
    is_open: bool = False
    can_open: bool = False
    is_set: bool = False  #: a secret that is stored
    choices: tuple[tuple[str, str], ...] = ()
    errors: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        """Of the input."""
        return f"{VALUE}{self.field.name}"

    @property
    def is_long(self) -> bool:
        """Whether it takes several lines."""
        return self.field.is_many or self.field.shape in (Shape.LINES, Shape.JSON)

    @property
    def is_number(self) -> bool:
        """Whether it is a number."""
        return self.field.shape in (Shape.INTEGER, Shape.NUMBER)

    @property
    def placeholder(self) -> str:
        """What stands in an empty input."""
        if self.field.secret and self.is_set:
            return "set; leave empty to keep it"
        return self.field.write(self.field.default) or (f"e.g. {self.field.example}" if self.field.example else "")


def form_fields(
    kind: BlockType,
    team_id: Any,
    block: Block | None = None,
    typed: QueryDict | None = None,
    errors: Mapping[str, list[str]] | None = None,
) -> list[FormField]:
    """Return a type's fields, filled from a block, or from what was sent (a query for each that names other blocks)."""
    opened = block.opened if block else [one.name for one in kind.fields if one.opened]
    if typed is not None:
        opened = typed.getlist(OPEN)
    values = block.values if block else {}
    return [
        FormField(
            field=one,
            text=_text(one, values, typed),
            is_open=one.name in opened,
            can_open=kind.is_infrastructure and not one.secret and not one.block,
            is_set=bool(one.secret and block and block.secrets),
            choices=_choices(one, team_id),
            errors=list((errors or {}).get(f"{VALUE}{one.name}", [])),
        )
        for one in kind.fields
    ]


def read_block(kind: BlockType, typed: QueryDict) -> dict[str, Any]:
    """Return what was typed as `values` and `opened`. A secret that was left empty is not among them.

    Raises:
        ValidationError: By `values.<field>`.
    """
    values: dict[str, Any] = {}
    errors = {}
    for one in kind.fields:
        text = typed.get(f"{VALUE}{one.name}", "").replace("\r\n", "\n")
        if one.secret and not text.strip():
            continue
        is_long = one.is_many or one.shape in (Shape.LINES, Shape.JSON)
        try:
            read = one.read(text.split("\n") if one.is_many else [text]) if text.strip() or not is_long else None
        except ValueError as error:
            errors[f"{VALUE}{one.name}"] = str(error)
            continue
        values[one.name] = None if read in ("", [], {}) else read
    if errors:
        raise ValidationError(errors)
    return {"values": values, "opened": typed.getlist(OPEN)}


def _text(one: Field, values: Mapping[str, Any], typed: QueryDict | None) -> str:
    if one.secret:
        return MASKED
    if typed is not None:
        return typed.get(f"{VALUE}{one.name}", "")
    return one.write(values[one.name]) if one.name in values else ""


def _choices(one: Field, team_id: Any) -> tuple[tuple[str, str], ...]:
    if one.block:
        names = Block.objects.filter(team=team_id, type=one.block).order_by("name").values_list("name", flat=True)
        return (("", "none"), *((name, name) for name in names))
    if one.shape is Shape.BOOLEAN:
        default = "yes" if one.default else "no"
        return (("", f"{default}, as by default"), ("true", "yes"), ("false", "no"))
    return (("", f"{one.default}, as by default"), *((name, name) for name in one.choices)) if one.choices else ()
