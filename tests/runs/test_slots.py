"""Slots of limited tags: all or none, first come first served, freed with whatever ends, never one too many."""

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest
from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import connection
from django.test.utils import CaptureQueriesContext

from orchestrator.sdk.home import Home
from orchestrator.sdk.ids import uuid7
from runs import actions, endings, limits_file, reaper, slots, tag_limits
from runs.clock import database_now
from runs.grants import Grant
from runs.ingest import abandon
from runs.models import ConcurrencyLimit, FlowRun, Slot
from runs.slots import Answer, Ask, RunEnded, UnknownRun
from teams.models import Team
from tests.racing import race
from tests.runs.scripts import Process

DB, API = "prod-database", "quota"


@pytest.fixture
def team(db: None) -> Team:
    return Team.default()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    home = Home(tmp_path)
    monkeypatch.setattr(settings, "HOME", home)
    return home


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[UUID]:
    """Task runs whose listeners are told once the transaction has committed."""
    told: list[UUID] = []

    def tell(granted: "list[Grant]") -> None:
        told.extend(grant.task_run for grant in granted)

    monkeypatch.setattr(slots, "tell_on_commit", tell)
    monkeypatch.setattr(tag_limits, "tell_on_commit", tell)
    return told


class Script(Process):
    """A process whose task runs ask for slots."""

    def asks(self, *tags: str, task_run: str = "", attempt: int = 1, record: bool = True, **fields: object) -> str:
        """Ask for a task run, recorded as one that waits; return its id."""
        task_run = task_run or (self.task("PENDING", attempt=attempt, tags=list(tags)) if record else str(uuid7()))
        self.answer = self.ask(task_run, *tags, attempt=attempt, **fields)
        return task_run

    def ask(self, task_run: str, *tags: str, attempt: int = 1, **fields: object) -> Answer:
        question = Ask(UUID(self.run), attempt, UUID(task_run), tags, name="load", listener=LISTENER, **fields)
        return slots.ask(question, Team.default())

    def ends(self, task_run: str, type_: str = "COMPLETED", name: str = "", **fields: object) -> None:
        self.task_state(task_run, type_, name, **fields)
        self.ingest()


LISTENER = uuid7()


def script() -> Script:
    process = Script()
    process.begin()
    process.ingest()
    return process


def limit(tag: str = DB, number: int = 1) -> ConcurrencyLimit:
    return tag_limits.create_limit(Team.default(), tag=tag, limit=number)


def holding(tag: str = DB) -> list[str]:
    held = Slot.objects.filter(limit__tag=tag, granted_at__isnull=False).order_by("granted_at", "pk")
    return [str(slot.task_run) for slot in held]


def waiting(tag: str = DB) -> list[str]:
    return [str(slot.task_run) for slot in Slot.objects.filter(limit__tag=tag, granted_at=None).order_by("pk")]


# Asking


def test_an_ask_is_answered_by_a_slot_or_by_what_it_waits_for(team: Team, told: list[UUID]) -> None:
    limit()
    one = script()
    first, second = one.asks(DB, "other"), one.asks(DB)
    third = script()
    last = third.asks(DB)
    assert holding() == [first]
    assert waiting() == [second, last]
    (wait,) = third.answer.waits_for
    assert (wait.tag, wait.limit, wait.position) == (DB, 1, 2)
    assert [(holder.task_run, holder.name, holder.flow_run_name) for holder in wait.holders] == [
        (UUID(first), "load", "swift-otter")
    ]
    assert one.ask(first, DB) == Answer(True, [DB], [])  # asking again changes nothing
    assert one.ask(second, DB).waits_for[0].position == 1
    assert Slot.objects.count() == 3
    assert told == []  # who asks learns by the answer


def test_a_task_run_whose_tags_nobody_limits_needs_no_slot(team: Team) -> None:
    tag_limits.create_limit(Team.objects.create(name="others"), tag=DB, limit=0)
    with CaptureQueriesContext(connection) as queries:
        assert script().ask(str(uuid7()), "free") == Answer(True, [], [])
    assert not Slot.objects.exists()
    asked = [query["sql"] for query in queries if "concurrencylimit" in query["sql"]]
    assert len(asked) == 1
    assert script().ask(str(uuid7()), DB).granted


def test_several_limits_are_taken_together_or_not_at_all(team: Team, told: list[UUID]) -> None:
    limit(DB, 1), limit(API, 2)
    one = script()
    holder = one.asks(DB)
    both = one.asks(DB, API)
    assert [wait.tag for wait in one.answer.waits_for] == [DB]
    passes = one.asks(API)  # passed over, since the one before it waits for the other limit
    assert holding(API) == [passes]
    later = one.asks(DB)
    one.ends(holder)
    assert (holding(DB), holding(API)) == ([both], [passes, both])
    assert waiting(DB) == [later]
    assert told == [UUID(both)]
    one.ends(both)
    assert (holding(DB), holding(API), told) == ([later], [passes], [UUID(both), UUID(later)])


def test_a_limit_that_was_set_meanwhile_is_waited_for_too(team: Team) -> None:
    limit(DB, 1)
    one = script()
    holder, second = one.asks(DB), one.asks(DB, API)
    limit(API, 0)
    assert [wait.tag for wait in one.ask(second, DB, API).waits_for] == [DB, API]
    one.ends(holder)
    assert holding() == []
    assert [wait.tag for wait in one.ask(second, DB, API).waits_for] == [API]


def test_runs_that_are_not_known_yet_or_have_ended_get_none(team: Team) -> None:
    limit()
    one = script()
    with pytest.raises(UnknownRun):
        Script().asks(DB)
    with pytest.raises(UnknownRun):
        one.asks(DB, attempt=2)
    journal = UUID(one.header.journal)
    with pytest.raises(UnknownRun):
        one.asks(DB, journal=journal, sequence=len(one.facts) + 1)
    with pytest.raises(UnknownRun):
        one.asks(DB, journal=uuid7(), sequence=1)
    one.facts, one.run = one.facts[:2], one.run
    one.state("RUNNING", attempt=2)
    one.ingest()
    with pytest.raises(RunEnded):
        one.asks(DB)
    assert one.ask(str(uuid7()), DB, attempt=2, journal=journal, sequence=3).granted
    one.state("COMPLETED", attempt=2)
    one.ingest()
    with pytest.raises(RunEnded):
        one.asks(DB, attempt=2)
    assert not Slot.objects.exists()


# Freeing: whatever ends, ends its slots, and the next begins


def retries(one: Script, task_run: str) -> None:
    one.task_state(task_run, "SCHEDULED", "AwaitingRetry")
    one.ingest()


def completes(one: Script, task_run: str) -> None:
    one.state("COMPLETED")
    one.ingest()


def is_killed(one: Script, task_run: str) -> None:
    abandon(one.header)


def lapses(one: Script, task_run: str) -> None:
    FlowRun.objects.filter(pk=one.run).update(lease_expires_at=database_now() - timedelta(seconds=1))
    reaper.reap()


def begins_again(one: Script, task_run: str) -> None:
    one.state("RUNNING", attempt=2)
    one.ingest()


def gives_back(one: Script, task_run: str) -> None:
    slots.give_back(UUID(task_run), FlowRun.objects.filter(pk=one.run))


def is_cancelled_while_it_pauses(one: Script, task_run: str) -> None:
    FlowRun.objects.filter(pk=one.run).update(state_type="PAUSED", lease_expires_at=None)
    actions.cancel_flow_run(FlowRun.objects.get(pk=one.run))


def ends_with_its_parent(one: Script, task_run: str) -> None:
    parent = FlowRun.objects.get(pk=one.run)
    child = one.create(run=str(uuid7()), parent=one.run)
    one.state("RUNNING", run=child)
    one.ingest()
    Slot.objects.filter(task_run=task_run).update(flow_run=child)
    completes(one, task_run)
    assert parent.pk == UUID(one.run)


@pytest.mark.parametrize(
    "end",
    [
        lambda one, task_run: one.ends(task_run),
        lambda one, task_run: one.ends(task_run, "FAILED"),
        retries, completes, is_killed, lapses, begins_again, gives_back, is_cancelled_while_it_pauses,
        ends_with_its_parent,
    ],
)  # fmt: skip
@pytest.mark.parametrize("holds", [True, False])
def test_whatever_ends_frees_its_slot_and_the_next_begins(
    team: Team, told: list[UUID], end: Callable[[Script, str], None], holds: bool
) -> None:
    limit()
    one, two = script(), script()
    first = one.asks(DB) if holds else two.asks(DB)
    ended = first if holds else one.asks(DB)
    second = two.asks(DB)
    end(one, ended)
    if holds:
        assert (holding(), waiting(), told) == ([second], [], [UUID(second)])
    else:
        assert (holding(), waiting(), told) == ([first], [second], [])


def test_a_retry_asks_anew_and_its_earlier_ending_frees_nothing(team: Team) -> None:
    """The ask waits for the fact that gave the slot back; the attempt after it keeps its own."""
    limit()
    one = script()
    first = one.asks(DB)
    one.task_state(first, "SCHEDULED", "AwaitingRetry")
    journal = UUID(one.header.journal)
    with pytest.raises(UnknownRun):
        one.ask(first, DB, journal=journal, sequence=len(one.facts))
    one.ingest()
    assert one.ask(first, DB, journal=journal, sequence=len(one.facts)).granted
    slots.sweep()  # its row says AwaitingRetry still
    one.ingest()
    assert holding() == [first]


def test_a_fault_of_the_slots_blames_no_fact(
    team: Team, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    limit()
    one = script()
    first = one.asks(DB)

    def fail(**_: object) -> None:
        raise ValueError("boom")

    monkeypatch.setattr(endings.slots, "free", fail)
    one.ends(first)
    assert "were not freed" in caplog.text
    assert holding() == [first]
    monkeypatch.undo()
    slots.sweep()
    assert holding() == []


def test_the_sweep_frees_what_was_left_and_grants_what_fits(team: Team, told: list[UUID]) -> None:
    number = limit()
    one, two = script(), script()
    first, second, third = one.asks(DB), two.asks(DB), two.asks(DB)
    FlowRun.objects.filter(pk=one.run).update(state_type="CRASHED")
    slots.sweep()
    assert (holding(), waiting()) == ([second], [third])
    ConcurrencyLimit.objects.filter(pk=number.pk).update(limit=2)
    slots.sweep()
    assert (holding(), told) == ([second, third], [UUID(second), UUID(third)])
    assert first not in holding()


def test_without_slots_a_batch_costs_one_look(team: Team) -> None:
    limit()
    one = script()
    done = one.task()
    one.task_state(done, "COMPLETED")
    with CaptureQueriesContext(connection) as queries:
        one.ingest()
    assert [query["sql"] for query in queries if "slot" in query["sql"]] == ["SELECT 1 FROM runs_slot LIMIT 1"]
    assert not [query for query in queries if "concurrencylimit" in query["sql"]]


# Changing limits


def test_a_limit_can_be_raised_lowered_and_reset(team: Team, told: list[UUID]) -> None:
    number = limit(DB, 1)
    one = script()
    first, second, third, fourth = (one.asks(DB) for _ in range(4))
    tag_limits.change_limit(number, value=2)
    assert holding() == [first, second]
    tag_limits.change_limit(number, value=0)
    one.ends(first)
    assert (holding(), waiting()) == ([second], [third, fourth])
    tag_limits.change_limit(number, value=1)
    assert tag_limits.reset_limit(number) == 1
    assert (holding(), waiting()) == ([third], [fourth])
    assert told == [UUID(second), UUID(third)]


def test_deleting_a_limit_starts_who_waits_for_it_alone(team: Team, told: list[UUID]) -> None:
    number = limit(DB, 0)
    other = limit(API, 0)
    one = script()
    alone, both = one.asks(DB), one.asks(DB, API)
    tag_limits.delete_limit(number)
    assert told == [UUID(alone)]
    assert waiting(API) == [both]
    assert one.ask(alone, DB).granted
    with pytest.raises(ValidationError, match="deleted a moment ago"):
        tag_limits.change_limit(number, value=3)
    tag_limits.change_limit(other, value=1)
    assert told == [UUID(alone), UUID(both)]


@pytest.mark.parametrize(
    ("values", "field"),
    [({"tag": " "}, "tag"), ({"tag": "x" * 201}, "tag"), ({"tag": "a\0b"}, "tag"), ({"tag": 3}, "tag")]
    + [({"limit": value}, "limit") for value in (-1, 10_001, "3", True, 1.5, None)],
)
def test_what_is_no_limit_is_refused(team: Team, values: dict[str, object], field: str) -> None:
    with pytest.raises(ValidationError) as refused:
        tag_limits.create_limit(team, **{"tag": DB, "limit": 1, **values})
    assert list(refused.value.message_dict) == [field]
    limit()
    with pytest.raises(ValidationError, match="limited already"):
        limit()


# The file in the home


@pytest.mark.django_db(transaction=True)
def test_the_home_names_the_limited_tags(home: Home) -> None:
    assert not limits_file.refresh()
    assert not home.limits.exists()
    Team.default()
    number = limit()
    limit("Ä tag")
    tag_limits.create_limit(Team.objects.create(name="others"), tag=DB, limit=3)
    assert json.loads(home.limits.read_bytes()) == {"version": 1, "tags": [DB, "Ä tag"]}
    assert home.limits.stat().st_mode & 0o777 == 0o600
    assert not limits_file.refresh()
    tag_limits.delete_limit(number)
    assert json.loads(home.limits.read_bytes())["tags"] == [DB, "Ä tag"]  # the other team's is left
    home.limits.write_text("broken")
    assert limits_file.refresh()
    ConcurrencyLimit.objects.all().delete()
    assert limits_file.refresh()
    assert json.loads(home.limits.read_bytes())["tags"] == []
    assert [path.name for path in home.root.iterdir()] == ["limits.json"]


# Many at once, on the real thing

_MAKE = """
import time
from uuid import UUID
from runs import slots, tag_limits
from runs.slots import Ask
from teams.models import Team
from tests.racing import race
from tests.runs.scripts import Process
team = Team.default()
for tag, limit in (("one", 1), ("three", 3)):
    tag_limits.create_limit(team, tag=tag, limit=limit)
"""
# Each process runs task runs, one after the other, as an engine does, and writes down when it held what by one clock.
_WORK = """
process = Process(); process.begin(); process.ingest()
wait_for_all()
held = []
for number in range(9):
    tags = (["one"], ["three"], ["three", "one"])[number % 3]
    task = process.task("PENDING", tags=tags)
    question = Ask(UUID(process.run), 1, UUID(task), tags)
    while not slots.ask(question, team).granted:
        time.sleep(0.02)
    began = time.monotonic()
    time.sleep(0.01)
    held.append((tags, began, time.monotonic()))
    process.task_state(task, "COMPLETED")
    process.ingest()
process.state("COMPLETED"); process.ingest()
result = held
"""


def test_many_processes_never_overshoot(environment: dict[str, str]) -> None:
    workers, _ = race(environment, _MAKE, _WORK, 4)
    held = [span for worker in workers for span in worker]
    assert len(held) == 36
    assert _most_at_once([span for span in held if "one" in span[0]]) == 1
    assert _most_at_once([span for span in held if "three" in span[0]]) <= 3


def _most_at_once(spans: list[tuple[list[str], float, float]]) -> int:
    edges = sorted([(began, 1) for _, began, _ in spans] + [(ended, -1) for *_, ended in spans])
    most = now = 0
    for _, change in edges:
        now += change
        most = max(most, now)
    return most
