"""Deployments, with their schedules, backfills and webhooks; flows; business calendars."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from orchestrator.client.calling import Calling, Id, read
from orchestrator.client.results import (
    AppliedDeployment,
    Backfill,
    Calendar,
    Deployment,
    DeploymentVersion,
    Flow,
    FlowRun,
    InspectedCalendar,
    MadeWebhook,
    Schedule,
    SchedulePreview,
    VersionDiff,
    Webhook,
)
from orchestrator.rest import IDEMPOTENCY_KEY


class DeploymentCalls(Calling):
    """What can be done with flows and deployments."""

    def list_flows(self, *, name: str = "") -> Iterator[Flow]:
        """Yield flows by name, read page by page."""
        return self._each(Flow, "flows/", name=name)

    def get_flow(self, flow: Id) -> Flow:
        """Return a flow by id."""
        return read(Flow, self.calls.get(f"flows/{flow}/"))

    def list_deployments(
        self, *, name: str = "", flow: str = "", tag: str = "", paused: bool | None = None
    ) -> Iterator[Deployment]:
        """Yield deployments by name, read page by page."""
        return self._each(Deployment, "deployments/", name=name, flow=flow, tag=tag, paused=paused)

    def get_deployment(self, deployment: Id) -> Deployment:
        """Return a deployment by id, or by flow-name/deployment-name."""
        return read(Deployment, self.calls.get(f"deployments/{self._deployment(deployment)}/"))

    def deploy(self, flow: str, name: str, entrypoint: str, **fields: Any) -> Deployment:
        """Make a deployment, or bring it up to date as its author declares it: also `schedules`, `parameters`, …"""
        said = {"flow": flow, "name": name, "entrypoint": entrypoint, **fields}
        return read(Deployment, self.calls.post("deployments/", said))

    def apply_deployments(
        self, project: str, deployments: Sequence[Mapping[str, Any]], *, prune: bool = False, dry_run: bool = False
    ) -> list[AppliedDeployment]:
        """Declare all deployments of a project at once; `prune` deletes what is named no more, `dry_run` asks."""
        said = {"project": project, "deployments": [dict(one) for one in deployments], "prune": prune}
        answer = self.calls.post("deployments/apply/", {**said, "dry_run": dry_run})
        return read(list[AppliedDeployment], answer["deployments"])

    def run_deployment(
        self,
        deployment: Id,
        parameters: Mapping[str, Any] | None = None,
        *,
        name: str | None = None,
        tags: Sequence[str] = (),
        expected_start: datetime | None = None,
        idempotency_key: str = "",
        infrastructure_overrides: Mapping[str, Any] | None = None,
    ) -> FlowRun:
        """Run a deployment, now or at a time (aware); with a key of yours, once whoever calls with it."""
        said = {
            "parameters": dict(parameters or {}), "name": name, "tags": list(tags),
            "expected_start": expected_start and expected_start.isoformat(),
            "infrastructure_overrides": dict(infrastructure_overrides or {}),
        }  # fmt: skip
        headers = {IDEMPOTENCY_KEY: idempotency_key} if idempotency_key else None
        return read(FlowRun, self.calls.post(f"deployments/{self._deployment(deployment)}/runs/", said, headers))

    def change_deployment(self, deployment: Id, **changes: Any) -> Deployment:
        """Change the fields that are given: description, parameters, tags, queue, limit, infrastructure, …"""
        return read(Deployment, self.calls.patch(f"deployments/{self._deployment(deployment)}/", changes))

    def duplicate_deployment(
        self, deployment: Id, name: str, parameters: Mapping[str, Any] | None = None
    ) -> Deployment:
        """Make another deployment like it; its schedules are copied, switched off."""
        said = {"name": name, "parameters": dict(parameters or {})}
        return read(Deployment, self.calls.post(f"deployments/{self._deployment(deployment)}/duplicate/", said))

    def pause_deployment(self, deployment: Id) -> Deployment:
        """Stop its schedules."""
        return read(Deployment, self.calls.post(f"deployments/{self._deployment(deployment)}/pause/"))

    def resume_deployment(self, deployment: Id) -> Deployment:
        """Let its schedules make runs again."""
        return read(Deployment, self.calls.post(f"deployments/{self._deployment(deployment)}/resume/"))

    def delete_deployment(self, deployment: Id) -> None:
        """Delete a deployment with its schedules."""
        self.calls.delete(f"deployments/{self._deployment(deployment)}/")

    # Versions

    def list_versions(self, deployment: Id) -> list[DeploymentVersion]:
        """Return a deployment's versions, the newest first."""
        return read(list[DeploymentVersion], self.calls.get(f"deployments/{self._deployment(deployment)}/versions/"))

    def compare_versions(self, deployment: Id, before: int | None = None, after: int | None = None) -> VersionDiff:
        """Return what differs between two versions; without numbers, what the last deploy changed."""
        address = f"deployments/{self._deployment(deployment)}/diff/"
        return read(VersionDiff, self.calls.get(address, before=before, after=after))

    def roll_back_deployment(self, deployment: Id, to: int) -> DeploymentVersion:
        """Go back to the code and parameters of a version; return the version that this makes."""
        return read(
            DeploymentVersion, self.calls.post(f"deployments/{self._deployment(deployment)}/rollback/", {"to": to})
        )

    # Backfills

    def backfill(
        self,
        deployment: Id,
        start: datetime,
        end: datetime | None = None,
        *,
        schedule: Id | None = None,
        dry_run: bool = False,
    ) -> Backfill:
        """Make the runs of past times (aware) that have none; with `dry_run` only say which."""
        said = {
            "start": start.isoformat(), "end": end and end.isoformat(), "schedule": schedule and str(schedule),
            "dry_run": dry_run,
        }  # fmt: skip
        return read(Backfill, self.calls.post(f"deployments/{self._deployment(deployment)}/backfill/", said))

    def undo_backfill(self, deployment: Id, tag: str) -> int:
        """Leave out what of a backfill has not begun; return how many runs that were."""
        done = self.calls.post(f"deployments/{self._deployment(deployment)}/backfill/undo/", {"tag": tag})
        return int(done["count"])

    # Schedules

    def list_schedules(self, deployment: Id) -> list[Schedule]:
        """Return a deployment's schedules, in the order they were made."""
        return read(list[Schedule], self.calls.get(f"deployments/{self._deployment(deployment)}/schedules/"))

    def get_schedule(self, schedule: Id) -> Schedule:
        """Return a schedule by id."""
        return read(Schedule, self.calls.get(f"schedules/{schedule}/"))

    def add_schedule(self, deployment: Id, *, kind: str, expression: str, **fields: Any) -> Schedule:
        """Give a deployment one more schedule: kind `cron`, `weekly`, `interval` or `rrule`."""
        said = {"kind": kind, "expression": expression, **fields}
        return read(Schedule, self.calls.post(f"deployments/{self._deployment(deployment)}/schedules/", said))

    def replace_schedules(self, deployment: Id, schedules: Sequence[Mapping[str, Any]]) -> list[Schedule]:
        """Give a deployment these schedules in place of those it has; what stays alike keeps its runs."""
        said = [dict(schedule) for schedule in schedules]
        return read(list[Schedule], self.calls.put(f"deployments/{self._deployment(deployment)}/schedules/", said))

    def change_schedule(self, schedule: Id, **changes: Any) -> Schedule:
        """Change the fields that are given."""
        return read(Schedule, self.calls.patch(f"schedules/{schedule}/", changes))

    def delete_schedule(self, schedule: Id) -> None:
        """Delete a schedule, and its runs that did not begin."""
        self.calls.delete(f"schedules/{schedule}/")

    def preview_schedule(self, *, kind: str, expression: str, **fields: Any) -> SchedulePreview:
        """Return what a schedule would mean: in words, its next times (`count`) and its year (`year=True`)."""
        return read(
            SchedulePreview, self.calls.post("schedules/preview/", {"kind": kind, "expression": expression, **fields})
        )

    # Webhooks

    def get_webhook(self, deployment: Id) -> Webhook:
        """Return a deployment's webhook; of its address only the beginning is known."""
        return read(Webhook, self.calls.get(f"deployments/{self._deployment(deployment)}/webhook/"))

    def create_webhook(self, deployment: Id, mapping: Mapping[str, str] | None = None) -> MadeWebhook:
        """Give a deployment a secret address that runs it; it is in this answer alone."""
        said = {"mapping": dict(mapping or {})}
        return read(MadeWebhook, self.calls.post(f"deployments/{self._deployment(deployment)}/webhook/", said))

    def change_webhook(self, deployment: Id, mapping: Mapping[str, str]) -> Webhook:
        """Change where in the body parameters are found."""
        said = {"mapping": dict(mapping)}
        return read(Webhook, self.calls.patch(f"deployments/{self._deployment(deployment)}/webhook/", said))

    def rotate_webhook(self, deployment: Id) -> MadeWebhook:
        """Give a webhook another address; the one before is no longer good."""
        return read(MadeWebhook, self.calls.post(f"deployments/{self._deployment(deployment)}/webhook/rotate/"))

    def delete_webhook(self, deployment: Id) -> None:
        """Take a deployment's webhook away."""
        self.calls.delete(f"deployments/{self._deployment(deployment)}/webhook/")

    # Business calendars

    def list_calendars(self, *, name: str = "") -> Iterator[Calendar]:
        """Yield business calendars by name."""
        return self._each(Calendar, "calendars/", name=name)

    def get_calendar(self, calendar: Id) -> InspectedCalendar:
        """Return a calendar with its days off of this year and the next, and who uses it."""
        return read(InspectedCalendar, self.calls.get(f"calendars/{calendar}/"))

    def create_calendar(self, name: str, **fields: Any) -> InspectedCalendar:
        """Make a calendar: also `country`, `subdivision`, `weekend`, `days_off`, `working_days`."""
        return read(InspectedCalendar, self.calls.post("calendars/", {"name": name, **fields}))

    def change_calendar(self, calendar: Id, **changes: Any) -> InspectedCalendar:
        """Change the fields that are given; upcoming runs follow."""
        return read(InspectedCalendar, self.calls.patch(f"calendars/{calendar}/", changes))

    def delete_calendar(self, calendar: Id) -> None:
        """Delete a calendar that no schedule has."""
        self.calls.delete(f"calendars/{calendar}/")
