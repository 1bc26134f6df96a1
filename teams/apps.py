"""The app of people: users, teams, memberships and tokens."""

from django.apps import AppConfig


class TeamsConfig(AppConfig):
    """Configuration of the teams app."""

    name = "teams"

    def ready(self) -> None:
        """Follow what happens to accounts."""
        from teams.sign_in import receivers  # it needs the models, which are loaded now

        receivers.connect()
