"""Locking and loading what batches of facts name: journals, flow runs with their attempts, and task runs.

All in one order, for one batch and for many: journals by id, then flow runs by id. A query each, however many.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from orchestrator.sdk.events import AnyFact, Ended, FlowRunCreated, Header, TaskRunCreated, TaskRunState
from orchestrator.sdk.reader import Batch
from runs import bounds, bulk
from runs.folding import Fold
from runs.models import Attempt, FlowRun, Journal
from runs.tracking import Tracked
from runs.transitions import FINAL_VALUES
from teams.models import Team


class UnusableBatch(ValueError):
    """What was sent is no batch, or belongs to somebody else; sending it again does not help."""


class Entangled(Exception):
    """Batches of several journals speak of the same run, or belong to several teams: each has to be taken by itself."""


@dataclass(frozen=True, slots=True)
class Sender:
    """What the one who brings facts may speak of; see `runs.ingest.ingest`."""

    team: Team | None = None
    within: UUID | None = None
    tell: bool = True


@dataclass(slots=True)
class Part:
    """What is to be loaded for a journal.

    Attributes:
        header: Of the journal.
        journal: Its row, locked.
        facts: What is new of it.
        all_owned: Whether to load every run that the journal has begun and not ended, named or not.
    """

    header: Header
    journal: Journal
    facts: Sequence[AnyFact]
    all_owned: bool = False
    runs: set[UUID] = field(default_factory=set)
    tasks: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        """Note what the facts name."""
        runs: set[str] = set()
        tasks: set[str] = set()
        for fact in self.facts:
            if isinstance(fact, TaskRunState | TaskRunCreated):
                runs.add(fact.run)
                tasks.add(fact.id)
            elif isinstance(fact, Ended):
                self.all_owned = True
            else:
                runs.add(fact.run)
                if isinstance(fact, FlowRunCreated) and fact.parent:
                    runs.add(fact.parent)
        self.runs = {UUID(key) for key in map(bounds.uuid_hex, runs) if key}
        ids = (text.replace("-", "").lower() for text in tasks)
        self.tasks = {key for key in ids if len(key) == 32 and bounds.uuid_hex(key)}


def lock_journals(batches: Sequence[Batch], team: Team | None) -> list[Journal]:
    """Return the rows of these batches' journals in their order, locked; what is missing is made.

    Args:
        batches: Of different journals. One that begins with the first fact is made without a look before.
        team: Whose they have to be; None: anybody's, and new ones are the default team's.

    Raises:
        UnusableBatch: A header names no journal, or another team's.
    """
    keys = [_journal_id(batch.header) for batch in batches]
    locked = Journal.objects.select_for_update()
    looked_for = [key for key, batch in zip(keys, batches, strict=True) if not (batch.facts and batch.facts[0].n == 1)]
    found = {journal.id: journal for journal in locked.filter(id__in=looked_for).order_by("id")} if looked_for else {}
    missing = {key: batch.header for key, batch in zip(keys, batches, strict=True) if key not in found}
    owner = team or (Team.default() if missing else None)
    for key, header in sorted(missing.items()):
        made = Journal(id=key, team=owner, machine=bounds.text(header.machine, 200), host=bounds.text(header.host, 200))
        found[key] = made if bulk.add(made) else locked.get(id=key)
    if team is not None and (others := [key for key in keys if found[key].team_id != team.id]):
        raise UnusableBatch(f"Journal {others[0]} belongs to another team.")
    return [found[key] for key in keys]


def load(parts: Sequence[Part], sender: Sender) -> list[Fold]:
    """Lock and load what these journals name: flow runs in the order of their ids, their attempts, their task runs.

    Raises:
        Entangled: Two of several journals name the same run, or they are of several teams.
    """
    _add_owned(parts)
    run_ids = set().union(*(part.runs for part in parts))
    team_ids = {part.journal.team_id for part in parts}
    if len(run_ids) < sum(len(part.runs) for part in parts) or len(team_ids) > 1:
        raise Entangled
    runs = _lock_runs(run_ids, next(iter(team_ids)) if sender.team is not None else None)
    if sender.within is not None:
        runs = _descendants_or_self(runs, sender.within)
    by_id = {run.id: run for run in runs}
    attempts: dict[UUID, dict[int, Attempt]] = {run.id: {} for run in runs}
    for attempt in Attempt.objects.filter(flow_run__in=list(attempts)) if attempts else ():
        attempts[attempt.flow_run_id][attempt.number] = attempt
    named = {key for part in parts if not part.runs.isdisjoint(by_id) for key in part.tasks}
    tasks = bulk.load_task_runs(named)
    return [
        Fold(
            part.header,
            part.journal.id,
            {
                run_id: Tracked(by_id[run_id], attempts[run_id], _owned(attempts[run_id], part.journal.id))
                for run_id in sorted(part.runs & by_id.keys())
            },
            {key: tasks[key] for key in part.tasks & tasks.keys()},
            part.journal.clock,
            bounded=sender.within is not None,
        )
        for part in parts
    ]


def _journal_id(header: Header) -> UUID:
    journal_id = bounds.uuid_hex(header.journal)
    if not journal_id:
        raise UnusableBatch(f"{header.journal!r} is no journal's id.")
    return UUID(journal_id)


def _add_owned(parts: Iterable[Part]) -> None:
    ending = {part.journal.id: part for part in parts if part.all_owned}
    if ending:
        owned = Attempt.objects.filter(journal__in=list(ending)).exclude(state_type__in=FINAL_VALUES)
        for journal, run_id in owned.values_list("journal", "flow_run_id"):
            ending[journal].runs.add(run_id)


def _owned(attempts: dict[int, Attempt], journal: UUID) -> set[int]:
    return {number for number, attempt in attempts.items() if attempt.journal == journal}


def _lock_runs(run_ids: set[UUID], team_id: UUID | None) -> list[FlowRun]:
    runs = FlowRun.objects.select_for_update().filter(id__in=run_ids).defer("parameters", "tags").order_by("id")
    return list(runs.filter(team_id=team_id) if team_id is not None else runs)


def _descendants_or_self(runs: list[FlowRun], ancestor: UUID) -> list[FlowRun]:
    """Keep the runs that are this one, or subflow runs below it (a query for each level of nesting)."""
    parents = {run.id: run.parent_id for run in runs}
    unknown = {parent for parent in parents.values() if parent is not None} - parents.keys()
    while unknown:
        found = dict(FlowRun.objects.filter(id__in=unknown).values_list("id", "parent_id"))
        parents.update(found)
        unknown = {parent for parent in found.values() if parent is not None} - parents.keys()
    return [run for run in runs if _is_below(run.id, ancestor, parents)]


def _is_below(run_id: UUID | None, ancestor: UUID, parents: dict[UUID, UUID | None]) -> bool:
    for _ in range(len(parents) + 1):
        if run_id is None or run_id == ancestor:
            break
        run_id = parents.get(run_id)
    return run_id == ancestor
