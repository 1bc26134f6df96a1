"""The app of what can run: flows, deployments, schedules and work queues."""

from django.apps import AppConfig


class FlowsConfig(AppConfig):
    """Configuration of the flows app."""

    name = "flows"

    def ready(self) -> None:
        """Name what can be shared."""
        from flows import models  # apps are loaded before models
        from teams import sharing

        sharing.register("flow", models.FlowUserPermission, models.FlowGroupPermission)
        sharing.register("deployment", models.DeploymentUserPermission, models.DeploymentGroupPermission)
