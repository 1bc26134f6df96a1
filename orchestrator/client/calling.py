"""What the client's groups of methods share: calls, lists page by page, answers as values, deployments by name."""

from collections.abc import Iterator
from typing import Any, TypeVar
from uuid import UUID

import msgspec

from orchestrator.client.errors import ClientError
from orchestrator.rest import Calls

Kind = TypeVar("Kind")
Id = UUID | str


class Calling:
    """The base of the groups of methods. Each raises Refused for a server that says no, NotReached for none."""

    calls: Calls  #: any other call: `client.calls.get("health/")`

    def _deployment(self, deployment: Id) -> Id:
        """Return a deployment's id; a name costs a call. Raises ClientError where it is no one's or several's."""
        try:
            return UUID(str(deployment))
        except ValueError:
            found = list(self.calls.each("deployments/", 2, name=str(deployment)))
        if len(found) != 1:
            what = (
                "is no deployment that you may see" if not found else "may be several: write flow-name/deployment-name"
            )
            raise ClientError(f"“{deployment}” {what}.")
        return str(found[0]["id"])

    def _each(self, kind: type[Kind], path: str, most: int | None = None, **query: Any) -> Iterator[Kind]:
        asked = {name: str(value).lower() if isinstance(value, bool) else value for name, value in query.items()}
        for row in self.calls.each(path, most, **asked):
            yield read(kind, row)


def read(kind: type[Kind], data: Any) -> Kind:
    """Return an answer as a value. Raises ClientError for one that this client does not know."""
    try:
        return msgspec.convert(data, kind)
    except msgspec.ValidationError as error:
        raise ClientError(f"The server's answer is not as this client knows it: {error}.") from error
