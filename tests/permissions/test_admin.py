"""The administration, by everybody: who sees which list and row, who may add, change and delete, and do what is there.

One table of what each model takes. A row that somebody may not see is not found; what somebody sees and may not do is
refused with 403, or, of a list's rows, in words.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from django.apps import apps
from django.contrib import admin
from django.db import transaction
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from django_celery_beat.models import IntervalSchedule, PeriodicTask

from flows.models import Deployment, WorkQueue
from notifications.models import Delivery, Destination, Message
from orchestrator.sdk.ids import uuid7
from runs.models import ConcurrencyLimit, FlowRun, Slot, TaskRun
from teams import actions, audit, members, sharing
from teams.models import ApiToken, AuditEntry, Team, User
from teams.rights import OF_ROLE, Level
from tests.permissions.world import World

pytestmark = pytest.mark.django_db
READ, RUN, EDIT, ADMIN = Level.READ, Level.RUN, Level.EDIT, Level.ADMIN


@dataclass
class Takes:
    """The levels that a model takes; None: nobody may. `site`: site administrators alone."""

    see: Level = READ
    add: Level | None = None
    change: Level | None = None
    delete: Level | None = None
    actions: dict[str, Level] = field(default_factory=dict)
    site: bool = False


TAKES = {
    "teams.User": Takes(
        site=True, add=ADMIN, change=ADMIN,
        actions={"deactivate": ADMIN, "reactivate": ADMIN, "remove_second_factor": ADMIN},
    ),
    "teams.Team": Takes(site=True, add=ADMIN, change=ADMIN),
    "teams.ApiToken": Takes(delete=READ, actions={"delete": READ}),  # one's own
    "teams.AuditEntry": Takes(see=ADMIN),
    "teams.Invitation": Takes(see=ADMIN, add=ADMIN, delete=ADMIN, actions={"delete": ADMIN}),
    "teams.GroupMapping": Takes(see=ADMIN, add=ADMIN, change=ADMIN, delete=ADMIN, actions={"delete": ADMIN}),
    "flows.Flow": Takes(),
    "flows.Webhook": Takes(delete=EDIT, actions={"delete": EDIT}),
    "flows.Block": Takes(change=ADMIN, delete=ADMIN, actions={"delete": ADMIN}),
    "flows.Deployment": Takes(
        change=EDIT, delete=EDIT,
        actions={"run": RUN, "pause": EDIT, "resume": EDIT, "set_queue": EDIT, "delete": EDIT},
    ),
    "flows.Schedule": Takes(
        add=EDIT, change=EDIT, delete=EDIT, actions={"activate": EDIT, "deactivate": EDIT, "delete": EDIT}
    ),
    "flows.Calendar": Takes(add=EDIT, change=EDIT, delete=EDIT, actions={"delete": EDIT}),
    "flows.WorkQueue": Takes(
        add=EDIT, change=EDIT, delete=EDIT, actions={"pause": EDIT, "resume": EDIT, "delete": EDIT}
    ),
    "runs.FlowRun": Takes(delete=EDIT, actions={"cancel": RUN, "retry": RUN, "delete": EDIT}),
    "runs.Attempt": Takes(),
    "runs.TaskRun": Takes(),
    "runs.Worker": Takes(),
    "runs.ConcurrencyLimit": Takes(
        add=ADMIN, change=ADMIN, delete=ADMIN, actions={"reset": ADMIN, "delete": ADMIN}
    ),
    "runs.Slot": Takes(),
    "notifications.Destination": Takes(
        add=EDIT, change=EDIT, delete=EDIT, actions={"test": EDIT, "pause": EDIT, "resume": EDIT, "delete": EDIT}
    ),
    "notifications.Policy": Takes(
        add=EDIT, change=EDIT, delete=EDIT, actions={"pause": EDIT, "resume": EDIT, "delete": EDIT}
    ),
    "notifications.Message": Takes(actions={"send_again": RUN}),
    "notifications.Delivery": Takes(actions={"send_again": RUN}),
    "notifications.Mute": Takes(add=EDIT, change=EDIT, delete=EDIT, actions={"delete": EDIT}),
    "django_celery_beat.PeriodicTask": Takes(site=True),
}  # fmt: skip
#: What changes nothing here, though one may: it is so already, or refused for another reason.
IDLE = {
    ("User", "reactivate"), ("User", "remove_second_factor"), ("Deployment", "resume"), ("Schedule", "activate"),
    ("WorkQueue", "resume"), ("FlowRun", "retry"), ("FlowRun", "delete"), ("Destination", "resume"),
    ("Policy", "resume"),
}  # fmt: skip
PEOPLE = ["site admin", "viewer", "operator", "editor", "admin", "foreign admin", "no staff"]


@pytest.fixture
def full(world: World) -> World:
    """The world with a row of each model, and everybody staff but one."""
    run = FlowRun.objects.filter(state_type="RUNNING").first()
    limit, now = ConcurrencyLimit.objects.get(), timezone.now()
    TaskRun.objects.create(flow_run=run, task="t", key="t", name="t-0", created_at=now)
    Slot.objects.create(limit=limit, flow_run=run, task_run=uuid7(), asked_at=now, granted_at=now)
    there = {"team": world.team, "destination": Destination.objects.get()}
    message = Message.objects.create(**there, state="failed", content={"title": "x", "text": "x"})
    Delivery.objects.update(message=message)
    every = IntervalSchedule.objects.create(every=2, period="seconds")
    PeriodicTask.objects.create(name="tick-of-test", task="x", interval=every)
    for person in world.users.values():
        ApiToken.issue(name="own", user=person, team=world.team)
    audit.record(None, "deployment.pause", Deployment.objects.get())
    world.users["no staff"] = actions.create_user("nostaff", team=world.team, role="admin")
    User.objects.exclude(username="nostaff").update(is_staff=True)
    return world


@contextmanager
def undone() -> Iterator[None]:
    """Take back what is done within."""
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


def page(model: Any, name: str, *args: Any) -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_{name}", args=args)


def level(person: str, takes: Takes, row: Any) -> Level:
    """What a person may do with a row of the team."""
    if person == "site admin":
        return ADMIN
    return Level.NONE if takes.site else OF_ROLE.get(person, Level.NONE)


def row_for(model: Any, person: User) -> Any:
    """A row of the team; of tokens their own."""
    rows = model._default_manager.order_by("pk")
    if model is ApiToken:
        return rows.filter(user=person).first() or rows.first()
    if model is AuditEntry:
        return rows.filter(verb="deployment.pause").first()
    if model is User:
        return rows.get(username="other")
    return rows.filter(name="owners").first() if model is Team else rows.last()


def test_every_model_of_the_administration_is_in_the_table() -> None:
    admin.autodiscover()
    registered = {model._meta.label: row for model, row in admin.site._registry.items()}
    assert set(registered) == set(TAKES)
    assert {label: set(row.actions) for label, row in registered.items()} == {
        label: set(takes.actions) for label, takes in TAKES.items()
    }


@pytest.mark.parametrize("person", PEOPLE)
def test_what_comes_out_is_what_the_table_says(full: World, person: str) -> None:
    client = Client()
    client.force_login(full.users[person])
    wrong = []
    for label, takes in TAKES.items():
        model = apps.get_model(label)
        row = row_for(model, full.users[person])
        for what, came, expected in _knock(client, model, row, takes, person):
            if came != expected:
                wrong.append(f"{label} {what}: {came}, expected {expected}")
    assert not wrong, "\n".join(wrong)


def _knock(client: Client, model: Any, row: Any, takes: Takes, person: str) -> Iterator[tuple[str, Any, Any]]:
    has, is_out = level(person, takes, row), person == "no staff"
    own = model is ApiToken and person != "no staff"
    anywhere = ADMIN if person == "foreign admin" and not takes.site else has  # in their own team
    sees = not is_out and anywhere >= takes.see
    finds = own or (not is_out and has >= takes.see)

    def may(needed: Level | None) -> bool:
        return finds and needed is not None and (own or has >= needed)

    listed = client.get(page(model, "changelist"))
    yield "list", listed.status_code, 302 if is_out else 200 if sees or own else 403
    if listed.status_code == 200:
        shown = {one.pk for one in listed.context["cl"].result_list}
        if person == "foreign admin" and label_is_owned(model):
            yield "rows", shown, set()
        elif not own:
            yield "row in list", row.pk in shown, finds
    may_add = not is_out and takes.add is not None and anywhere >= takes.add
    yield "add", client.get(page(model, "add")).status_code, 302 if is_out else 200 if may_add else 403
    came = client.get(page(model, "change", row.pk)).status_code
    is_led = model is Team and not is_out and not finds  # to its page
    yield "see", came, 302 if is_led else _status(is_out, sees or own, finds)
    with undone():
        came = client.post(page(model, "change", row.pk), {}).status_code
    yield "change", came, 200 if may(takes.change) else _status(is_out, False, finds) if finds else came
    with undone():
        before = model._default_manager.filter(pk=row.pk).exists()
        came = client.post(page(model, "delete", row.pk), {"post": "yes"}).status_code
        yield "delete", came == 302 and finds and not is_out, may(takes.delete)
        yield "is there", before, True
    for action, needed in takes.actions.items():
        yield from _act(client, model, row, action, may(needed), listed)


def _status(is_out: bool, sees: bool, finds: bool) -> int:
    return 302 if is_out or (sees and not finds) else 200 if finds and sees else 403


def label_is_owned(model: Any) -> bool:
    """Whether another team's administrator has none of these: they have a token, and their team's own record."""
    return model not in (ApiToken, AuditEntry)


def _act(client: Client, model: Any, row: Any, action: str, may: bool, listed: Any) -> Iterator[tuple[str, Any, Any]]:
    offered = listed.status_code == 200 and listed.context["action_form"] is not None
    choices = dict(listed.context["action_form"].fields["action"].choices) if offered else {}
    if may:
        yield f"{action} offered", action in choices, True
    count = AuditEntry.objects.count()
    form: dict[str, Any] = {"action": action, "_selected_action": [str(row.pk)], "post": "yes"}
    form["queue"] = str(WorkQueue.objects.get(name="other").pk)
    with undone():
        client.post(page(model, "changelist"), form)
        recorded = AuditEntry.objects.count() - count
    if not may:
        yield f"{action} done", recorded, 0
    elif (model.__name__, action) not in IDLE:
        yield f"{action} done", recorded, 1


def test_an_action_beyond_ones_role_is_refused_in_words(full: World) -> None:
    viewer, foreign = full.users["viewer"], full.users["foreign admin"]
    members.set_role(Team.objects.get(name="others"), viewer, "editor")  # so that the action is offered
    client = Client()
    client.force_login(viewer)
    deployment = Deployment.objects.get()
    form = {"action": "pause", "_selected_action": [str(deployment.pk)]}
    answer = client.post(page(Deployment, "changelist"), form, follow=True)
    assert "Changing takes the role editor in team owners" in answer.content.decode()
    client.force_login(foreign)
    assert "Changing takes" not in client.post(page(Deployment, "changelist"), form, follow=True).content.decode()
    assert not Deployment.objects.get().paused


def test_choices_and_filters_offer_what_one_may_see(full: World) -> None:
    foreign = full.users["foreign admin"]
    others = Team.objects.get(name="others")
    mine = WorkQueue.objects.create(team=others, name="mine")
    client = Client()
    client.force_login(foreign)
    form = client.get(page(WorkQueue, "add")).context["adminform"].form
    assert list(form.fields["team"].queryset) == [others]
    form = client.get(page(apps.get_model("flows.Schedule"), "add")).context["adminform"].form
    assert not form.fields["calendar"].queryset.exists()
    query = {"app_label": "flows", "model_name": "schedule", "field_name": "deployment", "term": ""}
    assert client.get("/admin/autocomplete/", query).json()["results"] == []
    filters = client.get(page(Deployment, "changelist")).context["cl"].filter_specs
    offered = {str(key) for one in filters if hasattr(one, "lookup_choices") for key, _ in one.lookup_choices}
    assert offered <= {str(others.pk), str(mine.pk)} | {key for key in offered if len(key) < 30}


def test_a_deployment_is_not_moved_to_a_queue_of_another_team(full: World) -> None:
    foreign = WorkQueue.objects.create(team=Team.objects.get(name="others"), name="mine")
    client = Client()
    client.force_login(full.users["site admin"])
    deployment = Deployment.objects.get()
    offered = client.get(page(Deployment, "change", deployment.pk)).context["adminform"].form.fields["queue"].queryset
    assert foreign not in offered
    form = {"action": "set_queue", "_selected_action": [str(deployment.pk)], "post": "yes", "queue": str(foreign.pk)}
    assert client.post(page(Deployment, "changelist"), form).context["form"].errors["queue"]


def test_secrets_are_not_found_by_guessing(full: World) -> None:
    client = Client()
    client.force_login(full.users["site admin"])
    for label, lookup in (("teams.ApiToken", "digest__startswith"), ("teams.User", "password__startswith")):
        assert client.get(page(apps.get_model(label), "changelist"), {lookup: "a"}).status_code == 400


def test_whoever_administers_no_site_is_led_to_what_is_theirs(full: World) -> None:
    client = Client()
    client.force_login(full.users["editor"])
    deployment = Deployment.objects.get()
    Deployment.objects.update(created_by=full.users["site admin"])
    shown = client.get(page(Deployment, "change", deployment.pk)).content.decode()
    assert "/admin/teams/user/" not in shown
    assert client.get(page(Team, "change", full.team.pk)).url == reverse("team", args=[full.team.pk])
    history = client.get(page(Deployment, "history", deployment.pk))
    assert history.url.startswith(page(AuditEntry, "changelist"))
    client.force_login(full.users["admin"])
    assert client.get(history.url).status_code == 200


def test_what_is_shared_is_seen_and_changed_at_its_level(full: World) -> None:
    deployment, foreign = Deployment.objects.get(), full.users["foreign admin"]
    client = Client()
    client.force_login(foreign)
    for at, status in ((READ, 403), (EDIT, 302)):
        sharing.share(deployment, at, foreign)
        assert deployment in client.get(page(Deployment, "changelist")).context["cl"].result_list
        assert client.post(page(Deployment, "pause", deployment.pk), {"post": "yes"}).status_code == status
    assert Deployment.objects.get().paused
