"""Addresses of the pages of this app."""

from django.urls import URLPattern, path

from runs.api.webhooks import HookView
from runs.views import (
    backfill_page,
    block_pages,
    calendar_pages,
    deployment_forms,
    deployment_verbs,
    limit_forms,
    queue_forms,
    run_bulk,
    run_log,
    run_verbs,
    schedule_forms,
    version_pages,
    webhook_page,
)
from runs.views.deployment_page import DeploymentPage
from runs.views.flow_pages import DeploymentsPage, FlowPage, FlowsPage
from runs.views.home import HomePage
from runs.views.limit_pages import LimitPage, LimitsPage
from runs.views.live_page import live_view
from runs.views.queue_pages import QueuePage, QueuesPage
from runs.views.run_list import RunsPage
from runs.views.run_page import RunPage
from runs.views.worker_pages import WorkerPage, WorkersPage

urlpatterns: list[URLPattern] = [
    path("", live_view(HomePage), name="home"),
    path("runs/", live_view(RunsPage), name="runs"),
    path("runs/all/<slug:verb>/", run_bulk.bulk, name="runs-bulk"),
    path("runs/<uuid:run_id>/", live_view(RunPage), name="run"),
    path("runs/<uuid:run_id>/delete/", run_verbs.delete, name="run-delete"),
    path("runs/<uuid:run_id>/log/", run_log.older, name="run-log"),
    path("runs/<uuid:run_id>/log/<uuid:log_id>/", run_log.line, name="run-log-line"),
    path("runs/<uuid:run_id>/traceback/", run_log.traceback, name="run-traceback"),
    path("runs/<uuid:run_id>/cancel/", run_verbs.cancel, name="run-cancel"),
    path("runs/<uuid:run_id>/retry/", run_verbs.retry, name="run-retry"),
    path("runs/<uuid:run_id>/rerun/", run_verbs.rerun, name="run-rerun"),
    path("flows/", live_view(FlowsPage), name="flows"),
    path("flows/<uuid:flow_id>/", live_view(FlowPage), name="flow"),
    path("deployments/", live_view(DeploymentsPage), name="deployments"),
    path("deployments/<uuid:deployment_id>/", live_view(DeploymentPage), name="deployment"),
    path("blocks/", block_pages.index, name="blocks"),
    path("blocks/new/", block_pages.add, name="block-new"),
    path("blocks/<uuid:block_id>/", block_pages.show, name="block"),
    path("blocks/<uuid:block_id>/edit/", block_pages.edit, name="block-edit"),
    path("blocks/<uuid:block_id>/use/", block_pages.use, name="block-use"),
    path("blocks/<uuid:block_id>/delete/", block_pages.delete, name="block-delete"),
    path("deployments/<uuid:deployment_id>/run/", deployment_forms.run, name="deployment-run"),
    path("deployments/<uuid:deployment_id>/edit/", deployment_forms.edit, name="deployment-edit"),
    path("deployments/<uuid:deployment_id>/duplicate/", deployment_forms.duplicate, name="deployment-duplicate"),
    path("deployments/<uuid:deployment_id>/delete/", deployment_forms.delete, name="deployment-delete"),
    path("deployments/<uuid:deployment_id>/pause/", deployment_verbs.pause, name="deployment-pause"),
    path("deployments/<uuid:deployment_id>/resume/", deployment_verbs.resume, name="deployment-resume"),
    path("deployments/<uuid:deployment_id>/versions/", version_pages.versions, name="deployment-versions"),
    path("deployments/<uuid:deployment_id>/versions/<int:number>/", version_pages.version, name="deployment-version"),
    path(
        "deployments/<uuid:deployment_id>/versions/<int:number>/roll-back/",
        version_pages.roll_back,
        name="deployment-roll-back",
    ),
    path("deployments/<uuid:deployment_id>/schedules/new/", schedule_forms.add, name="schedule-new"),
    path("deployments/<uuid:deployment_id>/backfill/", backfill_page.ask, name="deployment-backfill"),
    path(
        "deployments/<uuid:deployment_id>/backfills/<str:tag>/",
        live_view(backfill_page.BackfillPage),
        name="deployment-backfilled",
    ),
    path(
        "deployments/<uuid:deployment_id>/backfills/<str:tag>/undo/",
        backfill_page.undo,
        name="deployment-backfill-undo",
    ),
    path("deployments/<uuid:deployment_id>/webhook/", webhook_page.page, name="deployment-webhook"),
    path("hooks/<str:secret>/", HookView.as_view(), name="hook"),
    path("calendars/", calendar_pages.index, name="calendars"),
    path("calendars/new/", calendar_pages.add, name="calendar-new"),
    path("calendars/preview/", calendar_pages.preview, name="calendar-preview"),
    path("calendars/<uuid:calendar_id>/", calendar_pages.change, name="calendar"),
    path("calendars/<uuid:calendar_id>/delete/", calendar_pages.delete, name="calendar-delete"),
    path("work-queues/", live_view(QueuesPage), name="work-queues"),
    path("work-queues/new/", queue_forms.add, name="work-queue-new"),
    path("work-queues/<uuid:queue_id>/", live_view(QueuePage), name="work-queue"),
    path("work-queues/<uuid:queue_id>/edit/", queue_forms.edit, name="work-queue-edit"),
    path("work-queues/<uuid:queue_id>/pause/", queue_forms.pause, name="work-queue-pause"),
    path("work-queues/<uuid:queue_id>/resume/", queue_forms.resume, name="work-queue-resume"),
    path("work-queues/<uuid:queue_id>/delete/", queue_forms.delete, name="work-queue-delete"),
    path("concurrency-limits/", live_view(LimitsPage), name="concurrency-limits"),
    path("concurrency-limits/new/", limit_forms.add, name="concurrency-limit-new"),
    path("concurrency-limits/<uuid:limit_id>/", live_view(LimitPage), name="concurrency-limit"),
    path("concurrency-limits/<uuid:limit_id>/edit/", limit_forms.edit, name="concurrency-limit-edit"),
    path("concurrency-limits/<uuid:limit_id>/reset/", limit_forms.reset, name="concurrency-limit-reset"),
    path("concurrency-limits/<uuid:limit_id>/delete/", limit_forms.delete, name="concurrency-limit-delete"),
    path("workers/", live_view(WorkersPage), name="workers"),
    path("workers/<uuid:worker_id>/", live_view(WorkerPage), name="worker"),
    path("schedules/preview/", schedule_forms.preview, name="schedule-preview"),
    path("schedules/<uuid:schedule_id>/", schedule_forms.change, name="schedule"),
    path("schedules/<uuid:schedule_id>/switch/", schedule_forms.switch, name="schedule-switch"),
    path("schedules/<uuid:schedule_id>/delete/", schedule_forms.delete, name="schedule-delete"),
]
