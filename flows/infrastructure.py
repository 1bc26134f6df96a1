"""Where a deployment's runs execute: its block, what is overridden of it, and what a worker is told in the end."""

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, Final

import msgspec
from django.core.exceptions import ValidationError

from flows.block_types import block_types
from flows.models import IN_WORKER, PROCESS, Block, Deployment, slug_of
from orchestrator.encryption import Unreadable
from orchestrator.sdk.infrastructure.base import Placement
from teams import audit
from teams.models import Team, User

#: Names of which the meaning is fixed: each is that of a type.
RESERVED: Final = frozenset({PROCESS, IN_WORKER})


def infrastructure_named(team: Team, name: Any, user: User | None = None) -> Block | None:
    """Return the team's block of this name; None for `process` or nothing, which is a process with nothing set.

    The block of `in-worker`, which has nothing to set, is made when it is missing.

    Raises:
        ValidationError: There is none, or it is no infrastructure (`infrastructure`).
    """
    if isinstance(name, Block):
        if name.team_id != team.pk:
            raise ValidationError({"infrastructure": f"The block “{name}” is of another team than {team}."})
        return _place(name)
    slug = slug_of(str(name or "").strip())
    if slug in ("", PROCESS):
        return None
    found = Block.objects.filter(team=team, slug=slug).first()
    if found is None and slug == IN_WORKER:
        found = _in_worker(team, user)
    if found is None:
        usable = [name for name, one in block_types().items() if one.is_infrastructure]
        names = list(Block.objects.filter(team=team, type__in=usable).values_list("name", flat=True)[:1000])
        near = get_close_matches(str(name), [*names, *RESERVED], n=1)
        hint = f"Did you mean “{near[0]}”?" if near else "Make it first: orchestrator block create TYPE NAME."
        raise ValidationError({"infrastructure": f"The team has no block “{name}”. {hint}"})
    return _place(found)


def _place(block: Block) -> Block:
    if not _is_place(block):
        raise ValidationError({"infrastructure": f"The block “{block}” is {block.type}: nothing executes there."})
    return block


def _is_place(block: Block) -> bool:
    return block.type in block_types() and block_types()[block.type].is_infrastructure


def _in_worker(team: Team, user: User | None) -> Block:
    block, is_new = Block.objects.get_or_create(
        team=team, slug=IN_WORKER, defaults={"name": IN_WORKER, "type": IN_WORKER, "created_by": user}
    )
    if is_new and user is not None:
        audit.record(user, "block.create", block)
    return block


def checked_overrides(block: Block | None, overrides: Any) -> dict[str, Any]:
    """Return values that may stand instead of a block's.

    Raises:
        ValidationError: By `infrastructure_overrides.<field>`: the block does not open it, or it cannot be that.
    """
    if overrides is None:
        return {}
    if not isinstance(overrides, Mapping):
        raise ValidationError({"infrastructure_overrides": "Write an object of values by field."})
    wanted = {name: value for name, value in overrides.items() if value is not None}
    if not wanted:
        return {}
    opened = set(block.opened) if block else set()
    called = f"The block “{block}”" if block else "A process without a block"
    offered = f"It opens {', '.join(sorted(opened))}." if opened else "It opens none."
    errors = {
        name: f"{called} does not open “{name}” to be overridden. {offered}" for name in wanted if name not in opened
    }
    if not errors and block is not None:
        kept, errors = block_types()[block.type].check({**block.values, **wanted})
        wanted = {name: kept.get(name, value) for name, value in wanted.items()}
    if errors:
        raise ValidationError({f"infrastructure_overrides.{name}": message for name, message in errors.items()})
    return wanted


def editors_alone(block: Block | None, overrides: Mapping[str, Any]) -> list[str]:
    """Return the names of those overrides that say which code executes, or with what power: they take an editor.

    What a type opens by itself (memory, processors, times) says only how much; all else is an editor's to say.
    """
    fields = block_types()[block.type].fields if block is not None and block.type in block_types() else ()
    harmless = {field.name for field in fields if field.opened}
    return sorted(name for name, value in overrides.items() if value is not None and name not in harmless)


def left_open(block: Block | None, overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of the overrides that a block opens, now."""
    return {name: value for name, value in overrides.items() if block is not None and name in block.opened}


def values_used(deployment: Deployment, of_run: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the values by which a run executes, without secrets: the block's, the deployment's, the run's own.

    What the block does not open any more does not count. Reads the deployment's block.
    """
    block = deployment.infrastructure
    if block is None:
        return {}
    return {**block.values, **left_open(block, {**deployment.infrastructure_overrides, **(of_run or {})})}


def record_of(deployment: Deployment | None, of_run: Mapping[str, Any] | None = None) -> dict[str, Any] | None:
    """Return what an attempt remembers of where it executes; None without a block. Reads the deployment's block."""
    if deployment is None or (block := deployment.infrastructure) is None:
        return None
    return {
        "block": block.name, "type": block.type, "version": block.version, "values": values_used(deployment, of_run),
    }  # fmt: skip


def preview_of(block: Block, deployment: Deployment | None, run: str, api_url: str) -> dict[str, Any] | None:
    """Return what a worker would ask an engine for, without secrets; None where a block's kind asks none.

    Args:
        block: Of infrastructure.
        deployment: One that executes there, whose overrides count; None: the block alone.
        run: The id of a run.
        api_url: The server's address.

    Raises:
        ValidationError: The block is no infrastructure, the deployment executes elsewhere, or nothing comes of it.
    """
    kind = block_types()[block.type].kind if block.type in block_types() else None
    if kind is None:
        raise ValidationError(f"The block “{block}” is {block.type}: nothing executes there.")
    if deployment is not None and deployment.infrastructure_id != block.pk:
        raise ValidationError({"deployment": f"{deployment} does not execute in the block “{block}”."})
    values = values_used(deployment) if deployment is not None else dict(block.values)
    try:
        return kind(msgspec.convert(values, kind.Settings), block.name).preview(run, api_url)
    except ValueError as error:
        raise ValidationError(f"The block “{block}”: {error}") from None


def outlives_worker(deployment: Deployment | None) -> str | None:
    """Return who may take over a run that goes on where its worker is gone; None: it ends with it. Reads the block."""
    if deployment is None or (block := deployment.infrastructure) is None:
        return None
    kind = block_types()[block.type].kind if block.type in block_types() else None
    return (kind.outlives_worker or None) if kind else None


def placement_of(deployment: Deployment | None, of_run: Mapping[str, Any] | None = None) -> Placement | None:
    """Return what a worker is told of where a run executes, secrets too; None without a block.

    Reads the deployment's block; a query for each block of credentials that this one names.
    """
    if deployment is None or (block := deployment.infrastructure) is None:
        return None
    return _placement(block, block.name, values_used(deployment, of_run))


def placement_again(team_id: Any, record: Mapping[str, Any], block: Block | None = None) -> Placement:
    """Return what a worker is told of an attempt: where it was claimed for, whatever the block says by now.

    Args:
        team_id: Of the run.
        record: What `record_of` returned when it was claimed.
        block: The one that the deployment has now, which may be another.

    Queries: that of the block, for its secrets, where it is another one now, and one for each block of credentials.
    """
    if block is None or (block.name, block.type) != (record["block"], record["type"]):
        block = Block.objects.filter(team=team_id, slug=slug_of(str(record["block"])), type=record["type"]).first()
    block = block or Block(team_id=team_id, type=str(record["type"]), name=str(record["block"]))
    return _placement(block, str(record["block"]), dict(record["values"]))


def _placement(block: Block, name: str, values: dict[str, Any]) -> Placement:
    if not _is_place(block):  # its secrets are for those who set runs up, and go nowhere from here
        problem = f"Block {name!r} is {block.type}: nothing executes there. Choose another for the deployment."
        return Placement(kind=block.type, block=name, problem=problem)
    fields = block_types()[block.type].fields
    named = {
        field.name: (field.block, values[field.name]) for field in fields if field.block and values.get(field.name)
    }
    credentials: dict[str, dict[str, Any]] = {}
    problem = ""
    try:
        values = {**values, **secrets_of(block)}
        for field, (type_, wanted) in named.items():
            found = Block.objects.filter(team=block.team_id, type=type_, slug=slug_of(str(wanted))).first()
            if found is None:
                problem = f"Block {name!r} names block {wanted!r} ({type_}), which is not there."
            else:
                credentials[field] = {**found.values, **secrets_of(found)}
    except Unreadable as error:
        problem = f"Block {name!r}: {error}"
    return Placement(kind=block.type, block=name, settings=values, credentials=credentials, problem=problem)


def secrets_of(block: Block) -> dict[str, Any]:
    """Return a block's secrets, for a worker alone. Raises Unreadable."""
    return dict(block.secrets.reveal()) if block.secrets else {}
