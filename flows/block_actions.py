"""Verbs on blocks. They take the role admin: a block says as whom, and with what of a machine, code executes."""

from collections.abc import Mapping
from typing import Any, Final

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction

from flows.block_types import BlockType, block_types
from flows.infrastructure import RESERVED, secrets_of
from flows.models import Block, Deployment, slug_of
from orchestrator.encryption import Secret, Unreadable
from teams.models import Team, User
from teams.rights import Level
from teams.verbs import verb

CONFLICT: Final = "conflict"
MAX_NAME: Final = 100
MAX_DESCRIPTION: Final = 10_000
_NAMED: Final = 3


@verb("block.create", Level.ADMIN)
def create_block(
    team: Team,
    *,
    type: str,
    name: str,
    values: Mapping[str, Any] | None = None,
    description: str = "",
    opened: list[str] | None = None,
    user: User | None = None,
) -> Block:
    """Make a block.

    Args:
        type: One of `block_types()`.
        name: 1 to 100 characters; `_` and `-` are alike.
        values: By field, secrets too.
        opened: Fields that deployments and runs may override; by default those that the type says.

    Raises:
        ValidationError: By field, those of the values as `values.<field>`; for a name that is taken, code `conflict`.
    """
    kind = type_named(type)
    block = Block(team=team, type=kind.name, name=_checked_name(name, kind), created_by=user)
    block.description = _checked_description(description)
    _take_values(block, kind, values or {}, {})
    block.opened = _checked_opened(
        kind, [field.name for field in kind.fields if field.opened] if opened is None else opened
    )
    return _saved(block)


@verb("block.change", Level.ADMIN)
def update_block(block: Block, *, user: User | None = None, **changes: Any) -> Block:
    """Change a block: `name`, `description`, `values`, `opened`. What runs goes on; the next claims find it changed.

    `values` has the fields that change; null takes one back to its default. A secret that is not among them stays.

    Raises:
        ValidationError: As `create_block`; for fields that a deployment overrides, where they would no longer fit.

    Locks the block's row.
    """
    if unknown := sorted(changes.keys() - {"name", "description", "values", "opened"}):
        raise ValidationError({unknown[0]: "A block has name, description, values and opened to change."})
    with transaction.atomic():
        block = _lock(block)
        kind = type_named(block.type)
        if "name" in changes:
            block.name = _checked_name(changes["name"], kind)
        if "description" in changes:
            block.description = _checked_description(changes["description"])
        if "values" in changes:
            _take_values(block, kind, {**block.values, **_checked_mapping(changes["values"])}, _kept_secrets(block))
        if "opened" in changes:
            block.opened = _checked_opened(kind, changes["opened"])
        block.version += 1
        return _saved(block)


@verb("block.delete", Level.ADMIN)
def delete_block(block: Block, *, user: User | None = None) -> None:
    """Delete a block that nothing uses.

    Raises:
        ValidationError: Deployments execute there, or other blocks name it (code `conflict`); the message names them.
    """
    with transaction.atomic():
        block = _lock(block)
        users = [one.full_name for one in Deployment.objects.filter(infrastructure=block).select_related("flow")[:100]]
        users += [f"block {other.name}" for other in blocks_naming(block)]
        if users:
            more = f" and {len(users) - _NAMED} more" if len(users) > _NAMED else ""
            raise ValidationError(
                f"The block “{block}” is used by {', '.join(users[:_NAMED])}{more}. Set another one there first.",
                CONFLICT,
            )
        block.delete()


def blocks_naming(block: Block) -> list[Block]:
    """Return the blocks of its team that name this one as their credentials (one query)."""
    types = block_types()
    fields = {name: [field.name for field in one.fields if field.block == block.type] for name, one in types.items()}
    found = Block.objects.filter(team=block.team_id, type__in=[name for name, those in fields.items() if those])
    return [
        other
        for other in found
        if any(slug_of(str(other.values.get(name, ""))) == block.slug for name in fields[other.type])
    ]


def type_named(name: Any) -> BlockType:
    """Return a type. Raises ValidationError (`type`), which lists them."""
    found = block_types().get(str(name))
    if found is None:
        raise ValidationError({"type": f"There is no block type “{name}”. There are {', '.join(block_types())}."})
    return found


def _take_values(block: Block, kind: BlockType, wanted: Mapping[str, Any], secrets: Mapping[str, Any]) -> None:
    """Set a block's values and secrets; `secrets` are those that stay unless others are wanted."""
    given = {name: value for name, value in _checked_mapping(wanted).items() if value is not None}
    cleared = {name for name, value in wanted.items() if value is None}
    merged = {**{name: value for name, value in secrets.items() if name not in cleared}, **given}
    kept, errors = kind.check(merged)
    errors = {**errors, **_unknown_blocks(block, kind, kept)}
    if errors:
        raise ValidationError({f"values.{name}": message for name, message in errors.items()})
    block.values = {name: value for name, value in kept.items() if name not in kind.secrets}
    hidden = {name: value for name, value in kept.items() if name in kind.secrets}
    if hidden != dict(secrets) or (hidden and block.secrets is None):
        block.secrets = Secret.of(hidden) if hidden else None


def _kept_secrets(block: Block) -> dict[str, Any]:
    try:
        return secrets_of(block)
    except Unreadable:  # they have to be written again, and the check says which
        return {}


def _unknown_blocks(block: Block, kind: BlockType, values: Mapping[str, Any]) -> dict[str, str]:
    """Return what is wrong with the names of other blocks among values."""
    wrong = {}
    for field in kind.fields:
        name = values.get(field.name)
        if not field.block or not name:
            continue
        if not Block.objects.filter(team=block.team_id, type=field.block, slug=slug_of(str(name))).exists():
            wrong[field.name] = f"The team has no block “{name}” of {field.block}."
    return wrong


def _checked_mapping(values: Any) -> Mapping[str, Any]:
    if not isinstance(values, Mapping):
        raise ValidationError({"values": "Write an object of values by field."})
    return values


def _checked_name(name: Any, kind: BlockType) -> str:
    if not isinstance(name, str) or not name.strip() or len(name.strip()) > MAX_NAME:
        raise ValidationError({"name": f"Write a name of 1 to {MAX_NAME} characters."})
    name = name.strip()
    if "/" in name or not name.isprintable() or name.startswith("-"):
        raise ValidationError({"name": f"“{name}” cannot be a name: no / and control characters, and no - in front."})
    if slug_of(name) in RESERVED and slug_of(name) != kind.name:
        raise ValidationError({"name": f"“{name}” is the name of a type. Choose another one."})
    return name


def _checked_description(text: Any) -> str:
    if not isinstance(text, str) or "\0" in text or len(text) > MAX_DESCRIPTION:
        raise ValidationError({"description": f"Write a text of at most {MAX_DESCRIPTION:,} characters."})
    return text


def _checked_opened(kind: BlockType, opened: Any) -> list[str]:
    if isinstance(opened, str) or not isinstance(opened, list | tuple):
        raise ValidationError({"opened": "Write a list of fields."})
    allowed = [field.name for field in kind.fields if not field.secret and not field.block and kind.is_infrastructure]
    for name in opened:
        if name not in allowed:
            offered = f"It has {', '.join(allowed)}." if allowed else "It has none."
            raise ValidationError({"opened": f"{kind.label} has no field “{name}” to open. {offered}"})
    return [name for name in allowed if name in opened]


def _lock(block: Block) -> Block:
    locked = Block.objects.select_for_update(of=("self",)).select_related("team").filter(pk=block.pk).first()
    if locked is None:
        raise ValidationError(f"The block “{block}” was deleted a moment ago.", CONFLICT)
    return locked


def _saved(block: Block) -> Block:
    try:
        with transaction.atomic():
            block.save()
    except IntegrityError:
        message = f"The team has a block called “{block.name}” already. Choose another name."
        raise ValidationError({"name": ValidationError(message, CONFLICT)}) from None
    return block
