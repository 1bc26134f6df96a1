"""What messages say."""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from django.core.exceptions import ValidationError
from django.utils import timezone
from pytest_django import Settings

from notifications import composing, excerpts
from notifications.content import Content, from_json, to_json
from notifications.events import Event
from notifications.models import Delivery, Destination, Message, Policy
from orchestrator.sdk.ids import uuid7
from orchestrator.sdk.states import StateType
from runs.models import Attempt, FlowRun, Log
from tests.notifications.making import Make

AT = datetime(2022, 6, 27, 20, 21, 37, tzinfo=UTC)
NEW_YORK = "America/New_York"
Queries = Callable[[int], AbstractContextManager[Any]]


@pytest.fixture(autouse=True)
def site(settings: Settings) -> None:
    settings.EXTERNAL_URL = "https://orchestrator.example.com"


@pytest.fixture
def destination(make: Make) -> Destination:
    return make.destination(name="#alerts")


@pytest.fixture
def policy(make: Make, destination: Destination) -> Policy:
    return make.policy(destination, name="Failed to #alerts", timezone=NEW_YORK)


@pytest.fixture
def run(make: Make) -> FlowRun:
    return make.run(name="fuzzy-leopard", ended=AT, message="ValueError: no rows")


@pytest.fixture
def told(make: Make, policy: Policy, destination: Destination) -> Callable[..., Content]:
    """Compose the message about an event of a run."""

    def of(run: FlowRun, event: Event = Event.FAILED, **fields: Any) -> Content:
        return composing.of_delivery(made(run, event, **fields))

    def made(run: FlowRun, event: Event, **fields: Any) -> Delivery:
        values = {"event": event, "occurred_at": run.end_time or AT, **fields}
        delivery = make.delivery(policy, destination, run, **values)
        return Delivery.objects.get(pk=delivery.pk)

    return of


def write(run: FlowRun, lines: Iterable[str], level: int = 20, attempt: int = 1, **fields: Any) -> None:
    Log.objects.bulk_create(
        Log(flow_run=run, time=AT, attempt=attempt, level=level, message=line, **fields) for line in lines
    )


# ── one event ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_failure_is_told_in_the_words_that_were_promised(told: Callable[..., Content], run: FlowRun) -> None:
    content = told(run)
    assert content.text == (
        "The fuzzy-leopard run of the new-thing flow entered a failed state at 2022-06-27 16:21:37 EDT\n"
        "ValueError: no rows"
    )
    assert content.title == "fuzzy-leopard of new-thing failed"
    assert (content.event, content.tone) == ("FAILED", "bad")
    assert content.url == f"https://orchestrator.example.com/runs/{run.pk}/"
    assert content.url_label == "Open the run"
    assert content.time == "2022-06-27T20:21:37.000Z"
    assert from_json(to_json(content)) == content


@pytest.mark.parametrize(
    ("zone", "at", "words"),
    [
        (NEW_YORK, AT, "2022-06-27 16:21:37 EDT"),
        (NEW_YORK, datetime(2022, 1, 27, 20, 21, 37, tzinfo=UTC), "2022-01-27 15:21:37 EST"),
        ("Europe/Paris", AT, "2022-06-27 22:21:37 CEST"),
        ("", AT, "2022-06-27 20:21:37 UTC"),
        ("America/Sao_Paulo", AT, "2022-06-27 17:21:37 UTC-03"),
        ("Gone/Nowhere", AT, "2022-06-27 20:21:37 UTC"),
    ],
)
def test_times_carry_the_abbreviation_of_the_zone_at_that_instant(
    told: Callable[..., Content], policy: Policy, run: FlowRun, zone: str, at: datetime, words: str
) -> None:
    Policy.objects.update(timezone=zone)
    assert told(run, occurred_at=at).text.splitlines()[0].endswith(f" at {words}")


@pytest.mark.parametrize(
    ("event", "state", "first_line", "title", "tone"),
    [
        (Event.CRASHED, StateType.CRASHED, "entered a crashed state at 2022-06-27 16:21:37 EDT", "crashed", "bad"),
        (Event.CANCELLED, StateType.CANCELLED, "entered a cancelled state at 2022-06-27 16:21:37 EDT",
         "was cancelled", "neutral"),
        (Event.COMPLETED, StateType.COMPLETED, "entered a completed state at 2022-06-27 16:21:37 EDT",
         "completed", "good"),
        (Event.RECOVERED, StateType.COMPLETED, "completed at 2022-06-27 16:21:37 EDT", "recovered", "good"),
        (Event.LONG_RUNNING, StateType.RUNNING,
         "has been running for 1 m 30 s, since 2022-06-27 16:20:07 EDT", "is running long", "warning"),
    ],
)  # fmt: skip
def test_each_event_has_its_words(
    make: Make, told: Callable[..., Content], event: Event, state: StateType, first_line: str, title: str, tone: str
) -> None:
    run = make.run(state, name="fuzzy-leopard", ended=AT, message="")
    content = told(run, event, occurred_at=AT, reason="")
    assert content.text == f"The fuzzy-leopard run of the new-thing flow {first_line}"
    assert content.title == f"fuzzy-leopard of new-thing {title}"
    assert content.tone == tone


def test_a_recovery_says_after_how_many_failures(make: Make, told: Callable[..., Content]) -> None:
    deployment = make.deployment()
    make.run(StateType.COMPLETED, ended=AT - timedelta(hours=5), deployment=deployment)
    for hours in (4, 3, 1):
        make.run(StateType.FAILED, ended=AT - timedelta(hours=hours), deployment=deployment)
    make.run(StateType.CANCELLED, ended=AT - timedelta(hours=2), deployment=deployment)
    make.run(StateType.FAILED, ended=AT - timedelta(hours=1))  # the flow's, not the deployment's
    run = make.run(StateType.COMPLETED, ended=AT, deployment=deployment)
    assert told(run, Event.RECOVERED).text.endswith(
        "completed at 2022-06-27 16:21:37 EDT, after 3 failed runs since 2022-06-27 12:21:37 EDT"
    )
    retried = make.run(StateType.COMPLETED, ended=AT, attempt=2, flow=make.flow("other"))
    assert told(retried, Event.RECOVERED).text.endswith("completed at 2022-06-27 16:21:37 EDT, on attempt 2")


def test_a_run_that_runs_long_says_what_is_usual(make: Make, told: Callable[..., Content]) -> None:
    for seconds in (600, 660, 700, 720):
        run = make.run(StateType.COMPLETED, ended=AT - timedelta(days=1))
        FlowRun.objects.filter(pk=run.pk).update(start_time=run.end_time - timedelta(seconds=seconds))
    long = make.run(StateType.RUNNING, name="slow-snail", ended=AT)
    FlowRun.objects.filter(pk=long.pk).update(start_time=AT - timedelta(minutes=45))
    assert told(long, Event.LONG_RUNNING, occurred_at=AT, reason="").text == (
        "The slow-snail run of the new-thing flow has been running for 45 m, since 2022-06-27 15:36:37 EDT;"
        " usually it takes 10 to 12 m"
    )


def test_an_attempt_that_another_followed_is_told_as_it_was(told: Callable[..., Content], run: FlowRun) -> None:
    write(run, ["first"], attempt=1, id=_id_at(AT))
    write(run, ["second"], attempt=2, id=_id_at(AT + timedelta(hours=1)))
    later = {"attempt": 2, "state_type": StateType.COMPLETED, "state_message": "fine", "end_time": AT + timedelta(1)}
    FlowRun.objects.filter(pk=run.pk).update(**later)
    content = told(run, attempt=1, occurred_at=AT, reason="no rows")
    assert content.text.endswith("failed state at 2022-06-27 16:21:37 EDT\nno rows")
    assert content.log_lines == ["16:21:37 first"]
    assert content.data["flow_run"]["attempt"] == 1


def test_a_later_attempt_tells_when_itself_began(make: Make, told: Callable[..., Content], policy: Policy) -> None:
    run = make.run(attempt=2, ended=AT)
    Attempt.objects.filter(flow_run=run).update(start_time=AT - timedelta(seconds=10))
    Policy.objects.update(message="{{ flow_run.start_time }} {{ flow_run.duration }} {{ flow_run.attempt }}")
    assert told(run).text == "2022-06-27 16:21:27 EDT 10.0 s 2"


def _id_at(moment: datetime) -> UUID:
    return UUID(int=(int(moment.timestamp() * 1000) << 80) + 1)


def test_a_message_can_be_stored_whatever_a_text_makes(told: Callable[..., Content], run: FlowRun) -> None:
    Policy.objects.update(message="a{{ '\\0\\ud800\\x1b[1m' }}b")
    assert told(run).text == "ab"


def test_lines_behind_many_of_debugging_are_not_looked_for(told: Callable[..., Content], run: FlowRun) -> None:
    write(run, ["far away"])
    write(run, ["detail"] * 998, level=10)
    write(run, ["near"])
    assert told(run).log_lines == ["16:21:37 far away", "16:21:37 near"]
    write(run, ["detail"], level=10)
    assert told(run, event=Event.CRASHED).log_lines == ["16:21:37 near"]


def test_programs_are_told_ids_names_states_times_and_the_address(make: Make, told: Callable[..., Content]) -> None:
    run = make.run(deployment=make.deployment(), ended=AT, tags=["prod"])
    data = told(run).data
    assert data["flow_run"] == {
        "id": str(run.pk),
        "name": run.name,
        "url": f"https://orchestrator.example.com/runs/{run.pk}/",
        "attempt": 1,
        "tags": ["prod"],
        "start_time": "2022-06-27T20:20:07.000Z",
    }
    assert data["flow"] == {"id": str(run.flow_id), "name": "new-thing"}
    assert data["deployment"] == {"id": str(run.deployment_id), "name": "nightly"}
    assert data["state"] == {"type": "FAILED", "name": "Failed", "message": "boom"}
    assert (data["team"]["name"], data["policy"]["name"]) == ("default", "Failed to #alerts")
    assert (data["occurred_at"], data["count"]) == ("2022-06-27T20:21:37.000Z", 1)


def test_without_the_address_of_the_site_there_is_no_link(
    told: Callable[..., Content], run: FlowRun, settings: Settings
) -> None:
    settings.EXTERNAL_URL = settings.API_URL = ""
    content = told(run)
    assert (content.url, content.url_label) == ("", "")
    settings.API_URL = "http://10.0.0.7:4200/"
    assert told(run, attempt=7).url == f"http://10.0.0.7:4200/runs/{run.pk}/"


# ── a policy's own text ──────────────────────────────────────────────────────────────────────────────────────────────


def test_a_policys_own_text_is_told(make: Make, told: Callable[..., Content], policy: Policy) -> None:
    run = make.run(deployment=make.deployment(), name="r", ended=AT, parameters={"day": "Mon"}, tags=["a", "b"])
    Policy.objects.update(
        message="{{ flow }}/{{ deployment.name }} {{ state }} {{ event }}: {{ reason }}"
        " ({{ flow_run.parameters.day }}; {{ flow_run.tags }}; {{ policy }}; {{ team }}; {{ timezone }})\n{{ url }}"
    )
    assert told(run).text == (
        "new-thing/nightly failed Failed: boom (Mon; a, b; Failed to #alerts; default; America/New_York)\n"
        f"https://orchestrator.example.com/runs/{run.pk}/"
    )


def test_the_usual_text_as_a_template_says_the_same(told: Callable[..., Content], run: FlowRun) -> None:
    usual = told(run).text
    Policy.objects.update(message=composing.DEFAULT_MESSAGE)
    assert told(run, attempt=7).text == usual


def test_a_text_that_fails_on_a_run_does_not_keep_it_from_being_told(
    told: Callable[..., Content], run: FlowRun
) -> None:
    Policy.objects.update(message="\n{{ flow_run.parameters.day }}")
    assert told(run).text == (
        "The fuzzy-leopard run of the new-thing flow entered a failed state at 2022-06-27 16:21:37 EDT\n"
        "ValueError: no rows\n\n"
        "(The policy's own text could not be used here: line 2: there is no “day” here.)"
    )


def test_what_runs_say_is_cut_and_made_plain(make: Make, told: Callable[..., Content], policy: Policy) -> None:
    hostile = "\x1b[31m{{ 7*7 }}\x1b[0m\u202e\x00\x07 <!channel>\r\nline" + "x" * 100_000
    hostile = hostile.replace("\x00", "")  # PostgreSQL takes none
    run = make.run(name="evil\nname\x1b[1m", message=hostile, parameters={"a": hostile, "deep": [[[[[[[[1]]]]]]]]})
    usual = told(run, reason=hostile[:2_000]).text
    assert usual.startswith("The evil name run of the new-thing flow entered")
    assert "{{ 7*7 }} <!channel>\nlinexxx" in usual
    assert len(usual) < 2_200
    Policy.objects.update(message="{{ flow_run.parameters.a }}{{ flow_run.parameters.deep }}{{ reason }}")
    text = told(run, attempt=7, reason=hostile[:2_000]).text
    assert text.startswith("{{ 7*7 }} <!channel>\nlinexxx")
    assert not {"\x1b", "\u202e", "\x07", "\r"} & {*usual, *text}
    assert len(text) <= 4_000


def test_a_message_about_one_event_costs_few_queries(
    make: Make, told: Callable[..., Content], policy: Policy, destination: Destination,
    django_assert_max_num_queries: Queries,
) -> None:  # fmt: skip
    deployment = make.deployment()
    make.runs(40, deployment=deployment, ended=AT - timedelta(hours=1))
    make.runs(5, StateType.COMPLETED, deployment=deployment, ended=AT - timedelta(hours=2))
    run = make.run(StateType.COMPLETED, deployment=deployment, ended=AT, attempt=2)
    for event in Event:
        made = make.delivery(policy, destination, run, event=event)
        delivery = Delivery.objects.get(pk=made.pk)
        with django_assert_max_num_queries(6):
            composing.of_delivery(delivery)


# ── log lines ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_last_log_and_printed_lines_are_told(told: Callable[..., Content], run: FlowRun) -> None:
    write(run, ["an older line"])
    write(run, [f"printed {number}" for number in range(3)], logger="stdout")
    write(run, ["a detail"], level=10)
    write(run, ["disk is full"], level=30)
    write(run, ["it broke\nTraceback (most recent call last):\n  File …\nValueError: no rows"], level=40)
    assert told(run).log_lines == [
        "16:21:37 printed 0",
        "16:21:37 printed 1",
        "16:21:37 printed 2",
        "16:21:37 WARNING disk is full",
        "16:21:37 ERROR it broke",
    ]
    Policy.objects.update(log_lines=0)
    assert told(run, attempt=7).log_lines == []


@pytest.mark.parametrize(
    ("message", "line"),
    [
        ("\x1b[1;31mred\x1b[0m and \x1b]8;;http://x\x07link\x1b]8;;\x07", "red and link"),
        ("a\tb   c\nd", "a b c d"),
        ("Traceback (most recent call last):\n  File 1\nKeyError: 'x'\n", "KeyError: 'x'"),
        ("x" * 1_000_000, "x" * 290 + "…"),
        ("\u202eevil\u2066", "evil"),
        ("", ""),
    ],
)
def test_a_log_line_is_one_plain_line_of_300_characters(
    told: Callable[..., Content], run: FlowRun, message: str, line: str
) -> None:
    write(run, [message])
    (shown,) = told(run).log_lines
    assert shown == f"16:21:37 {line}".strip()
    assert len(shown) <= excerpts.MAX_LINE


# ── several events ───────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def gathered(make: Make, policy: Policy, destination: Destination) -> Callable[..., list[Delivery]]:
    """Deliveries of runs that failed, a second apart, as the database holds them."""

    def made(number: int, at: datetime = AT, **fields: Any) -> list[Delivery]:
        deliveries = make.deliveries(policy, destination, number, at=at, **fields)
        for index, delivery in enumerate(deliveries):
            delivery.occurred_at = at + timedelta(seconds=index % 60)
        Delivery.objects.bulk_update(deliveries, ["occurred_at"], batch_size=100)
        return list(Delivery.objects.filter(pk__gte=deliveries[0].pk))

    return made


def test_a_burst_says_how_many_and_of_what_with_links(make: Make, gathered: Callable[..., list[Delivery]]) -> None:
    nightly = make.deployment("nightly", make.flow("etl"))
    deliveries = [*gathered(30, deployment=nightly), *gathered(7)]
    content = composing.of_several(deliveries[:37], Message.Kind.BURST)
    assert content.title == "37 runs failed"
    assert content.text == (
        "37 runs failed between 16:21 and 16:22 EDT\n"
        "The policy “Failed to #alerts” puts what exceeds 10 a minute together."
    )
    base = "https://orchestrator.example.com/runs/?state=failed"
    flow = make.flow()
    assert [(item.text, item.count, item.url) for item in content.items] == [
        ("etl/nightly", 30, f"{base}&deployment={nightly.pk}"),
        ("new-thing", 7, f"{base}&flow={flow.pk}"),
    ]
    assert (content.url, content.url_label) == (base, "Open the runs")
    assert (content.data["count"], content.data["events"]) == (37, {"FAILED": 37})
    assert content.time == "2022-06-27T20:22:06.000Z"
    assert from_json(to_json(content)) == content


def test_a_burst_of_different_events_counts_each(gathered: Callable[..., list[Delivery]]) -> None:
    several = [*gathered(3), *gathered(2, event=Event.COMPLETED), *gathered(1, event=Event.CRASHED)][-9:]
    unique = list({one.pk: one for one in several}.values())
    content = composing.of_several(unique, Message.Kind.BURST)
    assert content.title == "6 runs: 3 failed, 2 completed and 1 crashed"
    assert content.text.startswith("6 runs at 16:21 EDT: 3 failed, 2 completed and 1 crashed\n")
    assert (content.event, content.tone) == ("CRASHED", "bad")


def test_a_burst_names_the_ten_most_frequent(make: Make, gathered: Callable[..., list[Delivery]]) -> None:
    for number in range(14):
        gathered(20 - number, deployment=make.deployment(f"d{number}"))
    content = composing.of_several(Delivery.objects.all(), Message.Kind.BURST)
    assert [(item.text, item.count) for item in content.items[:2]] == [("new-thing/d0", 20), ("new-thing/d1", 19)]
    assert len(content.items) == 10
    assert (content.items[-1].text, content.items[-1].count) == ("5 others", 11 + 10 + 9 + 8 + 7)
    assert sum(item.count for item in content.items) == Delivery.objects.count()


def test_repeats_say_how_often_and_since_when(make: Make, gathered: Callable[..., list[Delivery]]) -> None:
    deployment = make.deployment("prod", make.flow("nightly"))
    make.run(StateType.COMPLETED, deployment=deployment, ended=AT - timedelta(hours=2))
    deliveries = gathered(59, deployment=deployment)
    content = composing.of_several(deliveries, Message.Kind.REPEAT)
    assert content.title == "The nightly/prod deployment failed 59 more times"
    assert content.text == (
        "The nightly/prod deployment failed 59 more times between 16:21 and 16:22 EDT;"
        " it has not completed since 2022-06-27 14:21:37 EDT\nThe last time: boom"
    )
    assert content.items == []
    assert content.url.endswith(f"/runs/?state=failed&deployment={deployment.pk}")
    make.run(StateType.COMPLETED, deployment=deployment, ended=AT + timedelta(minutes=5))
    assert "; it completed at 2022-06-27 16:26:37 EDT\n" in composing.of_several(deliveries, "repeat").text


def test_repeats_of_a_flow_that_never_completed(gathered: Callable[..., list[Delivery]]) -> None:
    text = composing.of_several(gathered(2), Message.Kind.REPEAT).text
    assert text.startswith("The new-thing flow failed 2 more times at 16:21 EDT; it has never completed\n")


def test_repeats_of_a_deployment_that_was_deleted(make: Make, gathered: Callable[..., list[Delivery]]) -> None:
    deployment = make.deployment()
    deliveries = gathered(2, deployment=deployment)
    deployment.delete()
    content = composing.of_several(deliveries, Message.Kind.REPEAT)
    assert content.title == "A deployment that was deleted failed 2 more times"
    assert composing.of_several(deliveries, Message.Kind.BURST).items[0].text == "a deployment that was deleted"


def test_several_over_midnight_say_the_dates(gathered: Callable[..., list[Delivery]]) -> None:
    midnight = datetime(2022, 6, 28, 3, 59, 30, tzinfo=UTC)
    text = composing.of_several(gathered(60, at=midnight), Message.Kind.BURST).text
    assert "between 2022-06-27 23:59 and 2022-06-28 00:00 EDT" in text


def test_one_that_was_held_alone_is_told_as_one(gathered: Callable[..., list[Delivery]]) -> None:
    (delivery,) = gathered(1)
    assert composing.of_several([delivery], Message.Kind.BURST).title.endswith("of new-thing failed")


def test_a_thousand_events_cost_no_more_queries_than_two(
    make: Make, gathered: Callable[..., list[Delivery]], django_assert_max_num_queries: Queries
) -> None:
    deliveries = gathered(1_000, deployment=make.deployment())
    assert len(deliveries) == 1_000
    for some in (deliveries[:2], deliveries):
        for kind in (Message.Kind.BURST, Message.Kind.REPEAT):
            fresh = list(Delivery.objects.filter(pk__in=[one.pk for one in some[:2]])) + some[2:]
            with django_assert_max_num_queries(5):
                content = composing.of_several(fresh, kind)
            assert content.data["count"] == len(some)


def test_a_message_keeps_the_id_that_it_is_given(
    gathered: Callable[..., list[Delivery]], told: Callable[..., Content]
) -> None:
    id, deliveries = uuid7(), gathered(2)
    assert composing.of_several(deliveries, Message.Kind.BURST, id).id == str(id)
    assert composing.of_delivery(deliveries[0], id).id == str(id)
    assert composing.of_delivery(deliveries[0]).id != composing.of_delivery(deliveries[0]).id


def test_what_is_left_of_a_deleted_policy_can_still_be_told(gathered: Callable[..., list[Delivery]]) -> None:
    deliveries = gathered(2)
    for delivery in deliveries:
        delivery.policy = None
    assert composing.of_delivery(deliveries[0]).text.endswith("failed state at 2022-06-27 20:21:37 UTC\nboom")
    assert composing.of_several(deliveries, Message.Kind.BURST).text == "2 runs failed at 20:21 UTC"


# ── previews and tests ───────────────────────────────────────────────────────────────────────────────────────────────


def test_a_preview_of_an_unsaved_policy_tells_of_a_real_run(make: Make, run: FlowRun) -> None:
    write(run, ["one", "two"])
    draft = Policy(team=make.team, name="draft", events=["FAILED"], message="{{ flow_run }}!", log_lines=1)
    content = composing.preview(draft, run)
    assert (content.text, content.log_lines, content.event) == ("fuzzy-leopard!", ["20:21:37 two"], "FAILED")
    assert not Delivery.objects.exists()


@pytest.mark.parametrize(
    ("events", "state", "event"),
    [
        (["FAILED", "COMPLETED"], StateType.COMPLETED, "COMPLETED"),
        (["FAILED"], StateType.COMPLETED, "FAILED"),
        (["COMPLETED", "RECOVERED"], StateType.COMPLETED, "COMPLETED"),
        (["RECOVERED"], StateType.COMPLETED, "RECOVERED"),
        (["LONG_RUNNING"], StateType.RUNNING, "LONG_RUNNING"),
        ([], StateType.CRASHED, "FAILED"),
    ],
)
def test_a_preview_takes_the_event_that_fits_the_run(
    make: Make, events: list[str], state: StateType, event: str
) -> None:
    assert composing.preview(Policy(team=make.team, events=events), make.run(state)).event == event


def test_a_preview_of_a_recovery(make: Make) -> None:
    make.run(StateType.FAILED, ended=AT - timedelta(hours=1))
    run = make.run(StateType.COMPLETED, ended=AT)
    content = composing.preview(Policy(team=make.team, events=["COMPLETED", "RECOVERED"]), run)
    assert content.event == "RECOVERED"
    assert "after 1 failed run since 2022-06-27 19:21:37 UTC" in content.text


@pytest.mark.parametrize(
    ("event", "text"),
    [
        (Event.FAILED, "entered a failed state at 2022-06-27 16:21:37 EDT\nValueError: no rows"),
        (Event.COMPLETED, "entered a completed state at 2022-06-27 16:21:37 EDT"),
        (Event.RECOVERED, "completed at 2022-06-27 16:21:37 EDT, after 3 failed runs since 2022-06-27 15:36:37 EDT"),
        (Event.LONG_RUNNING, "has been running for 45 m, since 2022-06-27 15:36:37 EDT;"
         " usually it takes 10 to 12 m"),
        (Event.LATE, "is late (seen at 2022-06-27 16:21:37 EDT)\nIt has not begun 5 m after its time."),
    ],
)  # fmt: skip
def test_a_preview_without_a_run_tells_of_one_that_might_be(make: Make, event: Event, text: str) -> None:
    policy = Policy(team=make.team, events=[event.value], timezone=NEW_YORK)
    content = composing.preview(policy, None)
    assert content.text == f"The fuzzy-leopard run of the new-thing flow {text}"
    policy.message = "{{ state }}, {{ event }}, {{ time }}, {{ timezone }}"
    state = {"COMPLETED": "completed", "RECOVERED": "completed", "LONG_RUNNING": "running", "LATE": "scheduled"}.get(
        event, "failed"
    )
    assert composing.preview(policy, None).text == f"{state}, {event.label}, 2022-06-27 16:21:37 EDT, {NEW_YORK}"


def test_a_preview_of_a_mistake_says_its_line(make: Make, run: FlowRun) -> None:
    draft = Policy(team=make.team, events=["FAILED"], message="a\n{{ nmae }}")
    for of in (run, None):
        with pytest.raises(ValidationError) as refused:
            composing.preview(draft, of)
        assert refused.value.message_dict["message"][0].startswith("line 2: there is no “nmae”")


def test_tests_are_marked_as_tests(policy: Policy, destination: Destination, run: FlowRun) -> None:
    plain = composing.test_content(destination)
    assert (plain.event, plain.tone) == ("TEST", "neutral")
    assert "“#alerts”" in plain.text
    assert plain.url == "https://orchestrator.example.com/notifications/"
    real = composing.policy_test_content(policy, destination, run)
    assert (real.event, real.title) == ("TEST", "Test: fuzzy-leopard of new-thing failed")
    assert real.text.endswith("ValueError: no rows\n\n(This is a test of the policy “Failed to #alerts”.)")
    assert real.data["would_be"] == "FAILED"
    sample = composing.policy_test_content(policy, destination, None)
    assert sample.event == "TEST"
    assert "The fuzzy-leopard run" in sample.text
    assert "this one is made up" in sample.text


def test_a_run_that_runs_is_previewed_as_of_now(make: Make) -> None:
    run = make.run(StateType.RUNNING, ended=timezone.now())
    content = composing.preview(Policy(team=make.team, events=["LONG_RUNNING"]), run)
    assert "has been running for 1 m 3" in content.text
