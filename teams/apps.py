"""The app of people: users, teams, memberships and tokens."""

from django.apps import AppConfig


class TeamsConfig(AppConfig):
    """Configuration of the teams app."""

    name = "teams"
