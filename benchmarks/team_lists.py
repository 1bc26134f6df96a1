"""The lists that `benchmarks.teams` reads: every one in the permission matrix, and the usual ways to narrow them."""

from collections.abc import Iterator
from typing import Final
from urllib.parse import urlencode

_STATES: Final = ("completed", "failed", "crashed", "running", "waiting", "cancelled")
_RUNS_PAGE: Final = [
    *({"state": state} for state in _STATES),
    {"flow": "{flow}"},
    {"deployment": "{deployment}"},
    {"deployment": "{deployment}", "state": "failed"},
    {"parent": "{parent}"},
    {"tag": "finance"},
    {"tag": "no-such-tag"},
    {"since": "1h"},
    {"since": "7d"},
    {"since": "7d", "state": "failed"},
    {"q": "otter"},
    {"q": "{run_name}"},
    {"q": "no such name"},
    {"q": "orders"},
    {"tab": "upcoming"},
    {"cursor": "{page_cursor}"},
    {"cursor": "{page_cursor}", "state": "failed"},
]
_RUNS_CALL: Final = [
    *({"state": state} for state in ("COMPLETED", "FAILED", "CRASHED", "RUNNING", "SCHEDULED", "CANCELLED", "Late")),
    {"flow": "{flow_name}"},
    {"deployment": "{deployment_name}"},
    {"deployment": "{deployment}", "state": "FAILED"},
    {"tag": "finance"},
    {"tag": "no-such-tag"},
    {"name": "{run_name}"},
    {"queue": "default"},
    {"queue": "{queue}", "state": "FAILED"},
    {"since": "{since}"},
    {"until": "{until}"},
    {"q": "otter"},
    {"q": "{run_name}"},
    {"q": "no such name"},
    {"q": "orders"},
    {"parent": "{parent}"},
    {"id_prefix": "{run}"},
    {"limit": "200"},
    {"cursor": "{api_cursor}"},
    {"cursor": "{api_cursor}", "state": "FAILED"},
]
_DELIVERIES: Final = [{"status": status} for status in ("waiting", "held", "sent", "failed", "muted")]
_AUDIT: Final = [
    {"user": "somebody"},
    {"user": "nobody-of-this-name"},
    {"verb": "deployment.pause"},
    {"verb": "team"},
    {"object": "daily/77"},
    {"object": "no such object"},
    {"object_type": "flowrun"},
    {"via": "sso"},
    {"since": "{since}"},
]
#: By the name of a list's address: the queries by which people narrow it.
QUERIES: Final[dict[str, list[dict[str, str]]]] = {
    "runs": _RUNS_PAGE,
    "api-flow-run-list": _RUNS_CALL,
    "flows": [{"q": "orders"}, {"from": "50"}],
    "deployments": [{"q": "daily"}, {"q": "orders_0/"}, {"from": "50"}, {"from": "600"}],
    "api-flow-list": [{"limit": "200"}],
    "api-deployment-list": [
        {"name": "{deployment_name}"},
        {"flow": "{flow_name}"},
        {"tag": "finance"},
        {"paused": "true"},
        {"limit": "200"},
    ],
    "notification-deliveries": _DELIVERIES,
    "api-delivery-list": _DELIVERIES,
    "audit": _AUDIT,
    "api-audit-list": _AUDIT,
}
#: Pages of one thing that list what belongs to it.
_INSIDE: Final = (
    "/flows/{flow}/",
    "/deployments/{deployment}/",
    "/work-queues/{queue}/",
    "/teams/{team}/",
    "/runs/{run}/",
)


def targets(lists: dict[str, str], ids: dict[str, str]) -> Iterator[str]:
    """Yield the address of every list, plain and narrowed.

    Args:
        lists: Addresses by name, as the permission matrix has them.
        ids: What stands for `{…}` in queries.
    """
    for name, address in lists.items():
        yield address
        for query in QUERIES.get(name, ()):
            values = {key: value.format_map(ids)[: _longest(key)] for key, value in query.items()}
            yield f"{address}?{urlencode(values)}"
    for page in _INSIDE:
        yield page.format_map(ids)


def _longest(key: str) -> int | None:
    return 18 if key == "id_prefix" else None
