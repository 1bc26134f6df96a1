"""Pages of people: teams, tokens, the audit log and shares, as an administrator and as others see them."""

import re
from typing import Any

import pytest
from django.core import mail as outbox
from django.test import Client
from pytest_django import Settings

from flows.models import Deployment, Flow, WorkQueue
from flows.schedules import Spec
from runs import actions as runs
from runs import tag_limits
from runs.models import Trigger
from teams import actions, members
from teams.models import ApiToken, AuditEntry, GroupMapping, Invitation, Membership, Role, Team, User
from teams.templatetags.people import deed

pytestmark = pytest.mark.django_db


@pytest.fixture
def team() -> Team:
    return members.create_team("owners")


@pytest.fixture
def deployment(team: Team) -> Deployment:
    flow = Flow.objects.create(team=team, name="load")
    return Deployment.objects.create(
        team=team, flow=flow, name="nightly", queue=WorkQueue.default(team), entrypoint="a.py:load"
    )


def person(name: str, team: Team, role: Role | str) -> User:
    return User.objects.get(pk=actions.create_user(name, team=team, role=role).pk)


def client_of(user: User) -> Client:
    client = Client(headers={"host": "localhost"})
    client.force_login(user)
    return client


@pytest.fixture
def boss(team: Team) -> Client:
    return client_of(person("boss", team, "admin"))


@pytest.fixture
def viewer(team: Team) -> Client:
    return client_of(person("viewer", team, "viewer"))


def text(response: Any) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", response.content.decode()))


def test_a_member_sees_the_team_and_only_an_admin_what_leads_into_it(team: Team, boss: Client, viewer: Client) -> None:
    members.invite(team, "viewer", email="zoe@example.com")
    page = f"/teams/{team.pk}/"
    assert viewer.get("/teams/").url == page
    assert "boss" in text(viewer.get(page))
    assert "zoe@example.com" not in text(viewer.get(page))
    assert "zoe@example.com" in text(boss.get(page))
    for address in ("rename/", "invite/", "accounts/new/"):
        assert viewer.get(page + address).status_code == 403
        assert boss.get(page + address).status_code == 200
    assert "invite" in text(boss.get(page))  # in the history
    stranger = client_of(person("eve", members.create_team("others"), "admin"))
    assert stranger.get(page).status_code == 404


def test_somebody_is_invited_by_a_link_that_is_shown_once(team: Team, boss: Client, settings: Settings) -> None:
    invite, page = f"/teams/{team.pk}/invite/", f"/teams/{team.pk}/"
    assert boss.post(invite, {"email": "no address", "role": "viewer"}).status_code == 422
    assert boss.post(invite, {"email": "", "role": "king"}).status_code == 422
    assert boss.post(invite, {"email": "", "role": "operator"}).url == page
    link = re.search(r"http://localhost/invitations/[\w-]+/", boss.get(page).content.decode())[0]
    assert members.open_invitation(link.split("/")[-2]).role == "operator"
    assert link not in boss.get(page).content.decode()
    settings.EMAIL_HOST = "mail.example.com"
    boss.post(invite, {"email": "zoe@example.com", "role": "viewer"})
    assert "invites you to the team owners" in outbox.outbox[0].body
    newest = Invitation.objects.latest("created_at")
    boss.post(f"{page}invitations/{newest.pk}/")
    assert not Invitation.objects.filter(pk=newest.pk).exists()


def test_roles_change_and_members_go(team: Team, boss: Client, viewer: Client, deployment: Deployment) -> None:
    one = User.objects.get(username="viewer")
    page = f"/teams/{team.pk}/members/{one.pk}/"
    assert boss.get(page).status_code == 200
    boss.post(page, {"role": "editor"})
    assert Membership.objects.get(user=one).role == "editor"
    last = User.objects.get(username="boss")
    assert boss.post(f"/teams/{team.pk}/members/{last.pk}/", {"role": "viewer"}).status_code == 422
    assert "Remove viewer from owners?" in text(boss.get(f"{page}remove/"))
    assert viewer.get(f"/deployments/{deployment.pk}/").status_code == 200
    boss.post(f"{page}remove/")
    assert viewer.get(f"/deployments/{deployment.pk}/").status_code == 404
    assert boss.post(f"/teams/{team.pk}/leave/").status_code == 422


def test_groups_are_mapped(team: Team, boss: Client) -> None:
    page = f"/teams/{team.pk}/groups/"
    assert boss.post(page, {"group": "", "role": "viewer"}).status_code == 422
    boss.post(page, {"group": "data", "role": "editor"})
    mapping = GroupMapping.objects.get()
    assert (mapping.group, mapping.role) == ("data", "editor")
    boss.post(f"{page}{mapping.pk}/")
    assert not GroupMapping.objects.exists()


def test_teams_are_made_by_site_admins(reader: Client, boss: Client) -> None:
    assert boss.get("/teams/new/").status_code == 403
    assert reader.post("/teams/new/", {"name": " "}).status_code == 422
    made = reader.post("/teams/new/", {"name": "data"})
    assert made.url == f"/teams/{Team.objects.get(name='data').pk}/"
    assert "owners" in text(reader.get("/teams/"))
    reader.post(f"{made.url}rename/", {"name": "facts"})
    assert Team.objects.filter(name="facts").exists()


def test_who_is_in_several_teams_looks_at_one_and_acts_for_it(team: Team, deployment: Deployment) -> None:
    ann = person("ann", team, "editor")
    others = members.create_team("others")
    members.set_role(others, ann, "editor")
    flow = Flow.objects.create(team=others, name="theirs")
    client = client_of(ann)
    both = text(client.get("/flows/"))
    assert "theirs" in both
    assert "load" in both
    assert "All my teams" in both
    client.post("/teams/choose/", {"team": str(others.pk)})
    one = text(client.get("/flows/"))
    assert "theirs" in one
    assert "load" not in one
    assert client.get(f"/deployments/{deployment.pk}/").status_code == 200
    client.post("/work-queues/new/", {"name": "mine"})
    assert WorkQueue.objects.get(name="mine").team == others
    members.remove_member(others, ann)
    assert "load" in text(client.get("/flows/"))
    client.post("/teams/choose/", {"team": ""})
    assert client.post("/teams/choose/", {"team": str(others.pk)}).status_code == 404
    assert flow.team == others


def test_a_token_is_made_shown_once_and_revoked(
    team: Team, viewer: Client, boss: Client, deployment: Deployment
) -> None:
    typed = {"name": "laptop", "scope": "read", "deployment": "load/nightly", "expires": "30"}
    assert viewer.post("/tokens/new/", typed | {"deployment": "none"}).status_code == 422
    assert viewer.post("/tokens/new/", typed | {"name": ""}).status_code == 422
    assert viewer.post("/tokens/new/", typed).url == "/tokens/"
    shown = viewer.get("/tokens/").content.decode()
    secret = re.search(r"orc_[\w-]{30,}", shown)[0]
    assert secret not in viewer.get("/tokens/").content.decode()
    token = ApiToken.objects.get(name="laptop")
    assert (token.scope, token.deployment, token.created_by.username) == ("read", deployment.pk, "viewer")
    assert "load/nightly" in text(viewer.get("/tokens/"))
    assert boss.get(f"/tokens/{token.pk}/revoke/").status_code == 404
    assert "Revoke laptop?" in text(viewer.get(f"/tokens/{token.pk}/revoke/"))
    viewer.post(f"/tokens/{token.pk}/revoke/")
    assert not ApiToken.objects.filter(pk=token.pk).exists()


def test_a_service_account_is_made_with_a_token_and_switched_off(team: Team, boss: Client, viewer: Client) -> None:
    made = boss.post(f"/teams/{team.pk}/accounts/new/", {"name": "ci", "role": "operator"})
    account = User.objects.get(username="ci@owners")
    assert made.url == f"/teams/{team.pk}/accounts/{account.pk}/"
    assert viewer.get(made.url).status_code == 403
    typed = {"name": "deploys", "scope": "run", "deployment": "", "expires": ""}
    assert boss.post(f"{made.url}tokens/new/", typed).url == made.url
    assert "orc_" in text(boss.get(made.url))
    boss.post(f"{made.url}switch/")
    account.refresh_from_db()
    assert not account.is_active
    assert "deactivated" in text(boss.get(made.url))


def test_the_audit_log_is_filtered_paged_and_exported(team: Team, boss: Client, viewer: Client) -> None:
    assert viewer.get("/audit/").status_code == 403
    assert viewer.get("/audit/export/").status_code == 403
    for index in range(60):
        members.rename_team(team, f"name {index}")
    boss.post(f"/teams/{team.pk}/rename/", {"name": "<b>last</b>"})
    first = boss.get("/audit/")
    assert "&lt;b&gt;last" in first.content.decode()
    assert "name: name 59 →" in text(first)
    older = re.search(r'href="(\?[^"]+)" rel="next"', first.content.decode())[1].replace("&amp;", "&")
    assert "name 0" in text(boss.get(f"/audit/{older}"))
    page = text(boss.get("/audit/?user=boss&via=page&since=2020-01-01&until=2100-01-01"))
    assert "rename" in page
    assert "name 58" not in page
    assert "No entry matches" in text(boss.get("/audit/?until=2020-01-01"))
    assert boss.get("/audit/?via=x").status_code == 422
    for odd in ("?cursor=x", "?since=x", "?team=x"):
        assert boss.get(f"/audit/{odd}").status_code in {200, 422}
    exported = boss.get("/audit/export/?as=csv&verb=team.rename").getvalue().decode()
    assert exported.count("team.rename") == AuditEntry.objects.filter(verb="team.rename").count()


def test_a_deployment_is_shared_and_shows_its_history(team: Team, deployment: Deployment, boss: Client) -> None:
    eve = person("eve", members.create_team("others"), "viewer")
    guest = client_of(eve)
    page, shares = f"/deployments/{deployment.pk}/", f"/deployments/{deployment.pk}/shares/"
    assert guest.get(page).status_code == 404
    assert boss.post(shares, {"holder": "nobody", "level": "read"}).status_code == 422
    boss.post(shares, {"holder": "eve", "level": "run"})
    assert boss.post(f"/flows/{deployment.flow_id}/shares/", {"holder": "others", "level": "read"}).status_code == 302
    shown = text(boss.get(page))
    assert "Shared with" in shown
    assert "boss shared" in shown
    assert guest.get(page).status_code == 200
    assert guest.get(shares).status_code == 403
    assert "Shared with Share" not in text(guest.get(page))
    assert "load/nightly" in text(guest.get("/shared/"))
    boss.post(shares, {"take_back": f"deployment.{deployment.pk}.user.{eve.pk}"})
    boss.post(
        f"/flows/{deployment.flow_id}/shares/", {"take_back": f"flow.{deployment.flow_id}.team.{eve.team_ids[0]}"}
    )
    assert guest.get(page).status_code == 404


def test_people_s_pages_have_no_inline_script_or_style(team: Team, boss: Client, deployment: Deployment) -> None:
    account = actions.create_service_account(team, "ci")
    actions.create_token("x", account)
    members.invite(team, "viewer")
    one = f"/teams/{team.pk}/"
    for address in (
        "/tokens/", "/tokens/new/", "/audit/", "/shared/", one, f"{one}invite/", f"{one}rename/", f"{one}leave/",
        f"{one}accounts/{account.pk}/", f"{one}accounts/new/", f"/deployments/{deployment.pk}/shares/",
        f"/flows/{deployment.flow_id}/", f"/work-queues/{deployment.queue_id}/",
    ):  # fmt: skip
        response = boss.get(address)
        assert response.status_code == 200, address
        page = response.content.decode()
        assert not re.search(r"<script(?![^>]*\bsrc=)", page), address
        assert not re.search(r"<[^>]+\s(on[a-z]+|style)=", page), address


def admin_form(user: User, **changes: Any) -> dict[str, Any]:
    """The fields of the administration's form of a user, with their memberships."""
    rows = list(Membership.objects.filter(user=user).order_by("pk"))
    form: dict[str, Any] = {
        "username": user.username, "email": user.email, "time_zone": "", "first_name": "",
        "last_name": "", "last_login_0": "", "last_login_1": "", "memberships-TOTAL_FORMS": len(rows),
        "memberships-INITIAL_FORMS": len(rows),
    }  # fmt: skip
    if user.is_superuser:
        form |= {"is_staff": "on", "is_superuser": "on"}
    for index, row in enumerate(rows):
        names = {"id": row.pk, "user": user.pk, "team": row.team_id, "role": row.role}
        form |= {f"memberships-{index}-{name}": value for name, value in names.items()}
    return {name: value for name, value in (form | changes).items() if value is not None}


def test_the_administration_keeps_people_out_and_gives_roles_as_the_pages_do(reader: Client, team: Team) -> None:
    ann = person("ann", team, "viewer")
    page = f"/admin/teams/user/{ann.pk}/change/"
    changed = {"memberships-0-role": "editor", "email": "ann@example.com"}
    assert reader.post(page, admin_form(ann, **changed)).status_code == 302
    assert reader.post(f"/admin/teams/user/{ann.pk}/deactivate/", {"post": "yes"}).status_code == 302
    ann.refresh_from_db()
    assert not ann.is_active
    assert Membership.objects.get(user=ann).role == "editor"
    verbs = set(AuditEntry.objects.filter(via="admin").values_list("verb", flat=True))
    assert verbs == {"user.change", "user.deactivate", "team.change_role"}
    assert reader.post(page, admin_form(ann, **{"memberships-0-DELETE": "on"})).status_code == 302
    assert not Membership.objects.filter(user=ann).exists()
    assert not ann.groups.exists()
    root = User.first_admin()
    said = reader.post(f"/admin/teams/user/{root.pk}/deactivate/", {"post": "yes"}, follow=True)
    assert "last administrator of the site" in said.content.decode()
    assert User.objects.get(pk=root.pk).is_active


def test_who_is_refused_reads_which_role_it_takes_and_who_can_give_it(
    deployment: Deployment, boss: Client, viewer: Client
) -> None:
    said = "Changing takes the role editor in team owners. Who can give it: boss."
    page = f"/deployments/{deployment.pk}/"
    assert viewer.get(page).status_code == 200
    for address in ("edit/", "duplicate/", "delete/"):
        refused = viewer.get(page + address)
        assert refused.status_code == 403
        assert said in text(refused)
    refused = viewer.patch(f"/api/deployments/{deployment.pk}/", "{}", content_type="application/json")
    assert (refused.status_code, refused.json()) == (403, {"code": "permission_denied", "message": said})
    assert boss.get(page + "edit/").status_code == 200


def test_who_is_in_no_team_is_refused_in_words(db: None) -> None:
    alone = client_of(User.objects.create_user("alone"))
    for address in ("/calendars/new/", "/work-queues/new/", "/concurrency-limits/new/"):
        refused = alone.get(address)
        assert refused.status_code == 403
        assert "You are in no team yet. An administrator can add you to one." in text(refused)


def test_pages_show_what_was_done_to_their_object(team: Team, deployment: Deployment, boss: Client) -> None:
    user = User.objects.get(username="boss")
    schedule = runs.add_schedule(deployment, Spec("cron", "0 8 * * *"), user=user)
    run, _ = runs.create_flow_run(deployment, trigger=Trigger.PERSON, user=user)
    assert "History" in text(boss.get(f"/runs/{run.pk}/"))  # that it was made
    runs.cancel_flow_run(run, user=user)
    made = tag_limits.create_limit(team, tag="db", limit=1, user=user)
    for address, said in {
        f"/runs/{run.pk}/": "boss cancelled",
        f"/schedules/{schedule.pk}/": "boss added",
        f"/deployments/{deployment.pk}/": "boss added schedule",
        f"/concurrency-limits/{made.pk}/": "boss created",
        "/account/": "Orchestrator created",
    }.items():
        assert said in text(boss.get(address)), address


@pytest.mark.parametrize(
    ("verb", "said"),
    {
        "deployment.change_limit": "changed limit", "flow_run.retry": "retried", "deployment.deploy": "deployed",
        "flow_run.cancel": "cancelled", "user.sign_in": "signed in", "team.map_group": "mapped group",
        "schedule.delete": "deleted", "deployment.undo_backfill": "undid backfill",
    }.items(),
)  # fmt: skip
def test_deeds_are_told_in_the_past(verb: str, said: str) -> None:
    assert deed(verb) == said
