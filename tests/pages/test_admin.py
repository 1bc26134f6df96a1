"""The administration: it looks, it saves through the verbs, and it says what a verb refuses."""

from typing import Any

import pytest
from django.contrib import admin
from django.test import Client
from django.urls import reverse

from flows.models import Schedule, WorkQueue
from runs.models import FlowRun
from teams.models import ApiToken, Membership, Team, User
from tests.pages import sample


@pytest.fixture
def made(db: None) -> dict[str, Any]:
    made = sample.typical()
    ApiToken.issue(name="ci", user=made["admin"], team=made["team"])
    return made


def address(row: Any, page: str = "change") -> str:
    return reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_{page}", args=[row.pk] if page != "add" else [])


def form_of(reader: Client, row: Any, **changes: Any) -> dict[str, Any]:
    """The values of a change form as they stand, with some changed."""
    form = reader.get(address(row)).context["adminform"].form
    values = {name: form[name].value() for name in form.fields}
    return {name: value for name, value in values.items() if value not in (None, False)} | changes


def test_every_list_and_form_answers(reader: Client, made: dict[str, Any]) -> None:
    assert reader.get(reverse("admin:index")).status_code == 200
    for model in admin.site._registry:
        assert (
            reader.get(reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")).status_code == 200
        )
        if row := model._default_manager.first():
            assert reader.get(address(row)).status_code == 200, model


def test_it_uses_the_one_sign_in(client: Client, db: None) -> None:
    response = client.get("/admin/", headers={"host": "localhost"})
    assert response.url.endswith("?next=/admin/")
    assert client.get(response.url, headers={"host": "localhost"}).url == "/sign-in/?next=%2Fadmin%2F"


def test_who_is_no_administrator_is_kept_out(db: None) -> None:
    client = Client(headers={"host": "localhost"})
    client.force_login(User.objects.create_user("ada"))
    assert client.get("/admin/", follow=True).status_code == 403


def test_deployment_is_changed_and_paused_through_verbs(reader: Client, made: dict[str, Any]) -> None:
    deployment = made["deployments"]["flights"]
    form = form_of(reader, deployment, description="Said here", paused="on", parameters='{"table": "x"}', tags="[]")
    assert reader.post(address(deployment), form).status_code == 302
    deployment.refresh_from_db()
    assert (deployment.description, deployment.paused, deployment.parameters) == ("Said here", True, {"table": "x"})


def test_what_a_verb_refuses_is_said(reader: Client, made: dict[str, Any]) -> None:
    deployment = made["deployments"]["flights"]
    form = form_of(reader, deployment, parameters='{"year": "soon"}', tags="[]", description="Typed at length")
    response = reader.post(address(deployment), form)
    assert response.status_code == 200
    shown = response.context["adminform"].form
    assert "whole number" in " ".join(shown.errors["parameters"])
    assert (shown["description"].value(), shown["parameters"].value()) == ("Typed at length", '{"year": "soon"}')
    assert "Typed at length" in response.content.decode()
    deployment.refresh_from_db()
    assert deployment.parameters["year"] == 2013


def test_deleting_a_deployment_takes_its_upcoming_runs(reader: Client, made: dict[str, Any]) -> None:
    deployment = made["deployments"]["flights"]
    upcoming = FlowRun.objects.filter(deployment=deployment, state_type="SCHEDULED")
    assert upcoming.exists()
    ids = list(upcoming.values_list("id", flat=True))
    assert reader.post(address(deployment, "delete"), {"post": "yes"}).status_code == 302
    assert not FlowRun.objects.filter(id__in=ids, state_type="SCHEDULED").exists()


def test_schedules_are_added_and_changed_through_verbs(reader: Client, made: dict[str, Any]) -> None:
    deployment = made["deployments"]["flights"]
    new = {
        "deployment": str(deployment.pk), "kind": "cron", "expression": "0  6 * * *", "timezone": "UTC",
        "catchup": "latest", "parameters": "{}", "active": "on",
    }  # fmt: skip
    assert reader.post(address(Schedule(), "add"), new).status_code == 302
    schedule = deployment.schedules.get(kind="cron")
    assert schedule.expression == "0 6 * * *"
    refused = reader.post(address(schedule), form_of(reader, schedule, expression="often", parameters="{}"))
    assert refused.context["adminform"].form.errors["expression"]
    schedule.refresh_from_db()
    assert schedule.expression == "0 6 * * *"
    reader.post(address(schedule), form_of(reader, schedule, expression="0 7 * * *", parameters="{}"))
    schedule.refresh_from_db()
    assert schedule.expression == "0 7 * * *"


def test_a_queue_is_paused_and_resumed(reader: Client, made: dict[str, Any]) -> None:
    queue = WorkQueue.default(made["team"])
    for paused in (True, False):
        form = form_of(reader, queue)
        form.pop("paused", None)
        reader.post(address(queue), form | ({"paused": "on"} if paused else {}))
        queue.refresh_from_db()
        assert queue.paused is paused


def test_a_new_user_is_a_member_of_the_default_team(reader: Client, made: dict[str, Any]) -> None:
    form = {"username": "ada", "password1": "correct horse", "password2": "correct horse", "usable_password": "true"}
    assert reader.post(address(User(), "add"), form).status_code == 302
    user = User.objects.get(username="ada")
    assert user.check_password("correct horse")
    assert Membership.objects.filter(user=user, team=Team.default()).exists()


def test_runs_are_cancelled_together(reader: Client, made: dict[str, Any]) -> None:
    chosen = [
        str(made["completed"].id),
        *map(str, FlowRun.objects.filter(state_type="SCHEDULED").values_list("id", flat=True)),
    ]
    form = {"action": "cancel", "_selected_action": chosen}
    response = reader.post(reverse("admin:runs_flowrun_changelist"), form, follow=True)
    assert "9 runs are being cancelled" in response.content.decode()
    made["completed"].refresh_from_db()
    assert made["completed"].state_type == "COMPLETED"


def test_a_revoked_token_is_gone(reader: Client, made: dict[str, Any]) -> None:
    token = ApiToken.objects.get()
    reader.post(address(token, "delete"), {"post": "yes"})
    assert not ApiToken.objects.exists()
