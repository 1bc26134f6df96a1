"""What a transport is: one file in this package and one line in the registry (`notifications.transports`)."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

from notifications.content import Content


@dataclass(frozen=True, slots=True)
class Answer:
    """What a service said to a message.

    Attributes:
        ok: It took the message.
        text: In its own words, with the status: `200 ok`, `404 no_service`; at most 500 characters, without secrets.
        is_final: Sending the same message again would be answered alike.
        retry_after_seconds: When the service says to try again; None where it does not say.
    """

    ok: bool
    text: str
    is_final: bool = False
    retry_after_seconds: float | None = None


class Transport(ABC):
    """A kind of destination. Stateless: what one destination needs is in its `config`, a JSON object."""

    kind: ClassVar[str]  #: as it is stored, and written before the colon in `--to kind:address`
    label: ClassVar[str]  #: as people read it
    address_label: ClassVar[str]  #: what the form calls the address
    address_help: ClassVar[str]  #: an example, and where to get one
    icon: ClassVar[str]  #: a name in lucide

    def unavailable(self) -> str:
        """Why this server cannot use it and what to do, as a sentence; empty where it can."""
        return ""

    @abstractmethod
    def parse(self, address: str, secret: str = "") -> dict[str, Any]:
        """Return the config of an address as a person writes it.

        Raises:
            ValidationError: By `address` or `secret`: what is wrong, and what to write.
        """

    @abstractmethod
    def summary(self, config: dict[str, Any]) -> str:
        """Return the address without its secrets, at most 200 characters, for lists."""

    def shown_once(self, config: dict[str, Any]) -> str:
        """Return what is shown when the destination is made, and never again: a signing secret; empty for none."""
        return ""

    @abstractmethod
    def send(self, config: dict[str, Any], content: Content) -> Answer:
        """Send a message and return what the service said. Ends within `notifications.outgoing.TOTAL_SECONDS`.

        Whatever the network and the service do is an Answer; nothing of that is raised.
        """
