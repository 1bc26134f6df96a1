"""The types of blocks: every kind of infrastructure, and every kind of credentials."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import msgspec

from flows.credentials import CREDENTIALS
from orchestrator.sdk.infrastructure.base import Infrastructure
from orchestrator.sdk.infrastructure.kinds import KINDS, kind_of
from orchestrator.sdk.infrastructure.settings import Errors, Field, check, fields_of, schema_of


@dataclass(frozen=True, slots=True)
class BlockType:
    """What a block can be.

    Attributes:
        name: As it is stored and typed: `docker`.
        label, summary, icon: As people see it.
        settings: The struct of its values.
        risk: What whoever chooses it has to know.
        kind: The kind of infrastructure; None for credentials.
    """

    name: str
    label: str
    summary: str
    icon: str
    settings: type[msgspec.Struct]
    risk: str = ""
    kind: type[Infrastructure[Any]] | None = None

    @property
    def is_infrastructure(self) -> bool:
        """Whether deployments can choose blocks of it; else other blocks name them."""
        return self.kind is not None

    @property
    def fields(self) -> tuple[Field, ...]:
        """Its fields, in the order of a form."""
        return fields_of(self.settings)

    @property
    def schema(self) -> dict[str, Any]:
        """The JSON schema of its values."""
        return schema_of(self.settings)

    @property
    def secrets(self) -> frozenset[str]:
        """The names of its secret fields."""
        return frozenset(field.name for field in self.fields if field.secret)

    def check(self, values: Mapping[str, Any]) -> tuple[dict[str, Any], Errors]:
        """Return values as they are stored, and what is wrong with them, by field."""
        kept, errors = check(self.settings, values)
        if not errors and self.kind is not None:
            errors = self.kind.check(msgspec.convert(kept, self.settings))
        return kept, errors


@cache
def block_types() -> dict[str, BlockType]:
    """Return every type by name, infrastructure first."""
    kinds = [kind_of(name) for name in KINDS]
    found = [
        BlockType(kind.kind, kind.label, kind.summary, kind.icon, kind.Settings, kind.risk, kind) for kind in kinds
    ]
    found += [BlockType(name, label, summary, icon, of) for name, (of, label, summary, icon) in CREDENTIALS.items()]
    return {one.name: one for one in found}
