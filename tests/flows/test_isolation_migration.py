"""What was a deployment's isolation is its infrastructure after the migration, also in what was declared.

New databases are made by squashed migrations; those that are there go on from where they are.
"""

from typing import Any

import pytest
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder

from orchestrator.server.preparation import migrate

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.database]
BEFORE = [("flows", "0011_deployment_versions"), ("runs", "0015_worker_calls_key")]


def back() -> Any:
    """Migrate back to `BEFORE`, and return the models as they were."""
    executor = MigrationExecutor(connection)
    executor.loader = MigrationLoader(connection, replace_migrations=False)
    for key, squashed in executor.loader.replacements.items():
        executor.loader.graph.remove_replacement_node(key, squashed.replaces)
    executor.migrate(BEFORE)
    return executor.loader.project_state(BEFORE).apps


def forward() -> Any:
    """Migrate to the newest, as a database of an older version is, and return the models."""
    executor = MigrationExecutor(connection)
    executor.migrate(executor.loader.graph.leaf_nodes())
    return MigrationLoader(connection).project_state().apps


def test_isolation_becomes_infrastructure_and_comes_back() -> None:
    try:
        apps = back()
        team = apps.get_model("teams", "Team").objects.create(name="old")
        flow = apps.get_model("flows", "Flow").objects.create(team=team, name="etl", slug="etl")
        queue = apps.get_model("flows", "WorkQueue").objects.create(team=team, name="q")
        for name, isolation in (("kept", "worker"), ("forked", "process")):
            apps.get_model("flows", "Deployment").objects.create(
                team=team, flow=flow, name=name, slug=name, entrypoint="e.py:e", queue=queue, isolation=isolation,
                declared={"isolation": isolation, "tags": []},
            )  # fmt: skip
        apps = forward()
        deployments = apps.get_model("flows", "Deployment").objects.select_related("infrastructure").order_by("name")
        forked, kept = deployments
        assert forked.infrastructure is None
        assert (kept.infrastructure.type, kept.infrastructure.name) == ("in-worker", "in-worker")
        assert [one.declared["infrastructure"] for one in (forked, kept)] == ["process", "in-worker"]
        apps = back()
        found = apps.get_model("flows", "Deployment").objects.order_by("name").values_list("isolation", "declared")
        assert [(isolation, said["isolation"]) for isolation, said in found] == [
            ("process", "process"),
            ("worker", "worker"),
        ]
    finally:
        forward()


@pytest.mark.django_db
def test_a_database_from_before_the_squashed_migrations_has_them() -> None:
    squashed = MigrationRecorder(connection).migration_qs.filter(name__contains="_squashed_")
    names = set(squashed.values_list("app", "name"))
    squashed.delete()
    assert migrate(print) == 0
    assert len(names) == 3
    assert set(squashed.values_list("app", "name")) == names
