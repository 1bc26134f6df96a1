"""How a worker comes by its runs: one suite over both ways, and what only one of them can have."""

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from flows import block_actions
from flows.models import Deployment, Flow, WorkQueue
from orchestrator.sdk.home import Home
from orchestrator.sdk.ids import uuid7
from orchestrator.sdk.states import StateType
from runs import actions, claims, workers
from runs.calls.signing import public_keys
from runs.models import Attempt, FlowRun, Trigger, Worker
from runs.supervision.base import Supervision, Unreachable
from runs.supervision.database import DatabaseSupervision
from runs.supervision.http import HttpSupervision, Refused
from teams.models import ApiToken, Membership, Role, Team, User

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.database]
Made = Callable[..., Supervision]


@pytest.fixture
def team(transactional_db: None) -> Team:
    return Team.default()


@pytest.fixture
def token(team: Team) -> str:
    person = User.objects.create_user("ada")
    Membership.objects.create(user=person, team=team)
    return ApiToken.issue(name="w", user=person, team=team)[1]


@pytest.fixture
def over_http(live_server: Any, token: str, tmp_path: Path) -> Iterator[Callable[..., HttpSupervision]]:
    made = []

    def make(queues: tuple[str, ...] = (), token: str = token) -> HttpSupervision:
        about = {"name": "far", "host": "h2", "pid": 7, "places": 4, "queues": queues}
        made.append(HttpSupervision(Home(tmp_path), live_server.url, token, about))
        return made[-1]

    yield make
    for supervision in made:
        supervision.end_thread()


@pytest.fixture(params=["database", "http"])
def supervise(request: pytest.FixtureRequest, team: Team) -> Made:
    """Makes a supervision of either kind, for a worker that serves queues by name (none: every one)."""
    if request.param == "http":
        make: Made = request.getfixturevalue("over_http")
        return make

    def over_database(queues: tuple[str, ...] = ()) -> Supervision:
        row = Worker(name="far", host="h2", pid=7, places=4)
        row.queues = [str(queue.pk) for queue in workers.queues_named(queues)]
        return DatabaseSupervision(row)

    return over_database


@pytest.fixture
def make_run(team: Team) -> Callable[..., FlowRun]:
    flow = Flow.objects.create(team=team, name="etl")

    def make(queue: str = "default") -> FlowRun:
        row = WorkQueue.objects.get_or_create(team=team, name=queue)[0]
        deployment = Deployment.objects.get_or_create(
            team=team, flow=flow, name=f"on-{queue}", queue=row, entrypoint="/srv/etl.py:etl", crash_retries=1
        )[0]
        return actions.create_flow_run(deployment, trigger=Trigger.API, parameters={})[0]

    return make


def test_a_worker_signs_on_lives_and_signs_off(supervise: Made) -> None:
    supervision = supervise()
    supervision.sign_on()
    row = Worker.objects.get()
    assert (row.name, row.host, row.pid, row.places, row.queues) == ("far", "h2", 7, 4, [])
    assert supervision.leases.length > supervision.leases.renew
    Worker.objects.update(heartbeat_at=timezone.now() - timedelta(minutes=5))
    heard_at = timezone.now()
    supervision.renew({}, heard_at)
    row.refresh_from_db()
    assert row.is_alive(timezone.now())
    assert row.heard_at == heard_at
    supervision.sign_off()
    row.refresh_from_db()
    assert row.stopped_at is not None


def test_what_is_claimed_can_be_run_renewed_and_given_back(supervise: Made, make_run: Callable[..., FlowRun]) -> None:
    supervision = supervise()
    supervision.sign_on()
    assert supervision.claim() is None
    run = make_run()
    queue = WorkQueue.objects.get()
    assignment = supervision.claim()
    assert assignment is not None
    attempt = Attempt.objects.get()
    start = assignment.start
    assert (assignment.run_id, assignment.attempt, assignment.reruns) == (run.pk, 1, True)
    assert (start.run, start.journal, start.entrypoint) == (str(run.pk), str(attempt.journal), "/srv/etl.py:etl")
    assert start.token.startswith("orun_")
    assert (attempt.worker.name, attempt.host) == ("far", "h2")
    assert supervision.celery_queues() == [queue.celery_queue]

    supervision.began(assignment)
    FlowRun.objects.update(lease_expires_at=timezone.now())
    assert supervision.renew({run.pk: 1}).lost == frozenset()
    assert FlowRun.objects.get().lease_expires_at > timezone.now() + timedelta(seconds=10)
    assert supervision.state_names([run.pk, uuid7()]) == {run.pk: "Pending"}
    assert supervision.claim() is None, "it is claimed once"

    supervision.release(assignment)
    run.refresh_from_db()
    assert (run.state_type, run.attempt, run.lease_expires_at) == (StateType.SCHEDULED, 0, None)


def test_free_places_are_claimed_for_at_once_in_the_order_of_the_line(
    supervise: Made, make_run: Callable[..., FlowRun]
) -> None:
    line = [make_run().pk for _ in range(5)]
    supervision = supervise()
    supervision.sign_on()
    first = supervision.claim_some(3)
    assert [assignment.run_id for assignment in first] == line[:3]
    assert [assignment.run_id for assignment in supervision.claim_some(3)] == line[3:]
    assert supervision.claim_some(3) == []
    assert len({assignment.start.journal for assignment in first}) == 3
    assert set(FlowRun.objects.values_list("state_type", "attempt")) == {(StateType.PENDING, 1)}
    assert supervision.renew(dict.fromkeys(line, 1)).lost == frozenset()


def test_a_worker_hears_what_to_cancel_and_what_it_has_lost(supervise: Made, make_run: Callable[..., FlowRun]) -> None:
    supervision = supervise()
    supervision.sign_on()
    cancelled, lost = make_run(), make_run()
    held = {assignment.run_id: assignment.attempt for assignment in iter(supervision.claim, None)}
    FlowRun.objects.filter(pk=cancelled.pk).update(state_type=StateType.RUNNING, state_name="Running")
    actions.cancel_flow_run(cancelled)
    FlowRun.objects.filter(pk=lost.pk).update(attempt=2)
    renewal = supervision.renew(held)
    assert (renewal.cancel, renewal.lost) == ({cancelled.pk}, {lost.pk})


def test_only_the_queues_that_were_named_are_served(supervise: Made, make_run: Callable[..., FlowRun]) -> None:
    make_run()
    theirs = make_run("far-away")
    supervision = supervise(("far-away",))
    supervision.sign_on()
    claimed = [assignment.run_id for assignment in iter(supervision.claim, None)]
    assert claimed == [theirs.pk]
    assert len(supervision.celery_queues()) == 1


def test_a_row_that_was_cleared_away_comes_back_with_the_next_heartbeat(supervise: Made) -> None:
    supervision = supervise()
    supervision.sign_on()
    Worker.objects.all().delete()
    try:
        supervision.renew({})
    except Unreachable:
        supervision.renew({})
    assert Worker.objects.get().is_alive(timezone.now())


# Over HTTP alone


def lose_answer(supervision: HttpSupervision, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the next request reach the server, and its answer nobody."""
    real = supervision._calls._exchange

    def exchange(*words: Any) -> Any:
        real(*words)
        monkeypatch.setattr(supervision._calls, "_exchange", real)
        raise TimeoutError

    monkeypatch.setattr(supervision._calls, "_exchange", exchange)


def test_a_claim_whose_answer_was_lost_is_answered_again(
    over_http: Callable[..., HttpSupervision], make_run: Callable[..., FlowRun], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = make_run(), make_run()
    supervision = over_http()
    supervision.sign_on()
    lose_answer(supervision, monkeypatch)
    with pytest.raises(Unreachable):
        supervision.claim()
    assert Attempt.objects.count() == 1
    FlowRun.objects.filter(pk=first.pk).update(lease_expires_at=timezone.now())
    again = supervision.claim()
    assert again is not None
    assert again.run_id == first.pk
    assert FlowRun.objects.get(pk=first.pk).lease_expires_at > timezone.now() + timedelta(seconds=10)
    then = supervision.claim()
    assert then is not None
    assert (then.run_id, Attempt.objects.count()) == (second.pk, 2)


def test_claims_whose_answer_was_lost_are_answered_again_together(
    over_http: Callable[..., HttpSupervision], make_run: Callable[..., FlowRun], monkeypatch: pytest.MonkeyPatch
) -> None:
    line = [make_run().pk for _ in range(4)]
    supervision = over_http()
    supervision.sign_on()
    lose_answer(supervision, monkeypatch)
    with pytest.raises(Unreachable):
        supervision.claim_some(3)
    FlowRun.objects.filter(pk=line[1]).update(state_type=StateType.CANCELLED, state_name="Cancelled")
    again = supervision.claim_some(3)
    assert sorted(assignment.run_id for assignment in again) == [line[0], line[2]]
    assert [assignment.run_id for assignment in supervision.claim_some(3)] == line[3:]
    assert Attempt.objects.count() == 4


def test_a_claim_that_ended_meanwhile_is_not_answered_with_another_run(
    over_http: Callable[..., HttpSupervision], make_run: Callable[..., FlowRun], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run()
    supervision = over_http()
    supervision.sign_on()
    lose_answer(supervision, monkeypatch)
    with pytest.raises(Unreachable):
        supervision.claim()
    FlowRun.objects.filter(pk=run.pk).update(state_type=StateType.CRASHED, state_name="Crashed", ended_by="lapse")
    make_run()
    assert supervision.claim() is None, "that request is used up"
    assert supervision.claim() is not None


def test_signing_off_gives_back_claims_whose_answer_never_came_and_claims_no_more(
    over_http: Callable[..., HttpSupervision], make_run: Callable[..., FlowRun], monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = [make_run(), make_run()]
    supervision = over_http()
    supervision.sign_on()
    lose_answer(supervision, monkeypatch)
    with pytest.raises(Unreachable):
        supervision.claim_some(2)
    supervision.sign_off()
    for run in runs:
        run.refresh_from_db()
        assert (run.state_type, run.attempt) == (StateType.SCHEDULED, 0)
    assert claims.claim_some(Worker.objects.get(), 1, requests=[uuid7()]) == [], "a request that was late"


def test_another_team_can_neither_claim_nor_speak_for_a_worker(
    over_http: Callable[..., HttpSupervision], make_run: Callable[..., FlowRun]
) -> None:
    run = make_run()
    ours = over_http()
    ours.sign_on()
    eve = User.objects.create_user("eve")
    others = Team.objects.create(name="others")
    Membership.objects.create(user=eve, team=others)
    theirs = over_http(token=ApiToken.issue(name="w", user=eve, team=others)[1])
    theirs.sign_on()
    assert theirs.claim() is None
    assert theirs.renew({run.pk: 1}).lost == {run.pk}, "it was not claimed for it"
    theirs.id = ours.id
    with pytest.raises(Refused):
        theirs._calls.post(f"{ours.id}/claim/", {"requests": [str(uuid7())]})
    with pytest.raises(Refused, match="another team"):
        theirs._calls.post("", {**theirs._about, "id": str(ours.id)})
    assert FlowRun.objects.get().state_type == StateType.SCHEDULED


def test_a_worker_learns_that_the_secret_key_was_rotated(
    over_http: Callable[..., HttpSupervision], settings: Any
) -> None:
    supervision = over_http()
    supervision.sign_on()
    before = supervision.call_keys()
    settings.SECRET_KEY_FALLBACKS, settings.SECRET_KEY = [settings.SECRET_KEY], "another one"
    supervision.renew({})
    assert supervision.call_keys() == public_keys()
    assert supervision.call_keys()[1:] == before[:1]


def test_what_is_said_wrong_is_refused_in_words(over_http: Callable[..., HttpSupervision]) -> None:
    with pytest.raises(Refused, match="no work queue “nowhere”"):
        over_http(("nowhere",)).sign_on()
    supervision = over_http()
    supervision.sign_on()
    for verb, body in (
        ("claim", {"requests": ["x"]}),
        ("claim", {"requests": []}),
        ("claim", {"requests": [str(uuid7())] * 101}),
        ("renew", {"held": {"x": 1}}),
        ("renew", {"held": {str(uuid7()): 0}}),
        ("release", {"run": str(uuid7())}),
        ("claim", {"requests": [str(uuid7())], "more": 1}),
    ):
        with pytest.raises(Refused) as refused:
            supervision._calls.post(f"{supervision.id}/{verb}/", body)
        assert refused.value.status == 400, json.dumps(body)


def test_credentials_of_blocks_are_given_to_an_administrators_worker_alone(
    over_http: Callable[..., HttpSupervision], team: Team, token: str, make_run: Callable[..., FlowRun]
) -> None:
    values = {"registry": "registry.internal", "username": "robot", "password": "hush"}
    block_actions.create_block(team, type="registry-credentials", name="registry", values=values)
    docker = {"image": "registry.internal/etl:7", "registry_credentials": "registry"}
    block_actions.create_block(team, type="docker", name="prod", values=docker)
    deployment = make_run().deployment
    assert deployment is not None
    actions.update_deployment(deployment, infrastructure="prod")

    supervision = over_http()
    supervision.sign_on()
    assignment = supervision.claim()
    assert assignment is not None
    placement = assignment.start.infrastructure
    assert placement is not None
    assert (placement.credentials, placement.settings) == ({}, {})
    assert "an administrator's token" in placement.problem
    supervision.release(assignment)

    Membership.objects.update(role=Role.ADMIN)
    assignment = supervision.claim()
    assert assignment is not None
    assert assignment.start.infrastructure is not None
    assert assignment.start.infrastructure.credentials["registry_credentials"]["password"] == "hush"


def test_credentials_of_a_repository_are_given_to_an_administrators_worker_alone(
    over_http: Callable[..., HttpSupervision], team: Team, token: str, make_run: Callable[..., FlowRun]
) -> None:
    values = {"host": "git.internal", "token": "hush"}
    block_actions.create_block(team, type="git-credentials", name="forge", values=values)
    source = {"kind": "git", "url": "https://git.internal/etl.git", "credentials": "forge"}
    Deployment.objects.filter(pk=make_run().deployment_id).update(source=source, entrypoint="etl.py:etl")

    supervision = over_http()
    supervision.sign_on()
    assignment = supervision.claim()
    assert assignment is not None
    assert assignment.start.source_credentials == {}
    assert assignment.start.infrastructure is not None
    assert "an administrator's token" in assignment.start.infrastructure.problem
    supervision.release(assignment)

    Membership.objects.update(role=Role.ADMIN)
    assignment = supervision.claim()
    assert assignment is not None
    assert assignment.start.source_credentials["token"] == "hush"
    assert assignment.start.infrastructure is None
