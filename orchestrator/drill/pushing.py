"""Where the drill's runs come from: its queues, limits and deployments, and the calls that start and cancel runs.

Every call goes to one of the web processes and is made again, to the other, until it is answered; a run's call carries
a key, so that asking again makes no second run.
"""

import http.client
import json
import random
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

PUSHERS: Final = 4
CALL_SECONDS: Final = 10.0
AGAIN_SECONDS: Final = 0.3
SCHEDULED: Final = "ticking/often"

#: name → limit, priority
QUEUES: Final = {"drill-narrow": (2, 5), "drill-single": (1, 0), "drill-bulk": (None, -5)}
#: (flow, name) → how often it is chosen, its queue, and what is set on it
DEPLOYMENTS: Final[dict[tuple[str, str], tuple[int, str, dict[str, Any]]]] = {
    ("work", "plain"): (20, "default", {}),
    ("work", "narrow"): (10, "drill-narrow", {}),
    ("work", "single"): (6, "drill-single", {}),
    ("work", "bulk"): (10, "drill-bulk", {}),
    ("work", "waiting"): (8, "default", {"limit": 2, "collision": "wait"}),
    ("work", "restarted"): (10, "default", {"crash_retries": 5}),
    ("work", "kept"): (6, "default", {"isolation": "worker"}),
    ("work", "colliding"): (6, "default", {"limit": 1, "collision": "cancel"}),
    ("flaky_tasks", "retried"): (10, "default", {}),
    ("flaky_flow", "retried"): (8, "drill-bulk", {}),
    ("failing", "failing"): (4, "default", {}),
    ("nested", "nested"): (6, "default", {}),
    ("tagged", "tagged"): (10, "default", {}),
    ("stubborn", "stubborn"): (2, "drill-bulk", {}),
}
#: tag → how many task runs may have it at once
TAGS: Final = {"drill-scarce": 3, "drill-few": 1}
#: of the deployment that runs by itself: every 3 s, every 5 s, each minute
SCHEDULES: Final = [
    {"kind": "interval", "expression": "3", "catchup": "all"},
    {"kind": "interval", "expression": "5", "catchup": "latest"},
    {"kind": "cron", "expression": "* * * * *", "catchup": "all", "timezone": "Europe/Paris"},
]


class Refused(Exception):
    """The server answered that it will not: (status, what it said)."""


class Site:
    """The web processes, as one that is asked again until it answers."""

    def __init__(self, urls: Sequence[str], token: str) -> None:
        self._addresses = [(urlsplit(url).hostname or "", urlsplit(url).port or 80) for url in urls]
        self._token = token
        self._stop = threading.Event()

    def give_up(self) -> None:
        """Have calls that are not answered end."""
        self._stop.set()

    def call(self, method: str, path: str, body: object = None, key: str = "") -> Any:
        """Make a call until it is answered with less than 500; None once nobody is to be asked any more.

        Raises:
            Refused: It was answered with 4xx.
        """
        tried = random.randrange(len(self._addresses))
        while not self._stop.is_set():
            try:
                status, answer = self._once(self._addresses[tried % len(self._addresses)], method, path, body, key)
            except (OSError, http.client.HTTPException, ValueError):
                status, answer = 599, None
            if status < 400:
                return answer
            if status < 500 and status != 429:
                raise Refused(status, answer)
            tried += 1
            self._stop.wait(AGAIN_SECONDS)
        return None

    def _once(self, address: tuple[str, int], method: str, path: str, body: object, key: str) -> tuple[int, Any]:
        connection = http.client.HTTPConnection(*address, timeout=CALL_SECONDS)
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"}
        if key:
            headers["Idempotency-Key"] = key
        try:
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            response = connection.getresponse()
            return response.status, json.loads(response.read() or b"null")
        finally:
            connection.close()


def answers(url: str) -> bool:
    """Whether a web process answers that it is well."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=2.0)
    try:
        connection.request("GET", "/api/health/")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def declare(site: Site, project: Path) -> dict[tuple[str, str], str]:
    """Make the queues, the limits of tags and the deployments; return the deployments' ids."""
    for tag, limit in TAGS.items():
        site.call("POST", "/api/concurrency-limits/", {"tag": tag, "limit": limit})
    for name, (limit, priority) in QUEUES.items():
        site.call("POST", "/api/work-queues/", {"name": name, "limit": limit, "priority": priority})
    ids = {}
    for (flow, name), (_, queue, settings) in DEPLOYMENTS.items():
        ids[flow, name] = _deploy(site, project, flow, name, queue=queue)
        if settings:
            site.call("PATCH", f"/api/deployments/{ids[flow, name]}/", settings)
    flow, _, name = SCHEDULED.partition("/")
    ids[flow, name] = _deploy(site, project, flow, name, schedules=SCHEDULES)
    return ids


def _deploy(site: Site, project: Path, flow: str, name: str, **more: object) -> str:
    declaration = {"flow": flow, "name": name, "entrypoint": f"{project}:{flow}", "directory": str(project.parent)}
    return str(site.call("POST", "/api/deployments/", {**declaration, **more})["id"])


@dataclass(frozen=True, slots=True)
class Planned:
    """A run to ask for: when (seconds from the start), of what, for how long; and when to cancel it, if ever."""

    at: float
    key: str
    deployment: tuple[str, str]
    seconds: float
    cancel_after: float | None


def plan(rng: random.Random, runs: int, seconds: float, load_seconds: float) -> list[Planned]:
    """Return the runs of a drill, in the order of their times, spread over the first nine tenths of its time."""
    kinds = list(DEPLOYMENTS)
    chosen = rng.choices(kinds, [DEPLOYMENTS[kind][0] for kind in kinds], k=runs)
    times = sorted(rng.uniform(0, 0.9 * seconds) for _ in chosen)
    planned = []
    for number, (at, kind) in enumerate(zip(times, chosen, strict=True)):
        stubborn = kind[0] == "stubborn"
        lasts = 30.0 if stubborn else rng.uniform(0.2, 1.8) * load_seconds
        cancel_after = rng.uniform(0.5, 3.0) if stubborn or rng.random() < 0.04 else None
        planned.append(Planned(at, f"drill-{number}", kind, lasts, cancel_after))
    return planned


@dataclass(slots=True)
class Pushed:
    """What became of the calls.

    Attributes:
        runs: Run id by key, of the calls that were answered.
        cancelled: When (monotonic) each run's cancel was accepted.
        refused: Answers that were not expected.
    """

    runs: dict[str, str] = field(default_factory=dict)
    cancelled: dict[str, float] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)


class Pusher:
    """Asks for planned runs at their times, from some threads."""

    def __init__(self, site: Site, ids: dict[tuple[str, str], str], planned: Sequence[Planned]) -> None:
        self.pushed = Pushed()
        self._site = site
        self._ids = ids
        self._waiting = sorted(
            [(each.at, 0, each) for each in planned], key=lambda entry: entry[0], reverse=True
        )  # the next one last
        self._lock = threading.Lock()
        self._started = 0.0
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._push, daemon=True) for _ in range(PUSHERS)]

    def start(self) -> None:
        """Begin."""
        self._started = time.monotonic()
        for thread in self._threads:
            thread.start()

    def wait(self, seconds: float) -> bool:
        """Wait until every call was answered, this long at most; return whether that is so."""
        deadline = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        return not self.is_alive

    @property
    def is_alive(self) -> bool:
        """Whether something is still to be asked."""
        return any(thread.is_alive() for thread in self._threads)

    def stop(self) -> None:
        """Ask for nothing more."""
        self._stop.set()
        self._site.give_up()

    def _push(self) -> None:
        while not self._stop.is_set():
            with self._lock:
                if not self._waiting:
                    return
                at, verb, planned = self._waiting.pop()
            if self._stop.wait(max(0.0, self._started + at - time.monotonic())):
                return
            try:
                self._cancel(planned) if verb else self._ask(planned)
            except Refused as refused:
                self.pushed.refused.append(f"{planned.key}: {refused}")

    def _ask(self, planned: Planned) -> None:
        body = {"parameters": {"seconds": planned.seconds}}
        made = self._site.call("POST", f"/api/deployments/{self._ids[planned.deployment]}/runs/", body, planned.key)
        if made is None:
            return
        self.pushed.runs[planned.key] = made["id"]
        if planned.cancel_after is not None:
            at = time.monotonic() - self._started + planned.cancel_after
            with self._lock:
                self._waiting.append((at, 1, planned))
                self._waiting.sort(key=lambda entry: entry[0], reverse=True)

    def _cancel(self, planned: Planned) -> None:
        run = self.pushed.runs[planned.key]
        try:
            if self._site.call("POST", f"/api/flow-runs/{run}/cancel/") is not None:
                self.pushed.cancelled[run] = time.monotonic()
        except Refused as refused:
            if refused.args[0] != 409:  # it has ended already
                raise
