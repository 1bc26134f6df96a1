"""What stands where in the administration: its side and its index, by what people do rather than by app."""

from collections.abc import Iterator
from typing import Any, Final

from django.http import HttpRequest

#: By group, the models in it, each with what it is called there.
GROUPS: Final[dict[str, dict[str, str]]] = {
    "What runs": {
        "flows.deployment": "Deployments",
        "flows.schedule": "Schedules",
        "flows.calendar": "Calendars",
        "flows.webhook": "Webhooks",
        "flows.flow": "Flows",
    },
    "What ran": {
        "runs.flowrun": "Flow runs",
        "runs.taskrun": "Task runs",
        "runs.attempt": "Attempts",
    },
    "Where and how many": {
        "flows.workqueue": "Work queues",
        "flows.block": "Blocks",
        "runs.worker": "Workers",
        "runs.concurrencylimit": "Concurrency limits",
        "runs.slot": "Slots",
        "django_celery_beat.periodictask": "Scheduler",
    },
    "Notifications": {
        "notifications.policy": "Policies",
        "notifications.destination": "Destinations",
        "notifications.delivery": "Deliveries",
        "notifications.message": "Messages",
        "notifications.mute": "Mutes",
    },
    "People": {
        "teams.user": "Users",
        "teams.team": "Teams",
        "teams.invitation": "Invitations",
        "teams.groupmapping": "Groups of single sign-on",
        "teams.apitoken": "API tokens",
        "teams.auditentry": "Audit log",
    },
}


def grouped(apps: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return Django's list of apps as `GROUPS` has it; what stands in none comes last, in a group of its own.

    Args:
        apps: As `AdminSite.get_app_list` returns them: what the reader may see.
    """
    there = {model["model"]._meta.label_lower: model for app in apps for model in app["models"]}
    return list(_groups(there))


def _groups(there: dict[str, dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for name, members in GROUPS.items():
        models = [{**there.pop(label), "name": called} for label, called in members.items() if label in there]
        if models:
            yield {"name": name, "app_label": name.lower().replace(" ", "-"), "app_url": "", "models": models}
    if there:
        yield {"name": "More", "app_label": "more", "app_url": "", "models": list(there.values())}


def theme(request: HttpRequest) -> str | None:
    """Return the theme that the reader chose on the site's pages; None: as their system has it."""
    chosen = request.COOKIES.get("theme", "")
    return chosen if chosen in {"dark", "light"} else None
