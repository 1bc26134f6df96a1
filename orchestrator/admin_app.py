"""Django's admin as an app: its pages are imported by who serves them, which neither ingester, worker nor beat does."""

from typing import Any

from django.contrib.admin.apps import SimpleAdminConfig
from django.contrib.admin.checks import check_admin_app, check_dependencies
from django.core import checks


class AdminConfig(SimpleAdminConfig):
    """The admin, of which `orchestrator.urls` looks for the pages: 0.3 s for each process that has none."""

    def ready(self) -> None:
        """Register Django's own checks of it."""
        checks.register(check_dependencies, checks.Tags.admin)
        checks.register(check_pages, checks.Tags.admin)


def check_pages(app_configs: Any, **options: Any) -> list[checks.CheckMessage]:
    """Check the pages, all of them, whoever has looked for them."""
    import orchestrator.urls  # noqa: F401  they are looked for there; 0.3 s

    found: list[checks.CheckMessage] = check_admin_app(app_configs, **options)
    return found
