"""The OpenAPI document is true: whatever is sent, no answer is a fault, and each is one that the document describes.

`API_CASES=10000` sends so many requests instead of 2,000 (ten minutes instead of two on two busy cores).
"""

import math
import os

import pytest

from orchestrator.wsgi import application
from tests.api import fuzzing

CASES = int(os.environ.get("API_CASES", "2000"))
SPARE = 1.05  # some operations have fewer different requests than their part
GROUPS = (
    "audit", "block-types", "blocks", "calendars", "calls", "concurrency-limits", "deliveries", "deployments",
    "destinations", "flow-runs", "flows", "health", "ingest", "mutes", "notification-policies", "schedules",
    "service-accounts", "shares", "slots", "snapshots", "teams", "tokens", "users", "work-queues", "workers",
)  # fmt: skip


@pytest.fixture(scope="module")
def document() -> object:
    return fuzzing.document()


def test_every_address_of_the_document_is_tried(document: object) -> None:
    assert {operation.path.split("/")[2] for operation in fuzzing.operations(document)} == set(GROUPS)


sent: dict[str, int] = {}


@pytest.mark.timeout(1800)
@pytest.mark.django_db
@pytest.mark.parametrize("group", GROUPS)
def test_every_answer_is_described(document: object, group: str) -> None:
    whole = len(list(fuzzing.operations(document)))
    with fuzzing.kept_connection():
        stage = fuzzing.set_stage()
        for operation in fuzzing.operations(document, group):
            half = math.ceil(CASES * SPARE / whole / 2)  # of each kind
            tried = fuzzing.tried(operation, stage, application, 2 * half)
            assert tried
            sent[operation.label] = tried


def test_as_many_requests_were_sent_as_said() -> None:
    if len(sent) < len(GROUPS):
        pytest.skip("only some groups were tried")
    print(f"{sum(sent.values()):,} requests of {len(sent)} operations")
    assert sum(sent.values()) >= CASES
