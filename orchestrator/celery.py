"""The Celery application: `celery -A orchestrator worker`, `celery -A orchestrator beat`.

`celery -A orchestrator` finds it here by itself; the usual import in `__init__` would make every script pay for Celery.
"""

import logging
import os
from typing import Any

from celery import Celery, Task
from celery.signals import import_modules

from orchestrator import site

_log = logging.getLogger(__name__)

site.load_settings()
# Django's checks import every page and view (0.5 s), which neither worker nor beat ever calls; `make check` runs them.
os.environ.setdefault("CELERY_SKIP_CHECKS", "1")


class Job(Task):  # type: ignore[misc]  celery has no types
    """One of Celery's functions. Without memory it is over, not stuck.

    Celery raises a MemoryError through its pool, and never takes note that the job ended (celery #10462). Every job has
    a sweep behind it, so one that found no memory is simply done by the next.
    """

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run it."""
        try:
            return self.run(*args, **kwargs)
        except MemoryError:
            _log.error("No memory is left for %s; it is tried again at its next turn.", self.name)
            return None


app = Celery("orchestrator", task_cls=Job)
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
