"""Applying a file of declarations: all deployments of a project at once, or none."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db import transaction

from flows.declarations import Changes, Declaration, set_elsewhere
from flows.models import Deployment, slug_of
from runs import actions
from teams.models import Team, User


@dataclass(frozen=True, slots=True)
class Applied:
    """What became of a deployment.

    Attributes:
        id: None for one that is not there.
        action: `create`, `update`, `keep`, `delete`; or `abandon`: the file names it no more, and it stays.
        changes: By field, before and now.
        kept: Fields that were set elsewhere and stay so.
    """

    id: UUID | None
    name: str
    action: str
    changes: Changes = field(default_factory=dict)
    kept: list[str] = field(default_factory=list)


def apply(
    team: Team,
    declarations: Sequence[Declaration],
    paused: Sequence[bool],
    *,
    project: str,
    prune: bool,
    dry_run: bool,
    user: User | None,
) -> list[Applied]:
    """Declare all deployments of a project in one transaction.

    Args:
        team: Whose new ones will be.
        declarations: All that the file says.
        paused: Of each, whether a new one starts paused.
        project: The name by which the file's deployments are known in the team.
        prune: Delete those of the project that are not declared.
        dry_run: Undo it all, and only say what would change; snapshots need not be stored for it.

    Returns:
        What became of each, in their order; then of those that are named no more.

    Raises:
        ValidationError: By `deployments.<index>.<field>`, for all that cannot be. Nothing is changed then.
    """
    _check_once(declarations)
    with transaction.atomic():
        applied, there, errors = [], [], {}
        for index, (declaration, starts_paused) in enumerate(zip(declarations, paused, strict=True)):
            try:
                with transaction.atomic():
                    deployment, done = _declare(
                        team, replace(declaration, project=project), starts_paused, dry_run, user
                    )
            except ValidationError as error:
                errors |= {f"deployments.{index}.{name}": said for name, said in _by_field(error)}
            else:
                applied.append(done)
                there.append(deployment.pk)
        if errors:
            raise ValidationError(errors)
        applied += list(_left(team, project, there, prune, user))
        if dry_run:
            transaction.set_rollback(True)
    return applied


def _declare(
    team: Team, declaration: Declaration, paused: bool, is_trial: bool, user: User | None
) -> tuple[Deployment, Applied]:
    deployment, changes = actions.deploy(team=team, user=user, declaration=declaration, is_trial=is_trial)
    is_new = "name" in changes
    if is_new and paused:
        actions.pause_deployment(deployment, user=user)
    action = "create" if is_new else "update" if changes else "keep"
    id = None if is_new and is_trial else deployment.pk
    return deployment, Applied(id, deployment.full_name, action, changes, set_elsewhere(deployment))


def _left(team: Team, project: str, there: Sequence[UUID], prune: bool, user: User | None) -> Iterator[Applied]:
    """Yield those of the project that are not declared, deleted where that is wanted."""
    left = Deployment.objects.filter(team=team, project=project).exclude(pk__in=there)
    for deployment in left.select_related("flow", "team", "queue").order_by("flow__slug", "slug"):
        id, name = deployment.pk, deployment.full_name
        if prune:
            actions.delete_deployment(deployment, user=user)
        yield Applied(id, name, "delete" if prune else "abandon")


def _check_once(declarations: Sequence[Declaration]) -> None:
    """Raise ValidationError where a deployment is declared twice."""
    seen: dict[tuple[str, str], int] = {}
    for index, declaration in enumerate(declarations):
        key = slug_of(declaration.flow_name), slug_of(declaration.name)
        if (first := seen.setdefault(key, index)) != index:
            name = f"{declaration.flow_name}/{declaration.name}"
            raise ValidationError(
                {f"deployments.{index}.name": f"{name} is declared twice, also as number {first + 1}."}
            )


def _by_field(error: ValidationError) -> list[tuple[str, list[str]]]:
    if hasattr(error, "error_dict"):
        return list(error.message_dict.items())
    return [("declaration", error.messages)]
