"""Bringing recorded facts in. `ingest` is their only writer, whichever way they came: by file or by request.

One transaction takes a batch: it moves the journal's high-water mark, so that a batch that comes twice changes nothing.
It may take batches of several journals, whose queries they share: most of what a small batch costs is asking. Where one
of them cannot be taken like this, each is taken by itself. Locks are taken in one order: journals by id, then flow runs
by id (on SQLite BEGIN IMMEDIATE locks the database). A fact that cannot be stored is found by halving its batch, set
aside in the home with the reason, and passed over.
"""

import logging
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from uuid import UUID

import msgspec
from django.conf import settings
from django.db import DataError, IntegrityError, InterfaceError, OperationalError, transaction
from django.utils import timezone
from django.utils.module_loading import import_string

from orchestrator.sdk.causes import Cause
from orchestrator.sdk.events import AnyFact, Ended, Header, decode_line, encode
from orchestrator.sdk.reader import Batch, decode_facts
from runs import bounds, bulk
from runs.folding import Fold
from runs.loading import Entangled, Part, Sender, UnusableBatch, load, lock_journals
from runs.models import Journal
from runs.transitions import Source, crash
from runs.writing import write
from teams.models import Team

logger = logging.getLogger(__name__)

MAX_REQUEST_BYTES = 16 * 1024 * 1024
MAX_REJECTED = 20  # of one batch; more are a fault of ours, and setting a whole journal aside would hide it
_MAX_SEQUENCE = 2**53

# What a fact's values can cause; anything else is a fault of ours, and no fact is to blame.
_POISON = (DataError, IntegrityError, ValueError, OverflowError, RecursionError)


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
        changed: Flow runs that changed in its transaction.
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
    sender = Sender(team, within, tell)
    try:
        return _take([batch], sender, hold_unknown)[0]
    except _Held:
        return Outcome(held=True)
    except (OperationalError, InterfaceError, UnusableBatch):
        raise
    except _POISON:
        # Two ingests may have made the same flow or run at the same time: the second try sees it.
        logger.debug("A batch of journal %s failed; trying once more", batch.header.journal, exc_info=True)
    return _ingest_or_halve(replace(batch, facts=sorted(batch.facts, key=_number)), sender, 0)


def ingest_together(batches: Sequence[Batch], *, hold_unknown: bool = False, tell: bool = True) -> list[Outcome] | None:
    """Take batches of different journals in one transaction, as `ingest` takes one.

    Args:
        batches: Oldest first.
        hold_unknown: As in `ingest`, of any of them.
        tell: As in `ingest`.

    Returns:
        What became of each, in their order. None when they cannot be taken together, and nothing was taken: they speak
        of the same run, name runs that are not there, or something of one cannot be stored.

    Raises:
        OperationalError, InterfaceError: As `ingest`.
    """
    try:
        return _take(batches, Sender(tell=tell), hold_unknown)
    except (_Held, Entangled):
        return None
    except (OperationalError, InterfaceError):
        raise
    except Exception:  # that of one of them, which says so when it is taken by itself
        logger.debug("%d batches could not be taken together", len(batches), exc_info=True)
        return None


def abandon(header: Header, *, at: int | None = None, cause: str = "", tell: bool = True) -> Outcome:
    """Crash what a dead process left without an ending, and mark its journal as over. Idempotent.

    Args:
        header: Of the process's journal, which was read to its end.
        at: When it died, in microseconds since the Unix epoch; the time of its last fact when nobody saw it.
        cause: In words; a general one without it.
        tell: As in `ingest`.
    """
    with transaction.atomic():
        (journal,) = lock_journals([Batch(header, [])], None)
        if journal.ended:
            return Outcome(sequence=journal.sequence)
        (fold,) = load([Part(header, journal, [], all_owned=True)], Sender())
        time = at if at is not None else journal.clock or header.t
        supervised = bool(header.run)  # its supervisor would have had a word on it
        gone = "its run host is gone too" if supervised else "it was killed, or its machine stopped"
        message = cause or f"the process is gone ({gone})"
        fold.end_all(crash(time, message, Source.EXIT, Cause.LOST if supervised else Cause.EXIT))
        changed = write([fold], journal.team_id, tell=tell)
        journal.ended = True
        journal.save(update_fields=["ended", "updated_at"])
        if tell:
            _announce_after_commit(changed)
    return Outcome(sequence=journal.sequence, changed=frozenset(changed))


def high_water_marks(journals: Iterable[UUID]) -> dict[UUID, int]:
    """Return the number of the last fact that was taken of each of these journals that is known (one query)."""
    return dict(Journal.objects.filter(id__in=list(journals)).values_list("id", "sequence"))


def announce(changed: Iterable[UUID]) -> None:
    """Call `settings.AFTER_INGEST`. An error there is logged and goes no further: the facts are in."""
    try:
        import_string(settings.AFTER_INGEST)(changed)
    except Exception:
        logger.exception("%s failed; pages catch up when they next ask", settings.AFTER_INGEST)


def _take(batches: Sequence[Batch], sender: Sender, hold_unknown: bool) -> list[Outcome]:
    """Take batches of different journals in one transaction; return what became of each, in their order.

    Raises:
        _Held: Facts name runs that are not there, and that is not to be.
        Entangled: As `load`.
    """
    with transaction.atomic():
        journals = lock_journals(batches, sender.team)
        outcomes: list[Outcome] = []
        parts: list[Part] = []
        for batch, journal in zip(batches, journals, strict=True):
            facts, repeated = _new_facts(batch.facts, journal.sequence)
            outcomes.append(Outcome(len(facts), repeated, sequence=facts[-1].n if facts else journal.sequence))
            parts.append(Part(batch.header, journal, facts))
        if not any(part.facts for part in parts):
            return outcomes
        folds = load(parts, sender)
        for fold, part in zip(folds, parts, strict=True):
            fold.take(part.facts)
            if hold_unknown and fold.unknown:
                raise _Held
        changed = frozenset(write(folds, journals[0].team_id, tell=sender.tell))
        _advance(parts, folds)
        if sender.tell:
            _announce_after_commit(changed)
    return [
        replace(outcome, late=fold.late, unknown=fold.unknown, changed=changed) if outcome.taken else outcome
        for outcome, fold in zip(outcomes, folds, strict=True)
    ]


def _advance(parts: Iterable[Part], folds: Iterable[Fold]) -> None:
    """Move the high-water marks of journals behind the facts that were taken."""
    moved = []
    for part, fold in zip(parts, folds, strict=True):
        if part.facts:
            journal = part.journal
            journal.sequence, journal.clock = part.facts[-1].n, fold.clock
            journal.ended, journal.updated_at = journal.ended or fold.ended, timezone.now()
            moved.append(journal)
    bulk.save(moved, ("sequence", "clock", "ended", "updated_at"))


def _ingest_or_halve(batch: Batch, sender: Sender, rejected: int) -> Outcome:
    """Take a batch, halving it around the facts that cannot be stored; `rejected` were set aside before."""
    try:
        return _take([batch], sender, False)[0]
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
        (journal,) = lock_journals([Batch(batch.header, [])], team)
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


def _announce_after_commit(changed: Collection[UUID]) -> None:
    if changed:
        transaction.on_commit(lambda: announce(changed))
