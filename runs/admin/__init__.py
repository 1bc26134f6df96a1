"""Administration of deployments, schedules, queues, runs and limits, through the same verbs as the pages."""

from runs.admin import beat, calendars, deployments, limits, queues, runs, workers

__all__ = ["beat", "calendars", "deployments", "limits", "queues", "runs", "workers"]
