"""What a block has a worker ask of an engine, as people look at it."""

from dataclasses import dataclass
from typing import Any, Final

import yaml
from django.conf import settings

from flows.infrastructure import preview_of
from flows.models import Block, Deployment

RUN: Final = "00000000-0000-7000-8000-000000000000"  #: stands for a run's id
API_URL: Final = "http://server:4200"  #: where this server does not know by which address workers reach it


@dataclass(frozen=True, slots=True)
class Preview:
    """A preview: JSON, or None where the kind asks no engine; and the same as YAML, empty for None."""

    value: dict[str, Any] | None
    yaml: str


def block_preview(block: Block, deployment: Deployment | None = None) -> Preview:
    """Return what a worker would ask for, of a run that is not there. Raises ValidationError as `preview_of`."""
    value = preview_of(block, deployment, RUN, settings.API_URL or API_URL)
    return Preview(value, "" if value is None else yaml.safe_dump(value, sort_keys=False, allow_unicode=True))
