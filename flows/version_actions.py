"""Keeping versions of a deployment, and going back to one."""

from typing import Any, Final

from django.core.exceptions import ValidationError
from django.db import transaction

from flows.actions import SHARED, check_ready_for_schedules, check_values, locked_deployment, specs_of
from flows.models import Deployment
from flows.sources import check_is_stored
from flows.versions import DeploymentVersion
from teams.models import User

#: What a rollback brings back: the code and what belongs to it. When and where it runs stays as it is now, since that
#: is changed for other reasons, often in the browser.
RESTORED: Final = (
    "source", "entrypoint", "directory", "version", "description", "parameter_schema", "parameters",
)  # fmt: skip
KEPT: Final = 100  #: versions of a deployment; older ones go


def state_of(deployment: Deployment) -> dict[str, Any]:
    """What a person sees of a deployment, to tell what a deploy changed (reads its schedules and its queue)."""
    schedules = [spec.as_json() for spec in specs_of(deployment)]
    shared = {name: getattr(deployment, name) for name in SHARED}
    own = {name: getattr(deployment, name) for name in ("source", "parameters", "parameter_schema", "project")}
    named = {"queue": deployment.queue.name, "infrastructure": deployment.infrastructure_name}
    return {**shared, **own, **named, "schedules": schedules}


def keep_version(
    deployment: Deployment, state: dict[str, Any], user: User | None, rolled_back_to: int | None = None
) -> DeploymentVersion:
    """Make the next version of a locked deployment, and forget the oldest where there are too many.

    Its number is written to the deployment, which has to be saved.
    """
    deployment.code_version += 1
    version = DeploymentVersion.objects.create(
        deployment=deployment,
        number=deployment.code_version,
        state=state,
        rolled_back_to=rolled_back_to,
        created_by=user,
    )
    DeploymentVersion.objects.filter(deployment=deployment, number__lte=version.number - KEPT).delete()
    return version


def version_of(deployment: Deployment, number: Any) -> DeploymentVersion:
    """Return a version by its number. Raises ValidationError (`to`)."""
    found = DeploymentVersion.objects.filter(deployment=deployment, number=number).first()
    if found is None:
        first = deployment.versions.order_by("number").values_list("number", flat=True).first()
        there = f"It has {first} to {deployment.code_version}." if first else "It has none yet: deploy it."
        raise ValidationError({"to": f"There is no version {number} of {deployment.full_name}. {there}"})
    return found


def roll_back(deployment: Deployment, *, to: int, user: User | None = None) -> Deployment:
    """Bring back the code of an earlier version, with its parameters and their schema (`RESTORED`), as a new version.

    The next deploy of what was deployed last before this brings that back in turn.

    Raises:
        ValidationError: There is no such version; it is how the deployment is; its snapshot is gone; or a schedule
            would then lack a parameter.

    Locks the deployment's row.
    """
    with transaction.atomic():
        deployment = locked_deployment(deployment)
        wanted = version_of(deployment, to).state
        if all(getattr(deployment, name) == wanted.get(name, getattr(deployment, name)) for name in RESTORED):
            raise ValidationError({"to": f"The code and parameters of {deployment.full_name} are as in version {to}."})
        check_is_stored(deployment.team, wanted.get("source", {}))
        for name in RESTORED:
            if name in wanted:
                setattr(deployment, name, wanted[name])
                if name in SHARED or name == "parameters":  # with which the next declaration is compared
                    deployment.declared[name] = wanted[name]
        check_values(deployment)
        keep_version(deployment, state_of(deployment), user, rolled_back_to=to)
        deployment.save()
        check_ready_for_schedules(deployment)
        return deployment
