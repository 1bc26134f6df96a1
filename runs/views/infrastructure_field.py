"""Where a deployment's runs execute, in its form: a block, and values instead of those that the block opens."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from django.core.exceptions import ValidationError

from flows.block_types import block_types
from flows.models import IN_WORKER, PROCESS, Block, Deployment
from orchestrator.sdk.infrastructure.settings import Field, Shape
from teams.rights import Level

OVERRIDE: Final = "override."


@dataclass(frozen=True, slots=True)
class Override:
    """A field that the block opens."""

    field: Field
    text: str
    placeholder: str
    errors: list[str]

    @property
    def name(self) -> str:
        """Of the input."""
        return f"{OVERRIDE}{self.field.name}"

    @property
    def is_long(self) -> bool:
        """Whether it takes several lines."""
        return self.field.is_many or self.field.shape in (Shape.LINES, Shape.JSON)


def infrastructure_choices(deployment: Deployment) -> list[tuple[str, str]]:
    """Return what can be chosen: names and labels (one query)."""
    types = block_types()
    blocks = Block.objects.filter(team=deployment.team_id).exclude(type=IN_WORKER).order_by("name")
    named = [
        (block.name, f"{block.name} ({types[block.type].label})")
        for block in blocks
        if block.type in types and types[block.type].is_infrastructure
    ]
    return [
        (PROCESS, "Process: each in one of its own"),
        *named,
        (IN_WORKER, "In the worker: in processes that it keeps for them"),
    ]


def override_fields(
    deployment: Deployment,
    typed: Mapping[str, str] | None = None,
    errors: Mapping[str, list[str]] | None = None,
    of_run: Mapping[str, Any] | None = None,
    user: Any = None,
) -> list[Override]:
    """Return the fields that the deployment's block opens, filled from the deployment, or from what was sent.

    With `of_run` they are a run's, filled from that; what the deployment says stands in them while they are empty.
    With `user` those alone that this user may override for a run.
    """
    block = deployment.infrastructure
    if block is None or block.type not in block_types():
        return []
    behind = block.values if of_run is None else {**block.values, **deployment.infrastructure_overrides}
    filled = deployment.infrastructure_overrides if of_run is None else of_run
    edits = user is None or user.level_on(deployment) >= Level.EDIT
    return [
        Override(
            field,
            _shown(field, filled) if typed is None else typed.get(f"{OVERRIDE}{field.name}", ""),
            field.write(behind.get(field.name, field.default)),
            list((errors or {}).get(f"infrastructure_overrides.{field.name}", [])),
        )
        for field in block_types()[block.type].fields
        if field.name in block.opened and (edits or field.opened)
    ]


def read_infrastructure(deployment: Deployment, typed: Mapping[str, str]) -> dict[str, Any]:
    """Return what was chosen, as changes; nothing where the form has no such field.

    What was typed for the fields of another block than the one that is chosen now is left out.

    Raises:
        ValidationError: By `infrastructure_overrides.<field>`.
    """
    chosen = typed.get("infrastructure")
    if chosen is None:
        return {}
    if chosen != deployment.infrastructure_name:
        return {"infrastructure": chosen}
    return {"infrastructure": chosen, "infrastructure_overrides": read_overrides(deployment, typed)}


def read_overrides(deployment: Deployment, typed: Mapping[str, str], user: Any = None) -> dict[str, Any]:
    """Return what was typed instead of the block's values. Raises ValidationError by field."""
    values, errors = {}, {}
    for one in override_fields(deployment, typed, user=user):
        if one.name not in typed or not one.text.strip():
            continue
        try:
            values[one.field.name] = one.field.read(one.text.splitlines() if one.is_long else [one.text])
        except ValueError as error:
            errors[f"infrastructure_overrides.{one.field.name}"] = str(error)
    if errors:
        raise ValidationError(errors)
    return values


def _shown(field: Field, values: Mapping[str, Any]) -> str:
    return field.write(values[field.name]) if field.name in values else ""
