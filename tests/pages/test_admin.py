"""The administration: it looks, it saves through the verbs, and it says what a verb refuses."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from django.contrib import admin
from django.forms import MultiWidget
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django import Settings

from flows.models import Deployment, Schedule, WorkQueue
from notifications.models import Delivery, Destination, Message, Mute, Policy
from orchestrator.encryption import Secret
from runs.models import ConcurrencyLimit, FlowRun
from teams.models import ApiToken, AuditEntry, Invitation, Membership, Team, User
from tests.notifications.receiving import Receiver, Reply
from tests.pages import sample


@pytest.fixture
def made(db: None) -> dict[str, Any]:
    made = sample.typical()
    ApiToken.issue(name="ci", user=made["admin"], team=made["team"])
    return made


@pytest.fixture
def receiver(settings: Settings) -> Iterator[Receiver]:
    settings.ALLOW_PRIVATE_ADDRESSES = True
    receiver = Receiver()
    yield receiver
    receiver.close()


def address(row: Any, page: str = "change") -> str:
    return reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_{page}", args=[row.pk] if page != "add" else [])


def form_of(reader: Client, row: Any, **changes: Any) -> dict[str, Any]:
    """The values of a change form as they stand, with its rows of others, and some changed."""
    context = reader.get(address(row)).context
    values = _values(context["adminform"].form)
    for inline in context["inline_admin_formsets"]:
        for form in (inline.formset.management_form, *inline.formset.initial_forms):
            values |= _values(form)
    return values | changes


def _values(form: Any) -> dict[str, Any]:
    values = {}
    for bound in form:
        value, widget = bound.value(), bound.field.widget
        if isinstance(widget, MultiWidget):
            parts = enumerate(widget.decompress(value))
            values |= {f"{bound.html_name}_{number}": part for number, part in parts if part is not None}
        elif value is not None and value is not False:
            values[bound.html_name] = value
    return values


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
        "on_day_off": "skip", "catchup": "latest", "parameters": "{}", "active": "on",
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
    asked = reader.post(reverse("admin:runs_flowrun_changelist"), form)
    assert "Cancel: 10 flow runs" in asked.content.decode()
    assert not FlowRun.objects.filter(state_type="CANCELLED").exists()
    response = reader.post(reverse("admin:runs_flowrun_changelist"), {**form, "post": "yes"}, follow=True)
    assert "9 flow runs are being cancelled" in response.content.decode()
    made["completed"].refresh_from_db()
    assert made["completed"].state_type == "COMPLETED"


def test_a_revoked_token_is_gone(reader: Client, made: dict[str, Any]) -> None:
    token = ApiToken.objects.get()
    reader.post(address(token, "delete"), {"post": "yes"})
    assert not ApiToken.objects.exists()


@pytest.fixture
def told(made: dict[str, Any]) -> dict[str, Any]:
    """A policy with a destination, and a message about the newest run that could not be delivered."""
    team, run = made["team"], FlowRun.objects.filter(state_type="FAILED").first()
    config = Secret.of({"url": "https://hooks.slack.com/services/T0/B0/s3cr3t"})
    destination = Destination.objects.create(team=team, name="#data", kind="slack", config=config, summary="slack/…")
    policy = Policy.objects.create(team=team, name="broken", events=["FAILED"], flows=[run.flow.slug])
    policy.destinations.add(destination)
    there = {"team": team, "policy": policy, "destination": destination}
    answers = [{"at": "2026-01-01T00:00:00Z", "ok": False, "text": "404 no_service", "seconds": 0.1}]
    content = {"title": "It failed", "text": "It failed at noon."}
    message = Message.objects.create(**there, state="failed", tries=1, answers=answers, content=content)
    event = {"flow_run": run, "attempt": 1, "event": "FAILED", "occurred_at": timezone.now(), "subject": run.flow_id}
    delivery = Delivery.objects.create(**there, **event, message=message)
    return {"destination": destination, "policy": policy, "message": message, "delivery": delivery, "run": run}


def test_notifications_are_listed_and_read(reader: Client, told: dict[str, Any]) -> None:
    Mute.objects.create(deployment=Deployment.objects.first(), until=timezone.now() + timedelta(hours=1))
    test_every_list_and_form_answers(reader, told)
    message = reader.get(address(told["message"])).content.decode()
    assert "It failed at noon." in message
    assert "404 no_service" in message
    assert told["run"].name in message
    listed = reverse("admin:notifications_delivery_changelist")
    for status, count in (("failed", 1), ("waiting", 0)):
        shown = reader.get(listed, {"status": status, "q": told["run"].name}).context["cl"]
        assert len(shown.result_list) == count


def test_a_destinations_address_is_entered_and_never_shown(reader: Client, made: dict[str, Any]) -> None:
    url = "https://hooks.slack.com/services/T0/B0/s3cr3tpart"
    new = {"team": str(made["team"].pk), "kind": "slack", "name": "#data", "address": url, "secret": ""}
    response = reader.post(address(Destination(), "add"), new, follow=True)
    destination = Destination.objects.get()
    assert destination.config.reveal()["url"] == url
    form = reader.get(address(destination)).content.decode()
    assert "s3cr3tpart" not in response.content.decode() + form
    assert reader.post(address(destination), {"name": "#alerts", "address": "", "secret": ""}).status_code == 302
    destination.refresh_from_db()
    assert (destination.name, destination.config.reveal()["url"]) == ("#alerts", url)


def test_a_refused_destination_keeps_its_name_and_not_its_address(reader: Client, made: dict[str, Any]) -> None:
    new = {"team": str(made["team"].pk), "kind": "slack", "name": "#data", "address": "s3cr3t nonsense", "secret": ""}
    response = reader.post(address(Destination(), "add"), new)
    form = response.context["adminform"].form
    assert form.errors["address"]
    assert form["name"].value() == "#data"
    assert "s3cr3t nonsense" not in response.content.decode()
    assert not Destination.objects.exists()


def test_a_webhooks_signing_secret_is_shown_once(reader: Client, made: dict[str, Any]) -> None:
    new = {
        "team": str(made["team"].pk),
        "kind": "webhook",
        "name": "",
        "address": "https://example.com/h",
        "secret": "",
    }
    shown = reader.post(address(Destination(), "add"), new, follow=True).content.decode()
    secret = Destination.objects.get().config.reveal()["secret"]
    assert secret in shown
    assert secret not in reader.get(address(Destination.objects.get())).content.decode()


def test_a_policy_is_made_changed_and_paused_through_verbs(reader: Client, told: dict[str, Any]) -> None:
    flow = told["run"].flow.slug
    new = {
        "team": str(told["policy"].team_id), "name": "", "events": ["FAILED", "RECOVERED"], "flows": f"{flow}\n",
        "deployments": "", "tags": "prod\nEU", "send_to": [str(told["destination"].pk)], "message": "{{ flow.name }}",
        "log_lines": "3", "timezone": "Europe/Paris", "burst_limit": "10", "long_running_seconds": "",
    }  # fmt: skip
    assert reader.post(address(Policy(), "add"), new).status_code == 302
    policy = Policy.objects.exclude(pk=told["policy"].pk).get()
    assert (policy.events, policy.flows, policy.tags) == (["FAILED", "RECOVERED"], [flow], ["prod", "EU"])
    assert list(policy.destinations.all()) == [told["destination"]]
    changed = {**new, "name": "renamed", "tags": "", "paused": "on"}
    assert reader.post(address(policy), changed).status_code == 302
    policy.refresh_from_db()
    assert (policy.name, policy.tags, policy.paused, policy.log_lines) == ("renamed", [], True, 3)


def test_a_refused_policy_keeps_what_was_typed(reader: Client, told: dict[str, Any]) -> None:
    policy = told["policy"]
    form = {
        "name": "kept", "events": ["FAILED"], "flows": "no-such-flow", "send_to": [str(told["destination"].pk)],
        "message": "{{ flow.nmae }}", "log_lines": "5", "burst_limit": "10",
    }  # fmt: skip
    shown = reader.post(address(policy), form).context["adminform"].form
    assert "line 1" in shown.errors["message"][0]
    assert "no-such-flow" in shown.errors["flows"][0]
    assert (shown["name"].value(), shown["flows"].value()) == ("kept", "no-such-flow")
    policy.refresh_from_db()
    assert policy.name == "broken"


def test_messages_and_deliveries_are_sent_again(reader: Client, told: dict[str, Any]) -> None:
    for row in (told["message"], told["delivery"]):
        Message.objects.update(state="failed")
        form = {"action": "send_again", "_selected_action": [str(row.pk)]}
        page = reverse(f"admin:notifications_{row._meta.model_name}_changelist")
        assert f"1 {row._meta.verbose_name} is sent again" in reader.post(page, form, follow=True).content.decode()
        assert Message.objects.get().state == "waiting"
        assert "waits to be sent already" in reader.post(page, form, follow=True).content.decode()


def test_destinations_are_paused_and_tried_from_the_list(
    reader: Client, told: dict[str, Any], receiver: Receiver
) -> None:
    page = reverse("admin:notifications_destination_changelist")
    chosen = [str(told["destination"].pk)]
    for verb, paused in (("pause", True), ("resume", False)):
        reader.post(page, {"action": verb, "_selected_action": chosen})
        assert (Destination.objects.get().paused_at is not None) is paused
    Destination.objects.update(config=Secret.of({"url": f"{receiver.url}/hook"}))
    receiver.then(Reply(404, b"no_service"), path="/hook")
    assert (
        "no_service" in reader.post(page, {"action": "test", "_selected_action": chosen}, follow=True).content.decode()
    )


def test_a_mute_is_made_and_deleted_through_verbs(reader: Client, made: dict[str, Any]) -> None:
    deployment = made["deployments"]["flights"]
    new = {"deployment": str(deployment.pk), "until_0": "2020-01-01", "until_1": "08:00", "reason": "moving"}
    refused = reader.post(address(Mute(), "add"), new).context["adminform"].form
    assert refused.errors["until"]
    soon = timezone.localtime() + timedelta(days=1)
    form = {**new, "until_0": f"{soon:%Y-%m-%d}", "until_1": f"{soon:%H:%M}"}
    assert reader.post(address(Mute(), "add"), form).status_code == 302
    mute = Mute.objects.get()
    assert (mute.reason, mute.created_by) == ("moving", User.first_admin())
    assert reader.post(address(mute, "delete"), {"post": "yes"}).status_code == 302
    assert not Mute.objects.exists()


def test_a_change_is_written_down_with_what_was_before(reader: Client, made: dict[str, Any]) -> None:
    deployment = made["deployments"]["flights"]
    reader.post(address(deployment), form_of(reader, deployment, description="Said here", tags="[]"))
    entry = AuditEntry.objects.get(verb="deployment.change")
    assert (entry.via, entry.changes["description"]) == ("admin", ["", "Said here"])


def test_schedules_are_changed_on_the_page_of_their_deployment(reader: Client, made: dict[str, Any]) -> None:
    deployment = made["deployments"]["flights"]
    form = form_of(reader, deployment, **{"schedules-0-expression": "MO 03:00", "schedules-TOTAL_FORMS": 2})
    new = {
        "kind": "cron", "expression": "0 6 * * *", "timezone": "UTC", "active": "on", "on_day_off": "skip",
        "catchup": "latest", "parameters": "{}",
    }  # fmt: skip
    form |= {f"schedules-1-{name}": value for name, value in new.items()}
    assert reader.post(address(deployment), form).status_code == 302
    assert set(deployment.schedules.values_list("expression", flat=True)) == {"MO 03:00", "0 6 * * *"}
    wrong = form_of(reader, deployment, **{"schedules-1-expression": "often"})
    shown = reader.post(address(deployment), wrong).context["inline_admin_formsets"][0].formset
    assert shown.forms[1].errors["expression"]
    gone = form_of(reader, deployment, **{"schedules-0-DELETE": "on"})
    assert reader.post(address(deployment), gone).status_code == 302
    assert list(deployment.schedules.values_list("expression", flat=True)) == ["0 6 * * *"]
    verbs = AuditEntry.objects.filter(verb__startswith="schedule.").order_by("id").values_list("verb", flat=True)
    assert list(verbs) == ["schedule.change", "schedule.add", "schedule.delete"]


def test_a_deployment_is_run_paused_and_duplicated_from_its_page(reader: Client, made: dict[str, Any]) -> None:
    deployment = made["deployments"]["flights"]

    def page(deed: str) -> str:
        return reverse(f"admin:flows_deployment_{deed}", args=[deployment.pk])

    assert "Run: 1 deployment" in reader.get(page("run")).content.decode()
    assert not FlowRun.objects.filter(trigger="person", state_type="SCHEDULED").exists()
    for deed, typed in (("run", {}), ("pause", {}), ("duplicate", {"name": "copy"})):
        assert reader.post(page(deed), {"post": "yes", **typed}).status_code == 302, deed
    deployment.refresh_from_db()
    assert FlowRun.objects.filter(trigger="person", state_type="SCHEDULED").exists()
    assert deployment.paused
    assert Deployment.objects.filter(flow=deployment.flow, name="copy").exists()
    taken = reader.post(page("duplicate"), {"post": "yes", "name": "copy"}, follow=True)
    assert "already" in taken.content.decode()


def test_deployments_change_queue_together(reader: Client, made: dict[str, Any]) -> None:
    queue = WorkQueue.objects.create(team=made["team"], name="slow")
    chosen = [str(pk) for pk in Deployment.objects.values_list("pk", flat=True)]
    form = {"action": "set_queue", "_selected_action": chosen, "post": "yes", "queue": str(queue.pk)}
    page = reader.post(reverse("admin:flows_deployment_changelist"), form, follow=True).content.decode()
    assert f"{len(chosen)} deployments are on that queue now" in page
    assert not Deployment.objects.exclude(queue=queue).exists()


def test_a_limit_is_made_changed_and_reset(reader: Client, made: dict[str, Any]) -> None:
    new = {"team": str(made["team"].pk), "tag": "db", "limit": "2"}
    assert reader.post(address(ConcurrencyLimit(), "add"), new).status_code == 302
    limit = ConcurrencyLimit.objects.get()
    assert reader.post(address(limit), {"limit": "3"}).status_code == 302
    form = {"action": "reset", "_selected_action": [str(limit.pk)]}
    asked = reader.post(reverse("admin:runs_concurrencylimit_changelist"), form).content.decode()
    assert "Every slot that is held is freed" in asked
    reader.post(reverse("admin:runs_concurrencylimit_changelist"), {**form, "post": "yes"})
    verbs = AuditEntry.objects.order_by("id").values_list("verb", flat=True)
    assert list(verbs) == ["concurrency_limit.create", "concurrency_limit.change", "concurrency_limit.reset"]


def test_people_are_changed_each_thing_by_its_verb(reader: Client, made: dict[str, Any]) -> None:
    ada = User.objects.create_user("ada", email="ada@example.com")
    form = form_of(reader, ada, first_name="Ada", is_staff="on", is_active="")  # is no field
    assert reader.post(address(ada), form).status_code == 302
    ada.refresh_from_db()
    assert (ada.first_name, ada.is_staff, ada.is_active) == ("Ada", True, True)
    verbs = AuditEntry.objects.order_by("id").values_list("verb", flat=True)
    assert list(verbs) == ["user.change", "user.set_standing"]
    form = {"action": "deactivate", "_selected_action": [str(ada.pk)]}
    asked = reader.post(reverse("admin:teams_user_changelist"), form).content.decode()
    assert "signed out everywhere" in asked
    assert User.objects.get(pk=ada.pk).is_active
    reader.post(reverse("admin:teams_user_changelist"), {**form, "post": "yes"})
    assert not User.objects.get(pk=ada.pk).is_active


def test_the_last_administrator_of_the_site_stays_one(reader: Client, made: dict[str, Any]) -> None:
    admin_of_site = made["admin"]
    form = form_of(reader, admin_of_site)
    del form["is_superuser"]
    shown = reader.post(address(admin_of_site), form).context["adminform"].form
    assert "last administrator" in " ".join(shown.errors["is_superuser"])
    assert User.objects.get(pk=admin_of_site.pk).is_superuser


def test_a_password_set_here_is_written_down(reader: Client, made: dict[str, Any]) -> None:
    ada = User.objects.create_user("ada")
    page = reverse("admin:auth_user_password_change", args=[ada.pk])
    assert "Sessions that were begun" in reader.get(page).content.decode()
    weak = reader.post(page, {"post": "yes", "password": "123", "again": "123"}, follow=True)
    assert "too short" in weak.content.decode()
    typed = {"post": "yes", "password": "correct horse 9", "again": "correct horse 9"}
    assert reader.post(page, typed).status_code == 302
    ada.refresh_from_db()
    assert ada.check_password("correct horse 9")
    assert AuditEntry.objects.get(verb="user.set_password").subject_id == str(ada.pk)
    own = reverse("admin:auth_user_password_change", args=[made["admin"].pk])
    reader.post(own, typed)
    assert reader.get(reverse("admin:index")).status_code == 200  # and is signed in still


def test_a_lost_second_factor_is_removed(reader: Client, made: dict[str, Any]) -> None:
    ada = User.objects.create_user("ada")
    for kind in ("totp", "recovery_codes"):
        Authenticator.objects.create(user=ada, type=kind, data={})
    form = {"action": "remove_second_factor", "_selected_action": [str(ada.pk)], "post": "yes"}
    page = reader.post(reverse("admin:teams_user_changelist"), form, follow=True)
    assert "without a second factor now" in page.content.decode()
    assert not Authenticator.objects.filter(user=ada).exists()
    assert AuditEntry.objects.get(verb="user.remove_second_factor").subject_name == "ada"


def test_an_invitations_link_is_shown_once(reader: Client, made: dict[str, Any]) -> None:
    new = {"team": str(made["team"].pk), "role": "viewer", "email": ""}
    shown = reader.post(address(Invitation(), "add"), new, follow=True).content.decode()
    assert "/invitations/" in shown
    invitation = Invitation.objects.get()
    assert "/invitations/" not in reader.get(address(invitation)).content.decode()
    reader.post(address(invitation, "delete"), {"post": "yes"})
    assert not Invitation.objects.exists()


def test_lists_of_runs_are_read_in_few_queries(
    reader: Client, made: dict[str, Any], django_assert_max_num_queries: Any
) -> None:
    for name, most in (("runs_flowrun", 12), ("runs_taskrun", 10), ("runs_attempt", 10), ("teams_auditentry", 10)):
        with django_assert_max_num_queries(most) as asked:
            reader.get(reverse(f"admin:{name}_changelist"))
        assert not [one for one in asked.captured_queries if "COUNT(" in one["sql"]], name


def test_an_uncounted_list_ends_where_its_rows_do(reader: Client, made: dict[str, Any]) -> None:
    listed = reverse("admin:runs_flowrun_changelist")
    first = reader.get(listed).context["cl"]
    page = first.paginator.page(1)
    assert (len(first.result_list), page.has_next()) == (30, True)
    assert not first.paginator.page(5).has_next()
    assert reader.get(listed, {"p": "335"}).status_code == 302  # beyond what is read quickly


def test_the_audit_log_is_searched_by_verb_and_by_person(reader: Client, made: dict[str, Any]) -> None:
    deployment = made["deployments"]["flights"]
    reader.post(reverse("admin:flows_deployment_pause", args=[deployment.pk]), {"post": "yes"})
    listed = reverse("admin:teams_auditentry_changelist")
    for term, count in (("deployment.pause", 1), ("deployment.resume", 0), ("admin", 1), ("nobody", 0)):
        assert len(reader.get(listed, {"q": term}).context["cl"].result_list) == count, term
