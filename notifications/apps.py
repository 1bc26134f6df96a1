"""The app of messages to people."""

from django.apps import AppConfig


class NotificationsConfig(AppConfig):
    """Configuration of the notifications app."""

    name = "notifications"

    def ready(self) -> None:
        """Register the check of the permission matrix: with this app, every address is there."""
        from orchestrator import door  # noqa: F401  it reads models, which are loaded after apps
