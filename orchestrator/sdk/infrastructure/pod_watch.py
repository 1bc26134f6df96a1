"""The pod of an attempt, followed by list and watch: what it was last seen to be, past everything that can drop."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from orchestrator.sdk.infrastructure.cluster import WATCH_SECONDS, Cluster, ClusterProblem, next_pause

_FIRST_PAUSE_SECONDS: Final = 0.2


@dataclass(frozen=True)
class Seen:
    """A look at an attempt's pod.

    Attributes:
        pod: As it was last seen; None: there has been none yet.
        is_deleted: It is not there any more.
        trouble: Why the cluster could not be asked just now; empty: it could.
    """

    pod: Mapping[str, Any] | None = None
    is_deleted: bool = False
    trouble: str = ""


class PodWatch:
    """Follows the one pod that labels select.

    Args:
        cluster: Whose.
        namespace: Of the pod.
        selector: Labels.
        patience: Returns after how many seconds to look again although nothing changed.
    """

    def __init__(self, cluster: Cluster, namespace: str, selector: str, patience: Callable[[], float]) -> None:
        self._cluster = cluster
        self._path = f"/api/v1/namespaces/{namespace}/pods"
        self._selector = selector
        self._patience = patience
        self._pod: Mapping[str, Any] | None = None

    def looks(self) -> Iterator[Seen]:
        """Return how the pod is, at once and at each change; for ever.

        A watch that ends goes on from where it was. One that breaks, or whose place is too old (410), begins with a
        list. An API that is away is asked again, less and less often: it says nothing about the pod.
        """
        version, pause = "", _FIRST_PAUSE_SECONDS
        while True:
            try:
                if not version:
                    version, seen = self._list()
                    yield seen
                for event in self._cluster.watch(
                    self._path, version, min(WATCH_SECONDS, self._patience()), labelSelector=self._selector
                ):
                    pause = _FIRST_PAUSE_SECONDS
                    version = str(event["object"]["metadata"]["resourceVersion"])
                    if event["type"] != "BOOKMARK":
                        yield self._saw(event["object"], event["type"] == "DELETED")
                yield Seen(self._pod)  # its time is over
            except ClusterProblem as problem:
                version = ""
                yield Seen(self._pod, trouble=str(problem))
                time.sleep(pause)
                pause = next_pause(pause)

    def _list(self) -> tuple[str, Seen]:
        found = self._cluster.call("GET", self._path, labelSelector=self._selector)
        pods = found.get("items") or []
        before = self._pod
        same = next((pod for pod in pods if before is None or _uid(pod) == _uid(before)), None)
        if same is None and before is not None:
            seen = Seen(before, is_deleted=True)
        else:
            self._pod = same
            seen = Seen(same)
        return str(found["metadata"]["resourceVersion"]), seen

    def _saw(self, pod: Mapping[str, Any], is_deleted: bool) -> Seen:
        if self._pod is not None and _uid(pod) != _uid(self._pod):
            return Seen(self._pod)  # there is one try, so this is none of ours
        self._pod = pod
        return Seen(pod, is_deleted)


def _uid(pod: Mapping[str, Any]) -> str:
    return str(pod["metadata"].get("uid", ""))
