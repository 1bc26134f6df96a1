"""A question that is compiled once has the answers of one that is compiled each time."""

from datetime import timedelta

import pytest
from django.db.models import Q
from django.utils import timezone

from flows.models import Flow, WorkQueue
from runs import cancelling, dispatch, overdue, reaper, scheduling
from runs.compiled import Column, IsAny
from runs.models import FlowRun
from teams.models import Team

NOW = timezone.now()


@pytest.mark.database
@pytest.mark.django_db
def test_answers_change_with_the_rows_and_with_the_time() -> None:
    team = Team.default()
    flow = Flow.objects.create(team=team, name="etl")
    asked = IsAny(lambda now: FlowRun.objects.due(now - timedelta(seconds=5)).exclude(name="other"))
    assert not asked(NOW)
    run = FlowRun.objects.create(
        team=team, flow=flow, queue=WorkQueue.default(team), name="r", state_time=NOW, expected_start=NOW
    )
    assert [asked(NOW + timedelta(seconds=seconds)) for seconds in (-1, 4, 5, 60)] == [False, False, True, True]
    FlowRun.objects.filter(pk=run.pk).update(state_type="RUNNING")
    assert not asked(NOW + timedelta(seconds=60))


@pytest.mark.database
@pytest.mark.django_db
@pytest.mark.parametrize(
    "asked",
    [
        dispatch.unheard,
        dispatch.soon,
        scheduling.some_to_look_at,
        overdue.some_wait,
        overdue.some_expect,
        reaper.some_lapsed,
        cancelling.some_unanswered,
    ],
)
def test_the_questions_of_the_tick_can_be_compiled(asked: IsAny) -> None:
    assert asked(NOW) is False


@pytest.mark.database
@pytest.mark.django_db
def test_a_column_is_read_anew_each_time() -> None:
    team = Team.default()
    names = Column(lambda: WorkQueue.objects.filter(paused=False).order_by("name").values_list("name", flat=True))
    assert names() == []
    WorkQueue.objects.create(team=team, name="b")
    WorkQueue.objects.create(team=team, name="a")
    WorkQueue.objects.create(team=team, name="c", paused=True)
    assert names() == ["a", "b"]


@pytest.mark.django_db
def test_a_query_that_is_another_at_another_time_is_refused() -> None:
    with pytest.raises(ValueError, match="another query"):
        IsAny(lambda now: FlowRun.objects.filter(Q(pk=None) if now.year == 2001 else Q()))(NOW)
    with pytest.raises(ValueError, match="constant"):
        IsAny(lambda now: FlowRun.objects.filter(expected_start__lte=now + timedelta(days=now.year)))(NOW)
