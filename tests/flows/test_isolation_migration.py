"""What was a deployment's isolation is its infrastructure after the migration, also in what was declared."""

from typing import Any

import pytest
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.database]
BEFORE = [("flows", "0011_deployment_versions"), ("runs", "0015_worker_calls_key")]


def at(targets: list[tuple[str, str]]) -> Any:
    """Migrate to these, and return the models as they are there."""
    executor = MigrationExecutor(connection)
    executor.migrate(targets)
    return MigrationExecutor(connection).loader.project_state(targets).apps


def test_isolation_becomes_infrastructure_and_comes_back() -> None:
    newest = MigrationExecutor(connection).loader.graph.leaf_nodes()
    try:
        apps = at(BEFORE)
        team = apps.get_model("teams", "Team").objects.create(name="old")
        flow = apps.get_model("flows", "Flow").objects.create(team=team, name="etl", slug="etl")
        queue = apps.get_model("flows", "WorkQueue").objects.create(team=team, name="q")
        for name, isolation in (("kept", "worker"), ("forked", "process")):
            apps.get_model("flows", "Deployment").objects.create(
                team=team, flow=flow, name=name, slug=name, entrypoint="e.py:e", queue=queue, isolation=isolation,
                declared={"isolation": isolation, "tags": []},
            )  # fmt: skip
        apps = at([node for node in newest if node[0] in ("flows", "runs")])
        deployments = apps.get_model("flows", "Deployment").objects.select_related("infrastructure").order_by("name")
        forked, kept = deployments
        assert forked.infrastructure is None
        assert (kept.infrastructure.type, kept.infrastructure.name) == ("in-worker", "in-worker")
        assert [one.declared["infrastructure"] for one in (forked, kept)] == ["process", "in-worker"]
        apps = at(BEFORE)
        found = apps.get_model("flows", "Deployment").objects.order_by("name").values_list("isolation", "declared")
        assert [(isolation, said["isolation"]) for isolation, said in found] == [
            ("process", "process"),
            ("worker", "worker"),
        ]
    finally:
        at(newest)
