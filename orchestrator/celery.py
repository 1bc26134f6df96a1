"""The Celery application: `celery -A orchestrator worker`, `celery -A orchestrator beat`.

`celery -A orchestrator` finds it here by itself; the usual import in `__init__` would make every script pay for Celery.
"""

import os
from typing import Any

from celery import Celery
from celery.signals import import_modules

from orchestrator import site

site.load_settings()
# Django's checks import every page and view (0.5 s), which neither worker nor beat ever calls; `make check` runs them.
os.environ.setdefault("CELERY_SKIP_CHECKS", "1")

app = Celery("orchestrator")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks(related_name="jobs")
app.steps["worker"].add("runs.bootsteps:RunStep")
app.steps["worker"].add("notifications.bootsteps:SendingStep")
app.steps["consumer"].add("runs.bootsteps:BellStep")


@import_modules.connect
def _apps_come_first(**_: Any) -> None:
    """Celery and its Django fixup put the working directory, which may hold a user's `flows/`, before ours."""
    site.activate()


site.activate()
