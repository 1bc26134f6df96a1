"""Teams, people, service accounts, shares and the audit log over REST."""

import csv
import io
import json
import re

import pytest
from django.core import mail as outbox
from django.utils import timezone
from pytest_django import Settings
from rest_framework.test import APIClient

from flows.models import Deployment
from teams import members
from teams.models import Invitation, Membership, Role, Team, User
from tests.api.conftest import client_of


@pytest.fixture
def boss(team: Team) -> User:
    person = User.objects.create_user("boss")
    members.set_role(team, person, Role.ADMIN)
    return person


@pytest.fixture
def boss_api(boss: User) -> APIClient:
    return client_of(boss)


@pytest.fixture
def root_api(team: Team) -> APIClient:
    person = User.objects.create_superuser("root")
    members.set_role(team, person, Role.ADMIN)
    return client_of(person)


def test_teams_are_made_by_site_admins_and_seen_by_members(
    root_api: APIClient, boss_api: APIClient, api: APIClient, strange_api: APIClient, team: Team
) -> None:
    assert boss_api.post("/api/teams/", {"name": "data"}).status_code == 403
    made = root_api.post("/api/teams/", {"name": "data"})
    assert (made.status_code, made.data["role"]) == (201, "admin")
    assert root_api.post("/api/teams/", {"name": "data"}).status_code == 400
    assert [row["name"] for row in root_api.get("/api/teams/").data["results"]] == ["data", "default", "others"]
    assert [row["name"] for row in api.get("/api/teams/").data["results"]] == ["default"]
    one = f"/api/teams/{team.pk}/"
    assert strange_api.get(one).status_code == 404
    refused = api.patch(one, {"name": "x"})
    assert (refused.status_code, "role admin" in refused.data["message"]) == (403, True)
    assert boss_api.patch(one, {"name": "crew"}).data["name"] == "crew"


def test_members_come_change_role_and_go(
    boss_api: APIClient, api: APIClient, strange_api: APIClient, user: User, team: Team
) -> None:
    members_url = f"/api/teams/{team.pk}/members/"
    assert strange_api.get(members_url).status_code == 404
    listed = {row["username"]: row["role"] for row in api.get(members_url).data["results"]}
    assert listed == {"ada": "editor", "boss": "admin"}
    one = f"{members_url}{user.pk}/"
    assert api.patch(one, {"role": "admin"}).status_code == 403
    assert boss_api.patch(one, {"role": "viewer"}).data["role"] == "viewer"
    assert boss_api.post(members_url, {"user": "ada", "role": "operator"}).data["role"] == "operator"
    assert boss_api.post(members_url, {"user": "nobody", "role": "operator"}).data["field"] == "user"
    assert boss_api.patch(one, {"role": "king"}).status_code == 400
    boss = User.objects.get(username="boss")
    assert boss_api.delete(f"{members_url}{boss.pk}/").status_code == 400
    assert boss_api.delete(one).status_code == 204
    assert api.get(members_url).status_code == 404


def test_an_invitation_s_link_is_shown_once_and_sent(
    boss_api: APIClient, api: APIClient, team: Team, settings: Settings
) -> None:
    url = f"/api/teams/{team.pk}/invitations/"
    assert api.get(url).status_code == 403
    made = boss_api.post(url, {"role": "operator", "email": "zoe@example.com"})
    assert (made.status_code, made.data["sent"]) == (201, False)
    code = re.search(r"/invitations/([^/]+)/$", made.data["link"])[1]
    assert members.open_invitation(code) == Invitation.objects.get()
    (listed,) = boss_api.get(url).data["results"]
    assert "link" not in listed
    settings.EMAIL_HOST = "mail.example.com"
    sent = boss_api.post(url, {"email": "zoe@example.com"})
    assert sent.data["sent"] is True
    assert sent.data["link"] in outbox.outbox[0].body
    assert boss_api.delete(f"{url}{listed['id']}/").status_code == 204
    assert members.open_invitation(code) is None


def test_groups_are_mapped(boss_api: APIClient, api: APIClient, team: Team) -> None:
    url = f"/api/teams/{team.pk}/group-mappings/"
    assert api.post(url, {"group": "data", "role": "viewer"}).status_code == 403
    made = boss_api.post(url, {"group": "data", "role": "viewer"})
    assert boss_api.get(url).data["results"] == [made.data]
    assert boss_api.delete(f"{url}{made.data['id']}/").status_code == 204
    assert boss_api.get(url).data["results"] == []


def test_a_user_is_made_signs_in_by_a_link_and_is_kept_out(
    boss_api: APIClient, root_api: APIClient, api: APIClient, stranger: User
) -> None:
    asked = {"username": "zoe", "team": "default", "role": "viewer"}
    assert api.post("/api/users/", asked).status_code == 403
    assert boss_api.post("/api/users/", {"username": "zoe"}).status_code == 403
    made = boss_api.post("/api/users/", asked)
    assert made.status_code == 201, made.data
    assert [(one["name"], one["role"]) for one in made.data["teams"]] == [("default", "viewer")]
    assert "/sign-in/" in made.data["sign_in_link"]
    assert boss_api.post("/api/users/", asked).data["field"] == "username"
    names = [row["username"] for row in api.get("/api/users/").data["results"]]
    assert names == ["ada", "boss", "root", "zoe"]
    assert "eve" in [row["username"] for row in root_api.get("/api/users/").data["results"]]
    one = f"/api/users/{made.data['id']}/"
    assert boss_api.post(f"{one}deactivate/").status_code == 403
    assert root_api.post(f"{one}deactivate/").data["is_active"] is False
    assert root_api.post(f"{one}reactivate/").data["is_active"] is True
    assert api.get(f"/api/users/{stranger.pk}/").status_code == 404


def test_a_service_account_has_tokens_of_its_team_s_admins(boss_api: APIClient, api: APIClient, team: Team) -> None:
    asked = {"team": "default", "name": "ci"}
    assert api.post("/api/service-accounts/", asked).status_code == 403
    made = boss_api.post("/api/service-accounts/", asked)
    assert (made.data["username"], made.data["role"]) == ("ci@default", "operator")
    assert [row["username"] for row in api.get("/api/service-accounts/").data["results"]] == ["ci@default"]
    token = {"name": "deploys", "user": "ci@default", "scope": "run"}
    assert api.post("/api/tokens/", token).status_code == 403
    issued = boss_api.post("/api/tokens/", token)
    assert (issued.data["user"], issued.data["scope"], issued.data["created_by"]) == ("ci@default", "run", "boss")
    assert [row["name"] for row in boss_api.get("/api/tokens/?user=ci@default").data["results"]] == ["deploys"]
    assert "deploys" not in [row["name"] for row in boss_api.get("/api/tokens/").data["results"]]
    assert api.get(f"/api/tokens/{issued.data['id']}/").status_code == 404
    ci = APIClient()
    ci.credentials(HTTP_AUTHORIZATION=f"Bearer {issued.data['token']}")
    assert ci.get("/api/flows/").status_code == 200
    assert boss_api.post(f"/api/service-accounts/{made.data['id']}/deactivate/").data["is_active"] is False
    assert ci.get("/api/flows/").status_code == 401
    assert boss_api.delete(f"/api/tokens/{issued.data['id']}/").status_code == 204


def test_a_token_is_scoped_and_for_one_deployment(api: APIClient, deployment: Deployment) -> None:
    made = api.post("/api/tokens/", {"name": "one", "scope": "read", "deployment": "etl-job/nightly"})
    assert (made.data["scope"], made.data["deployment"]) == ("read", "etl_job/nightly")
    assert api.post("/api/tokens/", {"name": "x", "deployment": "etl_job/none"}).data["field"] == "deployment"
    assert api.post("/api/tokens/", {"name": "x", "scope": "king"}).status_code == 400
    listed = {row["name"]: row for row in api.get("/api/tokens/?all=true").data["results"]}
    assert listed["one"]["deployment"] == "etl_job/nightly"
    one = APIClient()
    one.credentials(HTTP_AUTHORIZATION=f"Bearer {made.data['token']}")
    assert one.post("/api/tokens/", {"name": "child"}).status_code == 403
    assert one.get("/api/audit/").status_code == 403


def test_an_object_is_shared_listed_and_taken_back(
    boss_api: APIClient, api: APIClient, strange_api: APIClient, deployment: Deployment
) -> None:
    asked = {"deployment": "etl_job/nightly", "user": "eve", "level": "run"}
    assert api.post("/api/shares/", asked).status_code == 403
    assert strange_api.post("/api/shares/", asked).data["field"] == "deployment"
    made = boss_api.post("/api/shares/", asked)
    assert (made.status_code, made.data["with_user"], made.data["level"]) == (201, "eve", "run")
    assert boss_api.post("/api/shares/", {"flow": "etl_job", "team": "others", "level": "read"}).status_code == 201
    assert boss_api.post("/api/shares/", {**asked, "team": "others"}).status_code == 400
    assert boss_api.post("/api/shares/", {"user": "eve", "level": "run"}).status_code == 400
    assert api.get("/api/shares/?deployment=etl_job/nightly").data["results"] == [made.data]
    assert strange_api.get("/api/shares/?deployment=etl_job/nightly").status_code == 403
    mine = strange_api.get("/api/shares/").data["results"]
    assert [(row["object_name"], row["level"]) for row in mine] == [("etl_job/nightly", "run"), ("etl_job", "read")]
    assert strange_api.delete(f"/api/shares/{made.data['id']}/").status_code == 403
    assert boss_api.delete(f"/api/shares/{made.data['id']}/").status_code == 204
    assert boss_api.delete(f"/api/shares/{made.data['id']}/").status_code == 404
    for odd in ("x", "deployment.x.user.1", f"deployment.{deployment.pk}.user.999", "run.1.2.3"):
        assert boss_api.delete(f"/api/shares/{odd}/").status_code == 404


def test_the_audit_log_is_for_admins_filtered_paged_and_exported(
    boss_api: APIClient, api: APIClient, root_api: APIClient, strange_api: APIClient, team: Team, stranger: User
) -> None:
    begin = timezone.now().isoformat()
    for role in ("viewer", "operator", "editor"):
        boss_api.post(f"/api/teams/{team.pk}/members/", {"user": "ada", "role": role})
    root_api.post("/api/teams/", {"name": "=data"})
    assert api.get("/api/audit/").status_code == 403
    assert strange_api.get("/api/audit/export/").status_code == 403
    page = boss_api.get("/api/audit/", {"limit": 2, "since": begin}).data
    rest = boss_api.get("/api/audit/", {"limit": 2, "since": begin, "cursor": page["next"]}).data
    entries = page["results"] + rest["results"]
    assert [entry["verb"] for entry in entries] == ["team.change_role"] * len(entries)
    assert entries[0]["changes"]["role"] == ["operator", "editor"]
    assert (entries[0]["user"], entries[0]["via"], entries[0]["team"]) == ("boss", "api", "default")
    assert entries[0]["token"].startswith("orc_")
    everything = root_api.get("/api/audit/", {"since": begin}).data["results"]
    assert len(everything) == len(entries) + 1

    def count(client: APIClient, **query: str) -> int:
        return len(client.get("/api/audit/", {"since": begin, **query}).data["results"])

    assert count(boss_api, user="boss") == len(entries)
    assert count(boss_api, user="nobody") == 0
    assert count(root_api, verb="team.create") == 1
    assert count(root_api, verb="team", object="data") == 1
    assert count(root_api, object_type="team", object_id=str(team.pk)) == len(entries)
    assert count(root_api, team="default") == len(entries)
    assert count(boss_api, via="page") == 0
    assert count(boss_api, until=begin) == 0
    for odd in ({"via": "x"}, {"since": "soon"}):
        assert boss_api.get("/api/audit/", odd).status_code == 400

    lines = boss_api.get("/api/audit/export/", {"as": "jsonl", "since": begin}).getvalue().decode().splitlines()
    assert [json.loads(line)["id"] for line in lines] == [entry["id"] for entry in entries]
    exported = (
        root_api.get("/api/audit/export/", {"as": "csv", "verb": "team.create", "since": begin}).getvalue().decode()
    )
    (row,) = csv.DictReader(io.StringIO(exported))
    assert row["object_name"] == "'=data"
    assert boss_api.get("/api/audit/export/", {"as": "xml"}).status_code == 400


def test_an_admin_who_is_only_reading_by_token_may_export(boss: User, team: Team) -> None:
    boss_api = client_of(boss)
    made = boss_api.post("/api/tokens/", {"name": "siem", "scope": "read"})
    reader = APIClient()
    reader.credentials(HTTP_AUTHORIZATION=f"Bearer {made.data['token']}")
    assert reader.get("/api/audit/export/").status_code == 200
    assert reader.post(f"/api/teams/{team.pk}/members/", {"user": "boss", "role": "viewer"}).status_code == 403
    assert Membership.objects.get(user=boss).role == "admin"
