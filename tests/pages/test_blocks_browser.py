"""The pages of blocks in a real browser: in both themes, wide and narrow, and without a finding of axe."""

from typing import Any

import pytest
from playwright.sync_api import Page

from flows import block_actions
from flows.block_types import block_types
from flows.models import Block, Deployment
from runs.models import Attempt, FlowRun
from tests.browser.looks import assert_looks_right
from tests.pages.conftest import Site


def addresses(made: dict[str, Any]) -> list[str]:
    """Blocks in use, with long names and values, and all their pages."""
    deployment: Deployment = made["deployments"]["flights"]
    block = block_actions.create_block(
        deployment.team, type="process", name="reports_" * 12, description="For the weekly reports. " * 20,
        values={"memory_mb": 2048, "environment": {"LONG_" * 12: "x" * 300, "TZ": "UTC"}},
        opened=["memory_mb", "environment"],
    )  # fmt: skip
    secret = {"registry": "registry.internal", "username": "robot", "password": "hush"}
    key = block_actions.create_block(deployment.team, type="registry-credentials", name="registry", values=secret)
    jobs = block_actions.create_block(deployment.team, type="kubernetes", name="jobs", values={"image": "etl:7"})
    Block.objects.create(team=deployment.team, type="in-worker", name="in-worker")
    overrides = {"environment": {"A": "1"}}
    Deployment.objects.filter(pk=deployment.pk).update(infrastructure=block, infrastructure_overrides=overrides)
    run: FlowRun = made["completed"]
    record = {"block": block.name, "type": "process", "version": 3, "values": block.values}
    Attempt.objects.filter(flow_run=run).update(infrastructure=record)
    return [
        "/blocks/", "/blocks/new/", *(f"/blocks/new/?type={name}" for name in block_types()),
        *(f"/blocks/{one.pk}/" for one in (block, key, jobs)), f"/blocks/{block.pk}/edit/", f"/blocks/{key.pk}/edit/",
        f"/blocks/{block.pk}/delete/", f"/blocks/{key.pk}/delete/", f"/deployments/{deployment.pk}/",
        f"/deployments/{deployment.pk}/edit/", f"/deployments/{deployment.pk}/run/", f"/runs/{run.pk}/",
        f"/runs/{run.pk}/?tab=attempts",
    ]  # fmt: skip


@pytest.mark.looks
def test_axe_finds_nothing_and_nothing_overflows(signed_in: Page, typical: Site) -> None:
    for address in addresses(typical.made):
        signed_in.goto(typical.url + address)
        assert_looks_right(signed_in)
