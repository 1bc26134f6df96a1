"""What a crashed run's page says: why it crashed, what it had and said last, and what it used, as charts with words."""

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from rest_framework.test import APIClient

from flows.models import Flow
from runs.models import Attempt, FlowRun, Log, ResourceSample
from runs.resources import Resources, resources
from teams.models import Team, User
from tests.pages.sample import make_run
from tests.pages.test_pages import text

pytestmark = pytest.mark.django_db
MIB, GIB = 2**20, 2**30


@pytest.fixture
def run() -> FlowRun:
    """A run that was killed for memory after a minute, with samples that grow sparser."""
    flow = Flow.objects.create(team=Team.default(), name="crunch")
    start = timezone.now() - timedelta(minutes=10)
    message = "Crashed: out of memory: the kernel killed it at 3.8 GB"
    made: FlowRun = make_run(flow, start, 61.0, "CRASHED", state_message=message)
    Attempt.objects.update(cause="out_of_memory", peak_memory_bytes=int(3.8 * GIB), cpu_seconds=75.5, signal=9)
    Log.objects.bulk_create(
        Log(flow_run=made, time=start + timedelta(seconds=index), message=f"chunk {index} <b>") for index in range(9)
    )
    ResourceSample.objects.bulk_create(
        ResourceSample(flow_run=made, time=start + timedelta(seconds=at), cpu=cpu, memory_bytes=memory)
        for at, cpu, memory in [(1, 0.5, 100 * MIB), (2, 1.5, 200 * MIB), (4, 2.0, 3 * GIB), (60, 1.0, GIB)]
    )
    return made


def drawn(run: FlowRun) -> Resources | None:
    return resources(run, run.attempts.first())


def test_a_chart_is_a_line_under_a_round_edge_and_the_same_in_words(run: FlowRun) -> None:
    found = drawn(run)
    assert found is not None
    memory, processors = found.charts
    assert memory.line == "M16.7,98.0 L33.3,96.1 L66.7,40.0 L1000.0,80.0"
    assert memory.area.endswith("L1000.0,100 L16.7,100 Z")
    assert (memory.top, processors.top) == ("5.0 GB", "2")
    assert memory.words == "3.0 GB at most, after 4.0 s; 1.0 GB at the last look"
    assert processors.words == "2.0 at most, 1.0 on average"
    assert found.length == "1 m"


@pytest.mark.parametrize("kept", [0, 1])
def test_too_few_samples_are_no_chart(run: FlowRun, kept: int) -> None:
    ResourceSample.objects.exclude(pk__in=ResourceSample.objects.values("pk")[:kept]).delete()
    assert drawn(run) is None


def test_an_idle_process_is_a_flat_line(run: FlowRun) -> None:
    ResourceSample.objects.update(cpu=0.0, memory_bytes=0)
    found = drawn(run)
    assert found is not None
    assert [chart.line.count(",100.0") for chart in found.charts] == [4, 4]


def test_the_page_names_the_cause_and_shows_the_evidence(reader: Client, run: FlowRun) -> None:
    answer = reader.get(f"/runs/{run.id}/")
    said = text(answer)
    assert "Out of memory" in said
    assert "3.8 GB at most" in said
    assert "1 m 16 s" in said
    assert "chunk 3 &lt;b&gt; chunk 4" in said
    assert "Memory: 3.0 GB at most, after 4.0 s" in answer.content.decode()
    assert "<b>" not in said
    assert "Out of memory, 3.8 GB of memory at most" in text(reader.get(f"/runs/{run.id}/?tab=attempts"))


def test_the_api_has_the_same(run: FlowRun) -> None:
    api = APIClient()
    api.force_authenticate(User.first_admin())
    found: dict[str, Any] = api.get(f"/api/flow-runs/{run.id}/", headers={"host": "localhost"}).data
    (attempt,) = found["attempts"]
    assert (attempt["cause"], attempt["cpu_seconds"]) == ("out_of_memory", 75.5)
    assert found["last_log_lines"] == [f"chunk {index} <b>" for index in range(3, 9)]
    samples = api.get(f"/api/flow-runs/{run.id}/resources/", headers={"host": "localhost"}).data["results"]
    assert [sample["cpu"] for sample in samples] == [0.5, 1.5, 2.0, 1.0]
    assert samples[0]["memory_bytes"] == 100 * MIB
