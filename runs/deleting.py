"""Deletes runs that have ended, with all that belongs to them."""

from typing import Final

from django.core.exceptions import ValidationError
from django.db import transaction

from runs.models import FINAL_TYPES, FlowRun, Log, ResourceSample, Slot, TaskRun, TaskRunAttempt
from teams.models import User
from teams.rights import Level
from teams.verbs import verb

CONFLICT: Final = "conflict"  # as `actions.CONFLICT`
MAX_SUBFLOWS: Final = 10_000  # of one run, deleted with it


@verb("flow_run.delete", Level.EDIT, always=True)
def delete_flow_run(run: FlowRun, *, user: User | None = None) -> int:
    """Delete a run that has ended: its task runs, logs, attempts, samples, deliveries, slots, and its subflows' runs.

    What a person keeps elsewhere stays: the files of results, and journals that were not brought in; later facts about
    a deleted run are counted as unknown and change nothing.

    Returns:
        How many runs were deleted, this one among them.

    Raises:
        ValidationError: It, or a subflow of it, has not ended, or it is part of another run (code `conflict`).
        FlowRun.DoesNotExist: Somebody else deleted it.

    Locks the runs' rows in the order of their ids; one transaction.
    """
    with transaction.atomic():
        found = FlowRun.objects.select_for_update(of=("self",)).only("id", "parent", "state_type").get(pk=run.pk)
        if found.parent_id is not None:
            raise ValidationError("This run was called by another run, and goes with it. Delete that one.", CONFLICT)
        ids = [found.pk, *_below(found)]
        going_on = FlowRun.objects.filter(pk__in=ids).exclude(state_type__in=FINAL_TYPES)
        locked = going_on.select_for_update(of=("self",)).only("id", "name", "state_name").order_by("pk").first()
        if locked is not None:
            which = "This run is" if locked.pk == found.pk else f"Its subflow run {locked.name} is"
            raise ValidationError(f"{which} {locked.state_name}; only runs that have ended are deleted.", CONFLICT)
        # The most first, each in one statement: the collector of `delete()` would read the rows.
        Log.objects.filter(flow_run__in=ids).delete()
        ResourceSample.objects.filter(flow_run__in=ids).delete()
        Slot.objects.filter(flow_run__in=ids).delete()
        TaskRunAttempt.objects.filter(task_run__flow_run__in=ids).delete()
        TaskRun.objects.filter(flow_run__in=ids).delete()
        FlowRun.objects.filter(pk__in=ids).delete()
    return len(ids)


def _below(run: FlowRun) -> list[object]:
    """The ids of the runs that it called, and that those called (one query a level)."""
    found: list[object] = []
    level: list[object] = [run.pk]
    while level:
        level = list(FlowRun.objects.filter(parent__in=level).values_list("pk", flat=True)[:MAX_SUBFLOWS])
        found += level
    return found
