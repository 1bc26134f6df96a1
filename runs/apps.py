"""The app of what will run, runs and ran."""

from django.apps import AppConfig


class RunsConfig(AppConfig):
    """Configuration of the runs app."""

    name = "runs"
