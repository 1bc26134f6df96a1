"""The app of what can run: flows, deployments, schedules and work queues."""

from django.apps import AppConfig


class FlowsConfig(AppConfig):
    """Configuration of the flows app."""

    name = "flows"
