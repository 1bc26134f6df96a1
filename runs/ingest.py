"""Bringing recorded facts in. `ingest` is their only writer, whichever way they came: by file or by request.

One transaction takes a batch: it moves the journal's high-water mark, so that a batch that comes twice changes nothing.
Locks are taken in one order: the journal's row, then flow runs by id (on SQLite BEGIN IMMEDIATE locks the database).
A fact that cannot be stored is found by halving its batch, set aside in the home with the reason, and passed over.
"""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from uuid import UUID

import msgspec
from django.conf import settings
from django.db import DataError, IntegrityError, InterfaceError, OperationalError, transaction
from django.utils import timezone
from django.utils.module_loading import import_string

from orchestrator.sdk.causes import Cause
from orchestrator.sdk.events import (
    AnyFact,
    Ended,
    FlowRunCreated,
    Header,
    TaskRunCreated,
    TaskRunState,
    decode_line,
    encode,
)
from orchestrator.sdk.reader import Batch, decode_facts
from runs import bounds, bulk
from runs.folding import Fold
from runs.models import Attempt, FlowRun, Journal
from runs.tracking import Tracked
from runs.transitions import FINAL_VALUES, Source, crash
from runs.writing import write
from teams.models import Team

logger = logging.getLogger(__name__)

MAX_REQUEST_BYTES = 16 * 1024 * 1024
MAX_REJECTED = 20  # of one batch; more are a fault of ours, and setting a whole journal aside would hide it
_MAX_SEQUENCE = 2**53

# What a fact's values can cause; anything else is a fault of ours, and no fact is to blame.
_POISON = (DataError, IntegrityError, ValueError, OverflowError, RecursionError)


class UnusableBatch(ValueError):
    """What was sent is no batch, or belongs to somebody else; sending it again does not help."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a batch.

    Attributes:
        taken: Facts that were new.
        repeated: Facts passed over, since the journal's high-water mark was past them.
        late: Facts that changed nothing any more (a superseded attempt's, or behind an ending).
        unknown: Facts about runs that are not there.
        rejected: Facts set aside, since the database would not store them.
        sequence: The journal's high-water mark now.
        changed: Flow runs that changed.
        held: Nothing was taken: facts name runs that other journals may still bring.
    """

    taken: int = 0
    repeated: int = 0
    late: int = 0
    unknown: int = 0
    rejected: int = 0
    sequence: int = 0
    changed: frozenset[UUID] = frozenset()
    held: bool = False

    def __add__(self, later: "Outcome") -> "Outcome":
        return Outcome(
            self.taken + later.taken,
            self.repeated + later.repeated,
            self.late + later.late,
            self.unknown + later.unknown,
            self.rejected + later.rejected,
            max(self.sequence, later.sequence),
            self.changed | later.changed,
            self.held or later.held,
        )


@dataclass(frozen=True, slots=True)
class _Sender:
    """What the one who brings facts may speak of; see `ingest`."""

    team: Team | None = None
    within: UUID | None = None
    tell: bool = True


class _Held(Exception):
    """Rolls the transaction back."""


def parse_batch(data: bytes, max_bytes: int = MAX_REQUEST_BYTES) -> Batch:
    """Make a batch of the lines of a journal, as they were sent.

    Args:
        data: The header's line, then whole lines of facts.
        max_bytes: What is refused as too large.

    Raises:
        UnusableBatch: It is too large, or does not begin with a header.
    """
    if len(data) > max_bytes:
        raise UnusableBatch(f"A batch holds at most {max_bytes:,} bytes; this one has {len(data):,}. Send it in parts.")
    line, _, rest = data.partition(b"\n")
    try:
        header = decode_line(line)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise UnusableBatch(f"The first line is no header of a journal: {error}") from None
    if not isinstance(header, Header):
        raise UnusableBatch("The first line is no header of a journal.")
    facts, skipped = decode_facts(rest)
    return Batch(header, facts, skipped=skipped, ended=bool(facts) and isinstance(facts[-1], Ended))


def ingest(
    batch: Batch,
    *,
    team: Team | None = None,
    within: UUID | None = None,
    hold_unknown: bool = False,
    tell: bool = True,
) -> Outcome:
    """Write the facts of a batch to the database, once, and announce what changed after the commit.

    Args:
        batch: Facts of one journal with its header. Facts at or below the journal's high-water mark are passed over.
        team: Whose facts they are; the default team's without it. Runs of other teams are as if they were not there.
        within: The flow run that the sender may speak of, with its subflow runs, old and new; None: every run of the
            team.
        hold_unknown: Take nothing where facts name runs that are not there, since another journal may bring them.
        tell: Whether to announce: without a server there is nobody to tell.

    Raises:
        UnusableBatch: The header names no journal, or another team's.
        OperationalError, InterfaceError: The database cannot be used now; what was not taken can be sent again.
        Exception: More than `MAX_REJECTED` facts cannot be stored; those and what was before them were taken.
    """
    sender = _Sender(team, within, tell)
    try:
        return _ingest_whole(batch, sender, hold_unknown)
    except _Held:
        return Outcome(held=True)
    except (OperationalError, InterfaceError, UnusableBatch):
        raise
    except _POISON:
        # Two ingests may have made the same flow or run at the same time: the second try sees it.
        logger.debug("A batch of journal %s failed; trying once more", batch.header.journal, exc_info=True)
    return _ingest_or_halve(replace(batch, facts=sorted(batch.facts, key=_number)), sender, 0)


def abandon(header: Header, *, at: int | None = None, cause: str = "", tell: bool = True) -> Outcome:
    """Crash what a dead process left without an ending, and mark its journal as over. Idempotent.

    Args:
        header: Of the process's journal, which was read to its end.
        at: When it died, in microseconds since the Unix epoch; the time of its last fact when nobody saw it.
        cause: In words; a general one without it.
        tell: As in `ingest`.
    """
    with transaction.atomic():
        journal = _lock_journal(header, None)
        if journal.ended:
            return Outcome(sequence=journal.sequence)
        fold = _load(header, journal, [], _Sender(), all_owned=True)
        time = at if at is not None else journal.clock or header.t
        supervised = bool(header.run)  # its supervisor would have had a word on it
        gone = "its run host is gone too" if supervised else "it was killed, or its machine stopped"
        message = cause or f"the process is gone ({gone})"
        fold.end_all(crash(time, message, Source.EXIT, Cause.LOST if supervised else Cause.EXIT))
        changed = write(fold, journal.team_id, tell=tell)
        journal.ended = True
        journal.save(update_fields=["ended", "updated_at"])
        if tell:
            _announce_after_commit(changed)
    return Outcome(sequence=journal.sequence, changed=frozenset(changed))


def high_water_mark(journal: UUID) -> int:
    """Return the number of a journal's last fact that was taken; 0 for an unknown journal."""
    return Journal.objects.filter(id=journal).values_list("sequence", flat=True).first() or 0


def announce(changed: Iterable[UUID]) -> None:
    """Call `settings.AFTER_INGEST`. An error there is logged and goes no further: the facts are in."""
    try:
        import_string(settings.AFTER_INGEST)(changed)
    except Exception:
        logger.exception("%s failed; pages catch up when they next ask", settings.AFTER_INGEST)


def _ingest_whole(batch: Batch, sender: _Sender, hold_unknown: bool) -> Outcome:
    with transaction.atomic():
        journal = _lock_journal(batch.header, sender.team, is_new=bool(batch.facts) and batch.facts[0].n == 1)
        facts, repeated = _new_facts(batch.facts, journal.sequence)
        if not facts:
            return Outcome(repeated=repeated, sequence=journal.sequence)
        fold = _load(batch.header, journal, facts, sender)
        fold.take(facts)
        if hold_unknown and fold.unknown:
            raise _Held
        changed = write(fold, journal.team_id, tell=sender.tell)
        journal.sequence, journal.clock = facts[-1].n, fold.clock
        journal.ended, journal.updated_at = journal.ended or fold.ended, timezone.now()
        bulk.save([journal], ("sequence", "clock", "ended", "updated_at"))
        if sender.tell:
            _announce_after_commit(changed)
    return Outcome(len(facts), repeated, fold.late, fold.unknown, 0, journal.sequence, frozenset(changed))


def _ingest_or_halve(batch: Batch, sender: _Sender, rejected: int) -> Outcome:
    """Take a batch, halving it around the facts that cannot be stored; `rejected` were set aside before."""
    try:
        return _ingest_whole(batch, sender, False)
    except (OperationalError, InterfaceError, UnusableBatch):
        raise
    except _POISON as error:
        if len(batch.facts) <= 1:
            if rejected >= MAX_REJECTED or not batch.facts:
                raise
            return _reject(batch, sender.team, error)
    middle = len(batch.facts) // 2
    first = _ingest_or_halve(replace(batch, facts=batch.facts[:middle]), sender, rejected)
    rest = replace(batch, facts=batch.facts[middle:])
    return first + _ingest_or_halve(rest, sender, rejected + first.rejected)


def _reject(batch: Batch, team: Team | None, error: Exception) -> Outcome:
    """Set a fact aside that cannot be stored, and move the high-water mark past it."""
    fact = batch.facts[0]
    path = settings.HOME.journals / f"rejected-{bounds.uuid_hex(batch.header.journal)}.txt"
    logger.error("Fact %d of journal %s cannot be stored and is set aside in %s: %s: %s",
                 fact.n, batch.header.journal, path, type(error).__name__, error)  # fmt: skip
    line = {"reason": f"{type(error).__name__}: {error}"[:10_000], "header": batch.header, "fact": fact}
    try:
        with path.open("ab") as file:
            file.write(encode(line) + b"\n")
    except OSError as failure:
        logger.error("%s cannot be written: %s", path, failure)
    with transaction.atomic():
        journal = _lock_journal(batch.header, team)
        if fact.n > journal.sequence:
            journal.sequence = fact.n
            journal.save(update_fields=["sequence", "updated_at"])
    return Outcome(rejected=1, sequence=journal.sequence)


def _number(fact: AnyFact) -> int:
    return fact.n


def _new_facts(facts: Iterable[AnyFact], sequence: int) -> tuple[list[AnyFact], int]:
    """Return the facts above the high-water mark in their order, each number once, and how many were passed over."""
    new: list[AnyFact] = []
    passed = 0
    for fact in sorted(facts, key=_number):  # sorted already, as a rule, and then sorting costs next to nothing
        if sequence < fact.n <= _MAX_SEQUENCE:
            new.append(fact)
            sequence = fact.n
        else:
            passed += 1
    return new, passed


def _lock_journal(header: Header, team: Team | None, *, is_new: bool = False) -> Journal:
    """Return the journal's row, locked, made when it is missing; where that is likely, without a look before."""
    journal_id = bounds.uuid_hex(header.journal)
    if not journal_id:
        raise UnusableBatch(f"{header.journal!r} is no journal's id.")
    key = UUID(journal_id)
    locked = Journal.objects.select_for_update().filter(id=key)
    journal = None if is_new else locked.first()
    if journal is None:
        made = Journal(
            id=key,
            team=team or Team.default(),
            machine=bounds.text(header.machine, 200),
            host=bounds.text(header.host, 200),
        )
        journal = made if bulk.add(made) else locked.get()
    if team is not None and journal.team_id != team.id:
        raise UnusableBatch(f"Journal {key} belongs to another team.")
    return journal


def _load(
    header: Header,
    journal: Journal,
    facts: Sequence[AnyFact],
    sender: _Sender,
    *,
    all_owned: bool = False,
) -> Fold:
    """Lock and load what the facts name: flow runs in the order of their ids, their attempts, their task runs."""
    run_texts: set[str] = set()
    task_texts: set[str] = set()
    for fact in facts:
        if isinstance(fact, TaskRunState | TaskRunCreated):
            run_texts.add(fact.run)
            task_texts.add(fact.id)
        elif isinstance(fact, Ended):
            all_owned = True
        else:
            run_texts.add(fact.run)
            if isinstance(fact, FlowRunCreated) and fact.parent:
                run_texts.add(fact.parent)
    run_ids = {UUID(key) for key in map(bounds.uuid_hex, run_texts) if key}
    if all_owned:
        owned = Attempt.objects.filter(journal=journal.id).exclude(state_type__in=FINAL_VALUES)
        run_ids.update(owned.values_list("flow_run_id", flat=True))
    runs = _lock_runs(run_ids, journal.team_id if sender.team is not None else None)
    if sender.within is not None:
        runs = _descendants_or_self(runs, sender.within)
    attempts: dict[UUID, dict[int, Attempt]] = {run.id: {} for run in runs}
    for attempt in Attempt.objects.filter(flow_run__in=list(attempts)):
        attempts[attempt.flow_run_id][attempt.number] = attempt
    tracked = {
        run.id: Tracked(run, own, {number for number, attempt in own.items() if attempt.journal == journal.id})
        for run in runs
        for own in (attempts[run.id],)
    }
    ids = {text.replace("-", "").lower() for text in task_texts}
    tasks = bulk.load_task_runs(key for key in ids if len(key) == 32 and bounds.uuid_hex(key)) if tracked else {}
    return Fold(header, journal.id, tracked, tasks, journal.clock, bounded=sender.within is not None)


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


def _announce_after_commit(changed: set[UUID]) -> None:
    if changed:
        transaction.on_commit(lambda: announce(changed))
