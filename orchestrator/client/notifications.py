"""Notifications: policies, where they are told, what was told, and mutes."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from orchestrator.client.calling import Calling, Id, read
from orchestrator.client.notification_results import (
    Answer,
    Content,
    Delivery,
    DeliveryDetail,
    Destination,
    MadeDestination,
    MadePolicy,
    Mute,
    Policy,
    PolicyAnswer,
)

_POLICIES = "notification-policies/"


class NotificationCalls(Calling):
    """What can be done with notifications."""

    def list_policies(self) -> Iterator[Policy]:
        """Yield notification policies by name."""
        return self._each(Policy, _POLICIES)

    def get_policy(self, policy: Id) -> Policy:
        """Return a policy by id."""
        return read(Policy, self.calls.get(f"{_POLICIES}{policy}/"))

    def create_policy(self, destinations: Sequence[str], **fields: Any) -> MadePolicy:
        """Tell destinations (`slack:URL`, `email:ADDRESS`, a name, …) of runs: also `events`, `flows`, `tags`, …"""
        return read(MadePolicy, self.calls.post(_POLICIES, {"destinations": list(destinations), **fields}))

    def change_policy(self, policy: Id, **changes: Any) -> MadePolicy:
        """Change the fields that are given."""
        return read(MadePolicy, self.calls.patch(f"{_POLICIES}{policy}/", changes))

    def pause_policy(self, policy: Id) -> Policy:
        """Let it tell nobody."""
        return read(Policy, self.calls.post(f"{_POLICIES}{policy}/pause/"))

    def resume_policy(self, policy: Id) -> Policy:
        """Let it tell again."""
        return read(Policy, self.calls.post(f"{_POLICIES}{policy}/resume/"))

    def test_policy(self, policy: Id, *, flow_run: Id | None = None) -> list[PolicyAnswer]:
        """Send a test now, of that run; return what each service said."""
        said = {"flow_run": str(flow_run)} if flow_run else {}
        return read(list[PolicyAnswer], self.calls.post(f"{_POLICIES}{policy}/test/", said)["results"])

    def preview_policy(self, **fields: Any) -> Content:
        """Return what a policy would say of a past run (`flow_run`); nothing is sent."""
        return read(Content, self.calls.post(f"{_POLICIES}preview/", fields))

    def delete_policy(self, policy: Id) -> None:
        """Delete a policy."""
        self.calls.delete(f"{_POLICIES}{policy}/")

    # Destinations

    def list_destinations(self) -> Iterator[Destination]:
        """Yield destinations by name; their addresses are never shown."""
        return self._each(Destination, "destinations/")

    def get_destination(self, destination: Id) -> Destination:
        """Return a destination by id."""
        return read(Destination, self.calls.get(f"destinations/{destination}/"))

    def create_destination(self, address: str, **fields: Any) -> MadeDestination:
        """Make a destination: also `kind`, `name`, `secret`; what it signs with is in this answer alone."""
        return read(MadeDestination, self.calls.post("destinations/", {"address": address, **fields}))

    def change_destination(self, destination: Id, **changes: Any) -> MadeDestination:
        """Change the fields that are given."""
        return read(MadeDestination, self.calls.patch(f"destinations/{destination}/", changes))

    def pause_destination(self, destination: Id) -> Destination:
        """Send nothing there; what comes waits."""
        return read(Destination, self.calls.post(f"destinations/{destination}/pause/"))

    def resume_destination(self, destination: Id) -> Destination:
        """Send again, what waits first."""
        return read(Destination, self.calls.post(f"destinations/{destination}/resume/"))

    def test_destination(self, destination: Id) -> Answer:
        """Send a test now; return what the service said."""
        return read(Answer, self.calls.post(f"destinations/{destination}/test/"))

    def delete_destination(self, destination: Id) -> None:
        """Delete a destination that no policy tells."""
        self.calls.delete(f"destinations/{destination}/")

    # What was told

    def list_deliveries(
        self,
        *,
        status: str = "",
        policy: str = "",
        destination: str = "",
        flow_run: Id | None = None,
        most: int | None = None,
    ) -> Iterator[Delivery]:
        """Yield what was told, newest first; at most `most`."""
        asked = {"status": status, "policy": policy, "destination": destination, "flow_run": flow_run}
        return self._each(Delivery, "deliveries/", most, **asked)

    def get_delivery(self, delivery: Id) -> DeliveryDetail:
        """Return a delivery with its message and every answer."""
        return read(DeliveryDetail, self.calls.get(f"deliveries/{delivery}/"))

    def send_again(self, delivery: Id) -> DeliveryDetail:
        """Send a delivery's message once more."""
        return read(DeliveryDetail, self.calls.post(f"deliveries/{delivery}/send-again/"))

    # Mutes

    def list_mutes(self, *, deployment: str = "") -> Iterator[Mute]:
        """Yield the deployments of which nothing is told."""
        return self._each(Mute, "mutes/", deployment=deployment)

    def mute_deployment(self, deployment: Id, until: datetime, reason: str = "") -> Mute:
        """Tell nothing of a deployment's runs until a time (aware)."""
        said = {"deployment": str(self._deployment(deployment)), "until": until.isoformat(), "reason": reason}
        return read(Mute, self.calls.post("mutes/", said))

    def unmute_deployment(self, deployment: Id) -> None:
        """Tell of its runs again."""
        self.calls.delete(f"mutes/{self._deployment(deployment)}/")
