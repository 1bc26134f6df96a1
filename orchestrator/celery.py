"""The Celery application: `celery -A orchestrator worker`, `celery -A orchestrator beat`.

`celery -A orchestrator` finds it here by itself; the usual import in `__init__` would make every script pay for Celery.
"""

from celery import Celery

from orchestrator import site

site.activate()

app = Celery("orchestrator")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks(related_name="jobs")
