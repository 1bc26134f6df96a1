"""Teams, users, tokens and the audit log on the command line, with a server over HTTP and without one."""

import pytest
from pytest_django.live_server_helper import LiveServer

from flows.models import Deployment, Flow, WorkQueue
from teams import members
from teams.models import ApiToken, Membership, Team, User
from tests.cli.conftest import Cli, ScriptWriter


@pytest.fixture
def remote(cli: Cli, live_server: LiveServer, transactional_db: None) -> Cli:
    """The command, pointed at a server of which it has a site administrator's token."""
    secret = ApiToken.issue(name="test", user=User.first_admin(), team=Team.default())[1]
    cli.environment |= {"ORCHESTRATOR_API_URL": live_server.url, "ORCHESTRATOR_API_TOKEN": secret}
    return cli


def nightly(team: Team) -> Deployment:
    flow = Flow.objects.create(team=team, name="etl")
    queue = WorkQueue.default(team)
    return Deployment.objects.create(team=team, flow=flow, name="nightly", queue=queue, entrypoint="a.py:etl")


def test_a_team_gets_people_with_roles_and_tokens(remote: Cli) -> None:
    assert "user create USER --team data" in remote("team", "create", "data").stdout
    assert "already" in remote("team", "create", "data", code=1).stderr
    said = remote("user", "create", "ann", "--team", "data", "--role", "viewer").stdout
    assert "viewer in data" in said
    assert "/sign-in/" in said.splitlines()[-1]
    assert [row["name"] for row in remote.json("team", "ls")] == ["data", "default"]
    assert "ann is editor in data" in remote("user", "set-role", "ann", "editor", "--team", "data").stdout
    assert Membership.objects.get(user__username="ann").role == "editor"
    shown = {row["username"]: row["role"] for row in remote.json("team", "members", "data")}
    assert shown == {"admin": "admin", "ann": "editor"}
    assert "data (editor)" in remote("user", "ls").stdout

    nightly(Team.objects.get(name="data"))
    made = remote.json(
        "token", "create", "dash", "--user", "ann", "--scope", "read", "--deployment", "etl/nightly",
        "--expires-in", "30d",
    )  # fmt: skip
    assert (made["user"], made["scope"], made["deployment"]) == ("ann", "read", "etl/nightly")
    theirs = {"ORCHESTRATOR_API_TOKEN": made["token"]}
    assert "nightly" in remote("deployment", "ls", **theirs).stdout
    assert "beyond the scope" in remote("deployment", "pause", "etl/nightly", code=1, **theirs).stderr
    assert "dash" in remote("token", "ls", "--user", "ann").stdout
    assert "dash" not in remote("token", "ls").stdout
    assert "Revoked token 'dash'" in remote("token", "revoke", "dash", "--user", "ann").stdout

    assert "no longer in data" in remote("team", "remove", "data", "ann").stdout
    assert "Deactivated ann" in remote("user", "deactivate", "ann").stdout
    assert not User.objects.get(username="ann").is_active
    assert "deactivated" in remote("user", "ls").stdout
    log = remote.json("audit", "ls", "--user", "admin", "--limit", "3")
    assert [row["verb"] for row in log] == ["user.deactivate", "team.remove_member", "token.revoke"]
    assert {row["via"] for row in log} == {"cli"}
    assert "user.deactivate" in remote("audit", "ls", "--verb", "user").stdout


def test_a_machine_has_a_service_account(remote: Cli) -> None:
    remote("service-account", "create", "ci", "--team", "default")
    made = remote("token", "create", "deploys", "--user", "ci@default", "--scope", "edit").stdout
    secret = made.splitlines()[-1]
    assert secret.startswith("orc_")
    assert "ci@default" in remote("service-account", "ls").stdout
    remote("service-account", "deactivate", "ci@default")
    assert "unknown or has expired" in remote("flow", "ls", code=1, ORCHESTRATOR_API_TOKEN=secret).stderr


def test_an_invitation_is_a_link(remote: Cli) -> None:
    said = remote("team", "invite", "default", "--role", "operator").stdout
    assert "joins default as operator" in said
    assert "/invitations/" in said.splitlines()[-1]


def doors_and_shares(run: Cli) -> None:
    """What leads into a team, and out of it; whichever way the API is reached."""
    assert "No open invitations" in run("team", "invitations", "data").stdout
    run("team", "invite", "data", "--email", "zoe@example.com")
    (made,) = run.json("team", "invitations", "data")
    assert (made["email"], made["role"]) == ("zoe@example.com", "viewer")
    assert "is withdrawn" in run("team", "withdraw", "data", "zoe@example.com").stdout
    assert "no open invitation" in run("team", "withdraw", "data", made["id"], code=1).stderr

    assert "No groups yet" in run("team", "group", "ls", "data").stdout
    assert run.json("team", "group", "map", "data", "engineers", "--role", "viewer")["role"] == "viewer"
    said = run("team", "group", "map", "data", "engineers", "--role", "editor").stdout
    assert "Members of engineers are editor in data" in said
    assert [(row["group"], row["role"]) for row in run.json("team", "group", "ls", "data")] == [("engineers", "editor")]
    assert "means nothing" in run("team", "group", "unmap", "data", "engineers").stdout
    assert "has no role" in run("team", "group", "unmap", "data", "engineers", code=1).stderr

    nightly = ("--deployment", "etl/nightly")
    assert "with nobody" in run("share", "ls", *nightly).stdout
    assert (
        "ann may run deployment etl/nightly"
        in run("share", "create", *nightly, "--user", "ann", "--level", "run").stdout
    )
    made = run.json("share", "create", "--flow", "etl", "--team", "data", "--level", "read")
    assert (made["object_name"], made["with_team"], made["level"]) == ("etl", "data", "read")
    assert [row["with_user"] for row in run.json("share", "ls", *nightly)] == ["ann"]
    assert "team" in run("share", "ls", "--flow", "etl").stdout
    assert "no longer shared with ann" in run("share", "delete", *nightly, "--user", "ann").stdout
    assert "not shared with user 'ann'" in run("share", "delete", *nightly, "--user", "ann", code=1).stderr
    assert "Give one of --user or --team" in run("share", "delete", *nightly, code=2).stderr
    assert "Nothing is shared with you" in run("share", "ls").stdout

    url = run("deployment", "webhook", "create", "etl/nightly", "--map", "day=event.date").stdout.strip()
    assert "/hooks/hook_" in url
    shown = run("deployment", "webhook", "inspect", "etl/nightly").stdout
    assert "day=event.date" in shown
    assert "never" in shown
    assert run.json("deployment", "webhook", "set", "etl/nightly", "--map", "all=*")["mapping"] == {"all": "*"}
    assert run("deployment", "webhook", "rotate", "etl/nightly").stdout.strip() != url
    assert "has no webhook any more" in run("deployment", "webhook", "delete", "etl/nightly").stdout
    assert "has no webhook" in run("deployment", "webhook", "inspect", "etl/nightly", code=1).stderr


def test_doors_shares_and_webhooks_with_a_server(remote: Cli) -> None:
    members.create_team("data")
    User.objects.create_user("ann")
    nightly(Team.default())
    doors_and_shares(remote)
    theirs = ApiToken.issue(name="t", user=User.objects.get(username="ann"), team=Team.objects.get(name="data"))[1]
    remote("share", "create", "--deployment", "etl/nightly", "--user", "ann", "--level", "run")
    assert "etl/nightly" in remote("share", "ls", ORCHESTRATOR_API_TOKEN=theirs).stdout


def test_what_leads_into_a_team_works_without_a_server(local: Cli) -> None:
    local("team", "create", "data")
    assert "/sign-in/" in local("user", "create", "ann", "--team", "data").stdout
    assert "/invitations/" in local("team", "invite", "data").stdout
    (made,) = local.json("team", "invitations", "data")
    local("team", "withdraw", "data", made["id"][:20])
    assert local.json("team", "group", "map", "data", "engineers", "--role", "editor")["role"] == "editor"
    assert "engineers" in local("team", "group", "ls", "data").stdout
    local("team", "group", "unmap", "data", "engineers")
    local("service-account", "create", "ci", "--team", "data")
    local("service-account", "deactivate", "ci@data")
    assert "work again" in local("service-account", "reactivate", "ci@data").stdout
    local("team", "remove", "data", "ann")
    verbs = [row["verb"] for row in local.json("audit", "ls", "--via", "cli")]
    assert {"team.invite", "team.revoke_invitation", "team.unmap_group", "user.reactivate"} <= set(verbs)


def test_shares_and_webhooks_work_without_a_server(local: Cli, write: ScriptWriter) -> None:
    write("etl.py", "from orchestrator import flow\n\n@flow\ndef etl(day: str = ''):\n    pass\n")
    local("deploy", "etl.py:etl", "--name", "nightly")
    local("team", "create", "data")
    local("share", "create", "--deployment", "etl/nightly", "--team", "data", "--level", "run")
    assert local.json("share", "ls", "--deployment", "etl/nightly")[0]["with_team"] == "data"
    local("share", "delete", "--deployment", "etl/nightly", "--team", "data")
    url = local("deployment", "webhook", "create", "etl/nightly", "--map", "day=event.date").stdout
    assert url.startswith("http://localhost:4200/hooks/hook_")
    assert "day=event.date" in local("deployment", "webhook", "inspect", "etl/nightly").stdout
    local("deployment", "webhook", "set", "etl/nightly", "--map", "day=*")
    assert local("deployment", "webhook", "rotate", "etl/nightly").stdout != url
    assert "no webhook any more" in local("deployment", "webhook", "delete", "etl/nightly").stdout


def test_others_are_refused_in_words(remote: Cli) -> None:
    ann = User.objects.create_user("ann")
    Membership.objects.create(user=ann, team=Team.default(), role="viewer")
    secret = ApiToken.issue(name="t", user=ann, team=Team.default())[1]
    nightly(Team.default())
    for arguments, words in {
        ("team", "create", "x"): "site administrator",
        ("user", "create", "x", "--team", "default"): "role admin",
        ("user", "deactivate", "ann"): "site administrator",
        ("token", "create", "x", "--user", "admin"): "site administrator",
        ("audit", "ls"): "role admin",
        ("deployment", "set", "etl/nightly", "--limit", "3"): "role editor in team default. Who can give it: admin.",
        ("deployment", "run", "etl/nightly"): "role operator in team default. Who can give it: admin.",
    }.items():
        assert words in remote(*arguments, code=1, ORCHESTRATOR_API_TOKEN=secret).stderr, arguments


def test_without_a_server_all_of_it_works_on_the_database(local: Cli) -> None:
    local("team", "create", "data")
    local("user", "create", "ann", "--team", "data", "--role", "viewer")
    made = local.json("token", "create", "ci", "--user", "ann", "--scope", "read")
    assert made["user"] == "ann"
    assert "ann" in local("team", "members", "data").stdout
    assert "team.create" in local("audit", "ls").stdout
