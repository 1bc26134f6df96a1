"""The quiet rules, as values: a clock that is a number, and no database."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from notifications.models import Delivery, Message
from notifications.quiet import REPEAT_EVERY, WINDOW, Plan, Waiting, Window, plan
from orchestrator.sdk.ids import uuid7

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
POLICY, OTHER, FLOW = uuid7(), uuid7(), uuid7()
BURST, REPEAT = Delivery.Held.BURST, Delivery.Held.REPEAT


def fresh(number: int = 1, *, repeats: bool = False, policy: UUID = POLICY, subject: UUID = FLOW) -> list[Waiting]:
    return [Waiting(uuid7(), policy, subject, repeats) for _ in range(number)]


def decide(waiting: Iterable[Waiting], now: datetime = NOW, *, limit: int = 10, **known: dict) -> Plan:  # type: ignore[type-arg]
    return plan(
        waiting,
        windows=known.get("windows", {}),
        limits={POLICY: limit, OTHER: limit},
        told_at=known.get("told_at", {}),
        now=now,
    )


def held(plan: Plan) -> list[Waiting]:
    """What is held, as it is read again."""
    return [one for _, one in held_until(plan)]


def held_until(plan: Plan) -> list[tuple[datetime, Waiting]]:
    return [(hold.until, replace(one, held_for=hold.held_for)) for hold in plan.holds for one in hold.deliveries]


def kinds(plan: Plan) -> list[tuple[str, int]]:
    return [(told.kind, len(told.deliveries)) for told in plan.messages]


def test_what_fits_into_a_minute_is_told_at_once() -> None:
    decided = decide(fresh(10))
    assert kinds(decided) == [("single", 1)] * 10
    assert decided.holds == []
    assert decided.windows == {POLICY: Window(NOW, 10)}


def test_a_burst_is_ten_messages_and_one_for_the_rest_at_the_minutes_end() -> None:
    first = decide(fresh(1000))
    assert kinds(first) == [("single", 1)] * 10
    assert {(hold.held_for, hold.until) for hold in first.holds} == {(BURST, NOW + WINDOW)}

    second = decide(held(first), NOW + WINDOW, windows=first.windows)
    assert kinds(second) == [("burst", 990)]
    assert second.windows == {POLICY: Window(NOW + WINDOW, 1)}  # which counts in the next minute


def test_one_that_was_held_alone_is_told_as_one() -> None:
    first = decide(fresh(11))
    assert kinds(decide(held(first), NOW + WINDOW, windows=first.windows)) == [("single", 1)]


def test_policies_have_windows_of_their_own() -> None:
    decided = decide([*fresh(12), *fresh(2, policy=OTHER)])
    assert Counter(told.policy_id for told in decided.messages) == {POLICY: 10, OTHER: 2}
    assert all(hold.deliveries[0].policy_id == POLICY for hold in decided.holds)


@pytest.mark.parametrize("limit", [0, 1])
def test_the_smallest_limit_still_tells_everything(limit: int) -> None:
    first = decide(fresh(5), limit=limit)
    assert kinds(first) == [("single", 1)]
    assert kinds(decide(held(first), NOW + WINDOW, limit=limit, windows=first.windows)) == [("burst", 4)]


def test_a_clock_that_was_set_back_holds_nothing_for_longer_than_a_minute() -> None:
    window = Window(NOW + timedelta(days=1), 10)
    assert kinds(decide(fresh(1), windows={POLICY: window})) == [("single", 1)]


def test_a_first_failure_is_told_and_its_repeats_are_held_until_an_hour_after() -> None:
    first = decide(fresh())
    told_at = {(POLICY, FLOW): NOW}
    later = decide(fresh(repeats=True), NOW + timedelta(minutes=1), told_at=told_at)
    assert kinds(first) == [("single", 1)]
    assert kinds(later) == []
    assert [(hold.held_for, hold.until) for hold in later.holds] == [(REPEAT, NOW + REPEAT_EVERY)]


def test_a_failure_after_a_success_is_news() -> None:
    assert kinds(decide(fresh(repeats=False), told_at={(POLICY, FLOW): NOW})) == [("single", 1)]


def test_repeats_are_held_against_what_is_told_in_the_same_look() -> None:
    decided = decide([*fresh(), *fresh(3, repeats=True)])
    assert kinds(decided) == [("single", 1)]
    assert len(held(decided)) == 3


def test_a_repeat_of_what_was_never_told_is_told() -> None:
    assert kinds(decide(fresh(repeats=True))) == [("single", 1)]
    assert kinds(decide(fresh(repeats=True), told_at={(POLICY, FLOW): NOW - REPEAT_EVERY})) == [("single", 1)]


def test_a_summary_is_made_for_each_deployment() -> None:
    other = uuid7()
    waiting = [
        *(Waiting(uuid7(), POLICY, FLOW, True, REPEAT) for _ in range(59)),
        *(Waiting(uuid7(), POLICY, other, True, REPEAT) for _ in range(2)),
    ]
    assert kinds(decide(waiting)) == [("repeat", 59), ("repeat", 2)]


def test_summaries_of_many_deployments_become_one_message_too() -> None:
    waiting = [Waiting(uuid7(), POLICY, subject, True, REPEAT) for subject in [uuid7() for _ in range(30)] * 2]
    first = decide(waiting)
    assert kinds(first) == [("repeat", 2)] * 10
    assert kinds(decide(held(first), NOW + WINDOW, windows=first.windows)) == [("burst", 40)]


def day_of_failures(successes: set[int]) -> list[tuple[int, str, int]]:
    """Run a minute schedule that fails each time but these minutes; return (minute, kind, count) of the messages."""
    waiting: dict[datetime, list[Waiting]] = {}
    told_at: dict[tuple[UUID, UUID], datetime] = {}
    windows: dict[UUID, Window] = {}
    messages = []
    for minute in range(180):
        now = NOW + timedelta(minutes=minute)
        if any(until <= now for until in waiting):  # what is held for the same deployment joins
            due = [one for until in list(waiting) for one in waiting.pop(until)]
        else:
            due = []
        if minute not in successes:
            due += fresh(repeats=minute > 0 and minute - 1 not in successes)
        decided = decide(due, now, windows=windows, told_at=told_at)
        windows |= decided.windows
        for told in decided.messages:
            messages.append((minute, str(told.kind), len(told.deliveries)))
            told_at[POLICY, FLOW] = now
        for until, one in held_until(decided):
            waiting.setdefault(until, []).append(one)
    return messages


def test_a_minute_schedule_that_always_fails_is_told_once_an_hour() -> None:
    assert day_of_failures(set()) == [(0, "single", 1), (60, "repeat", 59), (120, "repeat", 60)]


def test_a_success_in_between_makes_the_next_failure_news() -> None:
    assert day_of_failures({30}) == [(0, "single", 1), (31, "single", 1), (60, "repeat", 57), (120, "repeat", 60)]


@settings(deadline=None)
@given(
    steps=st.lists(
        st.tuples(
            st.integers(0, 40), st.booleans(), st.integers(0, 2), st.sampled_from([0.0, 1.0, 20.0, 61.0, 1800.0])
        ),
        max_size=30,
    ),
    limit=st.integers(0, 5),
)
def test_nothing_is_ever_lost_or_told_twice_and_no_minute_has_too_much(
    steps: list[tuple[int, bool, int, float]], limit: int
) -> None:
    subjects = [uuid7() for _ in range(3)]
    now, all_ids, told_ids, times = NOW, [], [], []
    waiting: list[tuple[datetime, Waiting]] = []
    windows: dict[UUID, Window] = {}
    told_at: dict[tuple[UUID, UUID], datetime] = {}
    for number, repeats, subject, seconds in [*steps, *[(0, False, 0, 3700.0)] * 3]:
        now += timedelta(seconds=seconds)
        new = fresh(number, repeats=repeats, subject=subjects[subject])
        all_ids += [one.id for one in new]
        due = [one for until, one in waiting if until <= now] + new
        waiting = [(until, one) for until, one in waiting if until > now]
        decided = decide(due, now, limit=limit, windows=windows, told_at=told_at)
        windows |= decided.windows
        for told in decided.messages:
            times.append(now)
            told_ids += [one.id for one in told.deliveries]
            told_at |= {(POLICY, one.subject): now for one in told.deliveries}
            assert (told.kind == Message.Kind.SINGLE) == (len(told.deliveries) == 1)
        waiting += held_until(decided)
        assert all(now < until <= now + REPEAT_EVERY for until, _ in waiting)
    assert sorted(told_ids) == sorted(all_ids)
    for begin in times:  # a minute that lies across two windows has at most what both allow
        assert sum(begin <= time < begin + WINDOW for time in times) <= 2 * max(1, limit)
