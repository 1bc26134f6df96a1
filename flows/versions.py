"""Versions of a deployment: what each deploy that changed something made of it."""

from typing import ClassVar

from django.conf import settings
from django.db import models


class DeploymentVersion(models.Model):
    """A deployment as it was after a deploy or a rollback: where its code is, and every setting."""

    deployment = models.ForeignKey("flows.Deployment", on_delete=models.CASCADE, related_name="versions")
    number = models.PositiveIntegerField()
    state = models.JSONField(help_text="By field; schedules, queue and source included.")
    rolled_back_to = models.PositiveIntegerField(null=True, blank=True, help_text="The version that it repeats.")
    created_at = models.DateTimeField(auto_now_add=True)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["deployment", "number"], name="deployment_version_number")
        ]

    def __str__(self) -> str:
        return f"version {self.number}"
