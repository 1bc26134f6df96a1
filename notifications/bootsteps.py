"""What a worker does about messages that are being sent when it stops."""

from typing import Any, Final

from celery import bootsteps
from django.conf import settings

from notifications import sending
from notifications.outgoing import TOTAL_SECONDS

_RECORD_SECONDS: Final = 2.0  # after the service's answer


class SendingStep(bootsteps.StartStopStep):
    """Lets what is being sent be answered. Threads start by themselves, when there is something to send."""

    name = "Sending"
    requires = ("celery.worker.components:Pool",)

    def include_if(self, parent: Any) -> bool:
        """A worker without a database sends nothing."""
        return not settings.WITHOUT_DATABASE

    def start(self, parent: Any) -> None:
        """Nothing is to be started."""

    def close(self, parent: Any) -> None:
        """The worker begins to stop: nothing new is sent."""
        sending.current().close()

    def stop(self, parent: Any) -> None:
        """Wait for what is being sent; it began before the runs were waited for, so that is seldom long."""
        sending.current().wait(TOTAL_SECONDS + _RECORD_SECONDS)
