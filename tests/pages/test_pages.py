"""Pages as a client sees them: whose rows, at what cost, what they say when empty, what their buttons do."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from flows.models import Deployment, Flow, Schedule
from runs.models import FlowRun
from teams.models import Membership, SignInLink, Team, User
from tests.pages import sample

LISTS = ["/", "/runs/", "/runs/?tab=upcoming", "/flows/", "/deployments/"]


@pytest.fixture
def made(db: None) -> dict[str, Any]:
    return sample.typical()


def addresses(made: dict[str, Any]) -> list[str]:
    """Every page about something."""
    run, deployment = made["failed"].id, made["deployments"]["flights"].id
    schedule = Schedule.objects.filter(deployment=deployment).first()
    return [
        *LISTS,
        *(f"/runs/{run}/{query}" for query in ("", "?tab=tasks", "?tab=parameters", "?tab=attempts", "?level=30&q=x")),
        f"/runs/{made['running'].id}/",
        f"/runs/{run}/traceback/",
        f"/flows/{made['flows']['flights'].id}/",
        f"/deployments/{deployment}/",
        *(
            f"/deployments/{deployment}/{page}/"
            for page in ("run", "edit", "duplicate", "delete", "schedules/new", "backfill")
        ),
        f"/schedules/{schedule.id}/",
        "/schedules/preview/?kind=cron&cron=0+8+*+*+1",
        f"/deployments/{deployment}/backfill/?from=2026-11-01T00:00",
        f"/deployments/{deployment}/backfills/backfill-12345678/",
        "/calendars/",
        "/calendars/new/",
        "/preferences/",
    ]


def text(response: Any) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", response.content.decode()))


def test_every_page_answers(reader: Client, made: dict[str, Any]) -> None:
    for address in addresses(made):
        assert reader.get(address).status_code == 200, address


def test_pages_need_a_sign_in(client: Client, made: dict[str, Any]) -> None:
    for address in addresses(made):
        response = client.get(address, headers={"host": "localhost"})
        assert response.status_code == 302, address
        assert response.url.startswith("/sign-in/?next="), address


def test_rows_of_other_teams_are_not_there(made: dict[str, Any]) -> None:
    stranger = User.objects.create_user("stranger", password="x")
    Membership.objects.create(user=stranger, team=Team.objects.create(name="other"))
    client = Client(headers={"host": "localhost"})
    client.force_login(stranger)
    for address in LISTS:
        assert "flights" not in client.get(address).content.decode(), address
    for address in addresses(made):
        if re.match(r"/(runs|flows|deployments|schedules)/[0-9a-f]{8}", address):
            assert client.get(address).status_code == 404, address
    run = made["failed"].id
    for verb in ("cancel", "retry", "rerun"):
        assert client.post(f"/runs/{run}/{verb}/").status_code == 404


def test_lists_cost_the_same_however_long(reader: Client, made: dict[str, Any]) -> None:
    def queries(address: str) -> int:
        with CaptureQueriesContext(connection) as captured:
            assert reader.get(address).status_code == 200
        return len(captured)

    pages = [*LISTS, f"/flows/{made['flows']['flights'].id}/", f"/deployments/{made['deployments']['flights'].id}/"]
    before = {address: queries(address) for address in pages}
    now = timezone.now()
    for index in range(12):
        flow = Flow.objects.create(team=made["team"], name=f"more-{index}")
        deployment = Deployment.objects.create(
            team=made["team"], flow=flow, name="one", entrypoint="a.py:a", queue=made["deployments"]["flights"].queue
        )
        Schedule.objects.create(deployment=deployment, kind="interval", expression="60")
        for ago in range(1, 4):
            sample.make_run(flow, now - timedelta(minutes=ago), 1, deployment=deployment)
        sample.make_run(flow, now, None, "RUNNING", deployment=deployment)
        sample.make_run(made["flows"]["flights"], now, 1, "FAILED", deployment=made["deployments"]["flights"])
    assert {address: queries(address) for address in pages} == before
    assert all(number <= 18 for number in before.values()), before


def test_a_run_with_10_000_task_runs_costs_no_more_rows(reader: Client, made: dict[str, Any]) -> None:
    run = sample.make_run(made["flows"]["flights"], timezone.now() - timedelta(minutes=1), None, "RUNNING")
    sample.make_task_runs(run, "square", ["COMPLETED"] * 9990 + ["FAILED"] * 10, 0.1, 0.01, lanes=10)
    with CaptureQueriesContext(connection) as captured:
        response = reader.get(f"/runs/{run.id}/")
    assert "10,000 task runs" in text(response)
    assert "9,990 of" in text(response)
    assert "×10,000" in text(response)
    assert "9,997 more" in text(response)
    assert len(captured) <= 17
    assert len(response.content) < 60_000


def test_run_says_its_duration_in_context(reader: Client, made: dict[str, Any]) -> None:
    said = text(reader.get(f"/runs/{made['completed'].id}/"))
    assert "took 48.2 s" in said
    assert re.search(r"usually \d+ to \d+ s", said)
    assert "21 task runs completed" in said


def test_failure_shows_its_error_and_traceback(reader: Client, made: dict[str, Any]) -> None:
    said = text(reader.get(f"/runs/{made['failed'].id}/"))
    assert "OperationalError : connection timed out" in said
    assert "warehouse.py&quot;, line 17, in connect" in said


@pytest.mark.parametrize(
    ("address", "command"),
    [
        ("/", "python hello.py"),
        ("/", "orchestrator deploy hello.py:hello --name daily"),
        ("/runs/", "python your_script.py"),
        ("/runs/?tab=upcoming", "orchestrator deploy hello.py:hello --name daily --cron"),
        ("/flows/", "orchestrator deploy your_script.py:your_flow"),
        ("/deployments/", "orchestrator deploy your_script.py:your_flow"),
    ],
)
def test_empty_pages_say_what_to_type(reader: Client, address: str, command: str) -> None:
    assert command in reader.get(address).content.decode()


def test_filters(reader: Client, made: dict[str, Any]) -> None:
    flights = made["flows"]["flights"].id
    only_failed = reader.get("/runs/?state=failed").content.decode()
    assert "Failed" in only_failed
    assert 'class="state completed"' not in only_failed
    by_flow = reader.get(f"/runs/?flow={flights}&state=running").content.decode()
    assert made["running"].name in by_flow
    assert "new-thing" not in re.search(r'data-region="rows".*', by_flow, re.DOTALL)[0]
    assert str(made["running"].id) in reader.get("/runs/?tag=warehouse").content.decode()
    assert "No run matches" in reader.get("/runs/?q=nothing-is-called-so").content.decode()
    assert str(made["failed"].id) in reader.get(f"/runs/?q={made['failed'].id}").content.decode()
    assert "Failed" in reader.get("/runs/?state=FAILED").content.decode()
    for nothing in ("?flow=flights", "?state=x", "?since=x", "?deployment=x"):
        assert "No run matches" in reader.get(f"/runs/{nothing}").content.decode()
        assert "No run matches" in reader.get(f"/runs/all/delete/{nothing}").content.decode()
    for odd in ("?flow=x", "?cursor=x", "?cursor=2026-01-01_x", "?state=x", "?since=x", "?from=x", "?parent=1"):
        assert reader.get(f"/runs/{odd}").status_code == 200


def test_older_pages_show_every_run_once(reader: Client, made: dict[str, Any]) -> None:
    seen: list[str] = []
    address = "/runs/"
    while address:
        page = reader.get(address).content.decode()
        seen += re.findall(r'<li data-key="([0-9a-f-]{36})"', page)
        older = re.search(r'href="([^"]+)" rel="next"', page)
        address = older[1].replace("&amp;", "&") if older else ""
    assert len(seen) == len(set(seen)) == FlowRun.objects.without_upcoming(timezone.now()).count()


def test_times_are_in_the_reader_s_zone(reader: Client, made: dict[str, Any]) -> None:
    reader.cookies["timezone"] = "Asia/Tokyo"
    assert "Asia/Tokyo" in reader.get(f"/runs/{made['failed'].id}/").content.decode()
    User.objects.update(time_zone="Europe/Paris")
    assert "Europe/Paris" in reader.get(f"/runs/{made['failed'].id}/").content.decode()
    reader.cookies["timezone"] = "../etc/passwd"
    User.objects.update(time_zone="")
    assert reader.get("/").status_code == 200


def test_log_pages_backwards_and_filters(reader: Client, made: dict[str, Any]) -> None:
    run = sample.make_run(made["flows"]["flights"], timezone.now() - timedelta(minutes=9), 1)
    lines = sample.make_logs(run, ((n * 0.01, 40 if n % 100 == 0 else 20, "x", f"line {n}.") for n in range(700)))
    page = reader.get(f"/runs/{run.id}/").content.decode()
    assert "line 699." in page
    assert "line 400." in page
    assert "line 399." not in page
    older = re.search(r'hx-get="([^"]+/log/[^"]+)"', page)[1].replace("&amp;", "&")
    page = reader.get(older).content.decode()
    assert "line 399." in page
    assert "line 100." in page
    assert "line 99." not in page
    errors = reader.get(f"/runs/{run.id}/?level=40").content.decode()
    assert "line 600." in errors
    assert "line 0." in errors
    assert "line 601." not in errors
    assert reader.get(f"/runs/{run.id}/log/{lines[5].id}/").content == b"line 5."
    assert reader.get(f"/runs/{run.id}/log/?before=x").status_code == 404


def test_a_run_from_the_form(reader: Client, made: dict[str, Any]) -> None:
    deployment = made["deployments"]["flights"]
    address = f"/deployments/{deployment.id}/run/"
    typed = {
        "parameter.year": "2014",
        "parameter.table": "delays",
        "parameter.carriers": '["AA"]',
        "parameter.mode": '"append"',
    }
    response = reader.post(address, typed | {"parameter.year": "soon", "parameter.table": "kept"})
    assert response.status_code == 422
    page = response.content.decode()
    assert "This has to be a whole number" in page
    assert 'value="soon"' in page
    assert 'value="kept"' in page
    response = reader.post(address, typed)
    run = FlowRun.objects.get(id=response.url.split("/")[2])
    assert run.parameters["year"] == 2014
    assert run.parameters["carriers"] == ["AA"]
    assert run.parameters["notify"] is False
    assert run.trigger == "person"
    assert run.created_by == made["admin"]
    again = reader.get(f"{address}?from={run.id}").content.decode()
    assert 'value="2014"' in again
    assert run.name in again


def test_a_deployment_is_edited_duplicated_paused_and_deleted(reader: Client, made: dict[str, Any]) -> None:
    deployment = made["deployments"]["flights"]
    base = f"/deployments/{deployment.id}"
    form = {
        "description": "New words",
        "tags": "a, b",
        "queue": "fast",
        "infrastructure": "in-worker",
        "crash_retries": "2",
        "task_runner": "processes",
        "task_runner_argument": "4",
        "parameter.table": "other",
        "parameter.year": "",
    }
    assert reader.post(f"{base}/edit/", form).status_code == 302
    deployment.refresh_from_db()
    assert (deployment.description, deployment.tags, deployment.queue.name) == ("New words", ["a", "b"], "fast")
    assert (deployment.isolation, deployment.crash_retries) == ("worker", 2)
    assert ">in-worker</a>" in reader.get(f"{base}/").content.decode()
    assert reader.post(f"{base}/edit/", {**form, "infrastructure": "none"}).status_code == 422
    assert reader.post(f"{base}/edit/", {**form, "crash_retries": "many"}).status_code == 422
    assert reader.post(f"{base}/edit/", {**form, "task_runner_argument": "many"}).status_code == 422
    assert deployment.task_runner == "processes:4"
    assert 'value="processes" selected' in reader.get(f"{base}/edit/").content.decode()
    assert deployment.parameters == {"table": "other"}

    taken = reader.post(f"{base}/duplicate/", {"name": "nightly", "parameter.table": "kept"})
    assert taken.status_code == 422
    assert b"already" in taken.content
    assert b'value="kept"' in taken.content
    response = reader.post(f"{base}/duplicate/", {"name": "weekly", "parameter.table": "third"})
    copy = Deployment.objects.get(id=response.url.split("/")[2])
    assert copy.name == "weekly"
    assert copy.parameters["table"] == "third"

    assert reader.post(f"{base}/pause/", {"next": f"{base}/"}).url == f"{base}/"
    deployment.refresh_from_db()
    assert deployment.paused
    reader.post(f"{base}/resume/")
    deployment.refresh_from_db()
    assert not deployment.paused

    assert reader.get(f"{base}/delete/").status_code == 200
    assert Deployment.objects.filter(id=deployment.id).exists()
    assert reader.post(f"{base}/delete/").url == "/deployments/"
    assert not Deployment.objects.filter(id=deployment.id).exists()


def test_a_schedule_is_set_changed_switched_and_deleted(reader: Client, made: dict[str, Any]) -> None:
    deployment = made["deployments"]["exchange-rates"]
    new = f"/deployments/{deployment.id}/schedules/new/"
    weekly = {"kind": "weekly", "days": ["MO"], "time": "08:00", "timezone": "Europe/Paris", "catchup": "latest"}
    wrong = reader.post(new, weekly | {"timezone": "Europe/Pari"})
    assert wrong.status_code == 422
    assert b"Europe/Paris" in wrong.content
    assert reader.post(new, weekly).url == f"/deployments/{deployment.id}/"
    schedule = deployment.schedules.get(kind="weekly")
    assert schedule.expression == "MO 08:00"
    page = text(reader.get(f"/deployments/{deployment.id}/"))
    assert "Every week on Monday at 08:00, Europe/Paris" in page
    cron = {"kind": "cron", "cron": "30 6 * * *", "timezone": "UTC", "catchup": "all"}
    reader.post(f"/schedules/{schedule.id}/", cron)
    schedule.refresh_from_db()
    assert (schedule.kind, schedule.expression, schedule.catchup) == ("cron", "30 6 * * *", "all")
    reader.post(f"/schedules/{schedule.id}/switch/")
    schedule.refresh_from_db()
    assert not schedule.active
    reader.post(f"/schedules/{schedule.id}/delete/")
    assert not Schedule.objects.filter(id=schedule.id).exists()


def test_preview_reads_cron_in_plain_words(reader: Client) -> None:
    good = text(reader.get("/schedules/preview/?kind=cron&cron=0+8+*+*+1&timezone=Europe/Paris"))
    assert "Monday at 08:00" in good
    assert good.count("Mon ") >= 5
    bad = reader.get("/schedules/preview/?kind=cron&cron=often&timezone=UTC").content.decode()
    assert 'class="wrong"' in bad


def test_verbs_return_to_the_page_and_never_to_another_site(reader: Client, made: dict[str, Any]) -> None:
    run = made["failed"].id
    assert reader.post(f"/runs/{run}/retry/", {"next": "/runs/?state=failed"}).url == "/runs/?state=failed"
    assert reader.post(f"/runs/{run}/cancel/", {"next": "https://example.com/"}).url == f"/runs/{run}/"
    assert reader.get(f"/runs/{run}/cancel/").status_code == 405
    rerun = reader.post(f"/runs/{made['completed'].id}/rerun/", {"next": "/"})
    assert FlowRun.objects.get(id=rerun.url.split("/")[2]).rerun_of_id == made["completed"].id


def test_a_verb_that_is_refused_says_why(reader: Client, made: dict[str, Any]) -> None:
    response = reader.post(f"/runs/{made['completed'].id}/cancel/", follow=True)
    assert 'role="alert"' in response.content.decode()


def test_sign_in_by_name_or_address(db: None) -> None:
    User.objects.create_user("ada", email="ada@example.com", password="correct horse")
    for name in ("ada", "ADA@example.com"):
        client = Client(headers={"host": "localhost"})
        wrong = client.post("/sign-in/", {"login": name, "password": "x"})
        assert wrong.status_code == 422
        assert b"orchestrator server url" in wrong.content
        right = client.post("/sign-in/", {"login": name, "password": "correct horse", "next": "/runs/"})
        assert right.url == "/runs/"
        assert client.get("/").status_code == 200
        assert client.post("/sign-out/").url == "/sign-in/"
        assert client.get("/").status_code == 302
    foreign = Client(headers={"host": "localhost"}).post(
        "/sign-in/", {"login": "ada", "password": "correct horse", "next": "//example.com/"}
    )
    assert foreign.url == "/"


def test_a_link_signs_in_once(db: None) -> None:
    code = SignInLink.issue(User.first_admin())
    assert Client(headers={"host": "localhost"}).get(f"/sign-in/{code}/").url == "/"
    again = Client(headers={"host": "localhost"}).get(f"/sign-in/{code}/")
    assert again.status_code == 410
    assert b"orchestrator server url" in again.content


def test_a_link_previewer_s_head_does_not_use_it_up(db: None) -> None:
    code = SignInLink.issue(User.first_admin())
    assert Client(headers={"host": "localhost"}).head(f"/sign-in/{code}/").status_code == 410
    assert Client(headers={"host": "localhost"}).get(f"/sign-in/{code}/").status_code == 302


def test_preferences_are_kept(reader: Client) -> None:
    assert reader.post("/preferences/", {"theme": "dark", "time_zone": "Nowhere/At-all"}).status_code == 422
    reader.post("/preferences/", {"theme": "dark", "time_zone": "Asia/Tokyo"})
    assert User.first_admin().time_zone == "Asia/Tokyo"
    assert 'data-theme="dark"' in reader.get("/").content.decode()
    reader.post("/preferences/", {"theme": "", "time_zone": ""})
    assert 'data-theme="' not in reader.get("/").content.decode()


def test_pages_load_nothing_from_elsewhere_and_have_no_inline_script(reader: Client, made: dict[str, Any]) -> None:
    for address in addresses(made):
        page = reader.get(address).content.decode()
        assert not re.search(r'(src|href)="(https?:)?//', page), address
        assert not re.search(r"<script(?![^>]*\bsrc=)", page), address
        assert not re.search(r"<[^>]+\s(on[a-z]+|style)=", page), address


def test_static_files_are_served_without_collecting_them(db: None, client: Client) -> None:
    for path in ("orchestrator.css", "orchestrator.js", "favicon.svg", "django_htmx/htmx-2.min.js"):
        response = client.get(f"/static/{path}", headers={"host": "localhost"})
        assert response.status_code == 200
        assert len(response.getvalue()) > 100
        response.close()
    assert response.headers["content-type"].startswith("text/javascript")


def test_missing_page_is_in_the_same_look(reader: Client) -> None:
    response = reader.get("/nothing/")
    assert response.status_code == 404
    assert b"orchestrator.css" in response.content


def test_a_run_that_waits_says_what_blocks_it(reader: Client, made: dict[str, Any]) -> None:
    deployment = made["deployments"]["flights"]
    run = FlowRun.objects.create(
        team=deployment.team, flow=deployment.flow, deployment=deployment, queue=deployment.queue, name="stuck-run",
        state_time=timezone.now(), expected_start=timezone.now() - timedelta(minutes=2),
    )  # fmt: skip
    deployment.queue.paused = True
    deployment.queue.save()
    shown = text(reader.get(f"/runs/{run.id}/"))
    assert "Why it is not running Its work queue “default” is paused." in shown
    assert "blocks Work queue" in shown
    assert "Why it is not running" not in text(reader.get(f"/runs/{made['failed'].id}/"))


def test_time_limits_are_written_with_units(reader: Client, made: dict[str, Any]) -> None:
    deployment = made["deployments"]["flights"]
    address = f"/deployments/{deployment.id}/edit/"
    values = {f"parameter.{name}": value for name, value in deployment.parameters.items()}
    sent = {**values, "queue": "default", "late_after_seconds": "5m", "expected_seconds": "90", "on_overrun": "cancel"}
    refused = reader.post(address, {**sent, "deadline_seconds": "soon"})
    assert refused.status_code == 422
    assert "Write a time such as 30s, 5m, 2h or 1d, or nothing." in text(refused)
    assert reader.post(address, {**sent, "deadline_seconds": ""}).status_code == 302
    deployment.refresh_from_db()
    assert (deployment.late_after_seconds, deployment.expected_seconds) == (300, 90)
    assert (deployment.on_overrun, deployment.deadline_seconds) == ("cancel", None)
    assert 'value="5m"' in reader.get(address).content.decode()
    assert "to take 1 m 30 s, else cancelled" in text(reader.get(f"/deployments/{deployment.id}/"))
