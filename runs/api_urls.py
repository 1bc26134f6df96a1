"""Addresses of this app below /api/."""

from django.urls import path
from rest_framework.routers import SimpleRouter

from runs.api.blocks import BlockTypesView, BlockViewSet
from runs.api.bulk import BulkView
from runs.api.calendars import CalendarViewSet
from runs.api.calls import CallStreamView, CallsView
from runs.api.concurrency_limits import ConcurrencyLimitViewSet
from runs.api.deployments import DeploymentViewSet, ScheduleViewSet
from runs.api.flow_runs import FlowRunViewSet
from runs.api.health import HealthView
from runs.api.ingest import IngestView
from runs.api.slots import SlotStreamView, SlotsView, SlotTagsView, SlotView
from runs.api.snapshots import SnapshotLimitsView, SnapshotPackView, SnapshotsView, SnapshotView
from runs.api.work_queues import WorkQueueViewSet
from runs.api.workers import WorkerViewSet

router = SimpleRouter(use_regex_path=False)
router.register("flow-runs", FlowRunViewSet, basename="api-flow-run")
router.register("deployments", DeploymentViewSet, basename="api-deployment")
router.register("work-queues", WorkQueueViewSet, basename="api-work-queue")
router.register("workers", WorkerViewSet, basename="api-worker")
router.register("concurrency-limits", ConcurrencyLimitViewSet, basename="api-concurrency-limit")
router.register("blocks", BlockViewSet, basename="api-block")
router.register("schedules", ScheduleViewSet, basename="api-schedule")
router.register("calendars", CalendarViewSet, basename="api-calendar")

urlpatterns = [
    path("health/", HealthView.as_view(), name="api-health"),
    path("ingest/", IngestView.as_view(), name="api-ingest"),
    path("calls/", CallsView.as_view(), name="api-calls"),
    path("calls/stream/", CallStreamView.as_view(), name="api-call-stream"),
    path("block-types/", BlockTypesView.as_view(), name="api-block-types"),
    path("slots/", SlotsView.as_view(), name="api-slots"),
    path("slots/tags/", SlotTagsView.as_view(), name="api-slot-tags"),
    path("slots/stream/", SlotStreamView.as_view(), name="api-slot-stream"),
    path("slots/<uuid:task_run>/", SlotView.as_view(), name="api-slot"),
    path("snapshots/", SnapshotsView.as_view(), name="api-snapshots"),
    path("snapshots/limits/", SnapshotLimitsView.as_view(), name="api-snapshot-limits"),
    path("snapshots/<str:hash>/", SnapshotView.as_view(), name="api-snapshot-detail"),
    path("snapshots/<str:hash>/pack/", SnapshotPackView.as_view(), name="api-snapshot-pack"),
    path("flow-runs/bulk/", BulkView.as_view(), name="api-flow-runs-bulk"),
    *router.urls,
]
