"""What somebody may write into an address or a form is answered in words, never by a fault of the server."""

import base64
import json
from typing import Any
from uuid import uuid4

import pytest
from django.test import Client

from runs.models import FlowRun
from tests.pages import sample

HUGE = "9" * 5000
TIMES = ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "2027-01-01T00:00:00", "2027-01-01"]
TEXTS = [
    "\0",
    "a\0b",
    "\ud800".encode("utf-8", "surrogatepass").decode("latin-1"),
    HUGE,
    "-1",
    "１２",
    "%",
    "'\";--",
    "[]",
]
CURSORS = [f"{time}_{uuid4()}" for time in TIMES]
QUERIES = {
    "/": [],
    "/runs/": ["q", "tag", "flow", "deployment", "parent", "state", "since", "tab", "cursor"],
    "/flows/": ["q", "from"],
    "/deployments/": ["q", "from", "cursor", "flow", "tag"],
    "/runs/{run}/": ["q", "level", "task_run", "tab", "open", "state", "key", "after"],
    "/runs/{run}/log/": ["before", "q", "level"],
    "/deployments/{deployment}/run/": ["from"],
    "/schedules/preview/": [
        "kind",
        "expression",
        "timezone",
        "anchor",
        "every",
        "unit",
        "day",
        "time",
        "cron",
        "rrule",
        "interval",
        "starts_at",
        "ends_at",
        "calendar",
        "oldest",
        "on_day_off",
        "deployment",
    ],
    "/deployments/{deployment}/backfill/": ["from", "to", "schedule"],
}
API = {
    "/api/flow-runs/": ["state", "flow", "deployment", "tag", "name", "parent", "id_prefix", "limit", "cursor"],
    "/api/flow-runs/{run}/logs/": ["after", "limit", "task_run"],
    "/api/flow-runs/{run}/task-runs/": ["state", "limit", "cursor"],
    "/api/deployments/": ["name", "flow", "tag", "paused", "limit", "cursor"],
    "/api/flows/": ["name", "limit", "cursor"],
    "/api/work-queues/": ["name", "limit", "cursor"],
    "/api/tokens/": ["limit", "cursor"],
}


def _cursor(*values: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(values).encode()).decode().rstrip("=")


API_CURSORS = [
    _cursor(*values)
    for values in (
        (1, 2), (None, None), ("a", "b"), ({"t": 5}, {"u": 5}), ({"t": "2027-01-01"}, {"u": str(uuid4())}), ([], {}),
        ({"t": "0001-01-01T00:00:00+14:00"}, {"u": str(uuid4())}), (1,), ({"u": 5},), (None,), ("\0",), (10**30,),
        ("a", "b", "c"), ("\0", "\0", {"u": str(uuid4())}),
        ({}, [], {}), (1, 2, 3), (None, None, None), ({"t": "2027-01-01"}, "x", "y"),
    )
]  # fmt: skip


@pytest.fixture
def made(db: None) -> dict[str, str]:
    found = sample.typical()
    run = FlowRun.objects.exclude(deployment=None).first()
    assert run is not None
    return {"run": str(run.id), "deployment": str(run.deployment_id), **{k: str(v) for k, v in (found or {}).items()}}


@pytest.mark.parametrize(("path", "names"), [*QUERIES.items(), *API.items()])
def test_no_query_makes_the_server_fail(reader: Client, made: dict[str, str], path: str, names: list[str]) -> None:
    reader.raise_request_exception = False
    path = path.format(**made)
    bad = []
    for name in names:
        values = [*TEXTS, *CURSORS, *TIMES, *(API_CURSORS if path.startswith("/api/") else [])]
        if name in ("tab", "state"):
            values.append("upcoming")
        for value in values:
            answer = reader.get(path, {name: value})
            if answer.status_code >= 500:
                bad.append((name, value[:60], getattr(answer, "exc_info", [None, None])[1]))
    assert not bad, "\n".join(map(str, bad))
