"""Verbs on snapshots of code: take them in piece by piece, hand them out, and forget what nothing needs."""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Final
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils import timezone

from flows.models import Deployment
from flows.snapshots import Snapshot, SnapshotPiece
from flows.versions import DeploymentVersion
from orchestrator.sdk.snapshots.manifest import MAX_MANIFEST_BYTES, BadSnapshot, Manifest
from orchestrator.sdk.snapshots.pack import deflated, inflated
from teams.models import Team, User
from teams.rights import Level, require
from teams.verbs import verb

_TOGETHER: Final = 200  #: digests in one query
_SENT_TOGETHER: Final = 16  #: pieces read at once: at most 16 MiB
KEPT_UNUSED: Final = timedelta(days=30)  #: a snapshot that no deployment names, after its last use
KEPT_LOOSE: Final = timedelta(days=1)  #: a piece of a snapshot that never became whole


@dataclass(frozen=True, slots=True)
class TakenIn:
    """What became of a part of a snapshot: the snapshot when it is whole, else what it lacks still."""

    snapshot: Snapshot | None
    missing: list[str]
    is_new: bool = False


def take_in(
    team: Team, manifest: Manifest, pieces: Iterable[tuple[str, bytes, bytes]], *, most_bytes: int, user: User | None
) -> TakenIn:
    """Keep the pieces of a snapshot that came, and the snapshot itself once there are all of them.

    Args:
        team: Whose it is.
        manifest: Its files; checked.
        pieces: The digest of each, the piece, and its deflated form; whatever is not of this snapshot is refused.
        most_bytes: How large the files may be together.

    Raises:
        ValidationError: It is too large, or a piece is none of its own.
        Refused: The user may not deploy for this team.
    """
    require(user, Level.EDIT, team)
    if manifest.size > most_bytes:
        raise ValidationError(
            {"size": f"The files are {manifest.size:,} bytes; a snapshot has at most {most_bytes:,}."}, "too_large"
        )
    sizes = manifest.piece_sizes()
    _keep(team, sizes, pieces)
    with transaction.atomic():
        Team.objects.select_for_update(no_key=True).get(pk=team.pk)  # nothing is forgotten meanwhile
        there = _there(team.pk, sizes)
        missing = [digest for digest in sizes if digest not in there]
        if missing:
            return TakenIn(None, missing)
        known = Snapshot.objects.filter(team=team, hash=manifest.hash).first()
        if known is not None:
            note_use(known)
            return TakenIn(known, [])
        return TakenIn(_create(team, manifest=manifest, user=user), [], is_new=True)


def _keep(team: Team, sizes: dict[str, int], pieces: Iterable[tuple[str, bytes, bytes]]) -> None:
    """Insert the pieces that are not there. Raises ValidationError for one that is of no file of the snapshot."""
    rows: list[SnapshotPiece] = []
    for digest, piece, data in pieces:
        if sizes.get(digest) != len(piece):
            raise ValidationError({"pieces": f"The piece {digest[:12]} is none of this snapshot."})
        rows.append(SnapshotPiece(team=team, digest=digest, data=data))
    SnapshotPiece.objects.bulk_create(rows, batch_size=_TOGETHER, ignore_conflicts=True)


@verb("snapshot.create", Level.EDIT)
def _create(team: Team, *, manifest: Manifest, user: User | None = None) -> Snapshot:
    return Snapshot.objects.create(
        team=team,
        hash=manifest.hash,
        manifest=deflated(manifest.data),
        files=len(manifest.entries),
        size=manifest.size,
        created_by=user,
    )


def _there(team: UUID, digests: Iterable[str]) -> set[str]:
    wanted, found = list(digests), set()
    for start in range(0, len(wanted), _TOGETHER):
        some = SnapshotPiece.objects.filter(team=team, digest__in=wanted[start : start + _TOGETHER])
        found.update(some.values_list("digest", flat=True))
    return found


def manifest_of(snapshot: Snapshot) -> Manifest:
    """Return a snapshot's list of files."""
    return Manifest.read(inflated(bytes(snapshot.manifest), MAX_MANIFEST_BYTES), snapshot.hash)


def pieces_of(snapshot: Snapshot, digests: Iterable[str]) -> Iterator[bytes]:
    """Yield the deflated pieces of these digests, in their order, some at a time (a query for each 16).

    Raises:
        BadSnapshot: One is not there.
    """
    wanted = list(digests)
    for start in range(0, len(wanted), _SENT_TOGETHER):
        some = wanted[start : start + _SENT_TOGETHER]
        rows = SnapshotPiece.objects.filter(team=snapshot.team_id, digest__in=some)
        found = dict(rows.values_list("digest", "data"))
        for digest in some:
            if digest not in found:
                raise BadSnapshot(f"The server has lost the piece {digest[:12]} of the snapshot {snapshot}.")
            yield bytes(found[digest])


def note_use(snapshot: Snapshot) -> None:
    """Note that a snapshot was used, at most once an hour."""
    now = timezone.now()
    if now - snapshot.used_at > timedelta(hours=1):
        Snapshot.objects.filter(pk=snapshot.pk).update(used_at=now)


def forget_unused() -> int:
    """Delete the snapshots that no deployment has named and no worker fetched for 30 days, and pieces that none has.

    Returns:
        How many snapshots went. Locks each team's row while its pieces are looked through.
    """
    before = timezone.now() - KEPT_UNUSED
    gone = 0
    for team in Team.objects.filter(snapshots__isnull=False).distinct():
        with transaction.atomic():
            Team.objects.select_for_update(no_key=True).get(pk=team.pk)
            old = Snapshot.objects.filter(team=team, used_at__lt=before).exclude(hash__in=_named(team))
            gone += old.delete()[1].get("flows.Snapshot", 0)
            _forget_pieces(team)
    return gone


def _named(team: Team) -> Collection[str]:
    """The hashes of the snapshots that a team's deployments run, or could go back to (two queries)."""
    sources = Deployment.objects.filter(team=team, source__kind="snapshot").values_list("source__hash", flat=True)
    versions = DeploymentVersion.objects.filter(deployment__team=team, state__source__kind="snapshot")
    return {*sources, *versions.values_list("state__source__hash", flat=True)}


def _forget_pieces(team: Team) -> None:
    """Delete pieces that no snapshot of a team is made of (reads the lists of all of them)."""
    loose = SnapshotPiece.objects.filter(team=team, created_at__lt=timezone.now() - KEPT_LOOSE)
    digests = set(loose.values_list("digest", flat=True))
    for snapshot in Snapshot.objects.filter(team=team).iterator(chunk_size=10):
        if not digests:
            return
        digests.difference_update(manifest_of(snapshot).piece_sizes())
    unneeded = sorted(digests)
    for start in range(0, len(unneeded), _TOGETHER):
        SnapshotPiece.objects.filter(team=team, digest__in=unneeded[start : start + _TOGETHER]).delete()
