"""Snapshots of code as the server keeps them: lists of files, and the pieces that these are made of.

In the database, and not in a folder: every web process of every machine reads them from the one place that they share
already, they are in its backups, and a deployment and its code change in one transaction.
"""

from typing import ClassVar

from django.conf import settings
from django.db import models
from django.utils.timezone import now

from orchestrator.sdk.ids import uuid7
from teams.models import Team


class Snapshot(models.Model):
    """A project's folder as somebody deployed it. Known by (team, hash): no team reads what another one stored."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    team = models.ForeignKey(Team, on_delete=models.CASCADE, related_name="snapshots")
    hash = models.CharField(max_length=64)
    manifest = models.BinaryField(help_text="Its list of files (`sdk.snapshots.manifest`), deflated.")
    files = models.PositiveIntegerField()
    size = models.PositiveBigIntegerField(help_text="Bytes of all files.")
    created_at = models.DateTimeField(auto_now_add=True)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True)
    used_at = models.DateTimeField(default=now, help_text="When it was last deployed, or fetched by a worker.")

    unversioned: ClassVar = frozenset({"manifest", "created_by"})

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["team", "hash"], name="snapshot_team_hash")]

    def __str__(self) -> str:
        return self.hash[:12]


class SnapshotPiece(models.Model):
    """A piece of files' contents, at most 1 MiB; kept once for all snapshots of a team."""

    team = models.ForeignKey(Team, on_delete=models.CASCADE, related_name="+", db_index=False)
    digest = models.CharField(max_length=64)
    data = models.BinaryField(help_text="Deflated.")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["team", "digest"], name="snapshot_piece_team_digest")]

    def __str__(self) -> str:
        return self.digest[:12]
