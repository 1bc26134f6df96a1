"""Code from a git repository: branches are followed, commits are fixed, and no address is an option or a command."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.core.exceptions import ValidationError
from django.utils import timezone

from flows import block_actions
from flows.declarations import Declaration, deploy
from orchestrator.cli.sources import _parted
from orchestrator.sdk.exceptions import FlowLoadError
from orchestrator.sdk.host_secrets import part
from orchestrator.sdk.kept_folders import let_go
from orchestrator.sdk.sources.base import Reach
from orchestrator.sdk.sources.checkouts import credential_helper
from orchestrator.sdk.sources.kinds import BadSource, read_source
from orchestrator.sdk.sources.opening import open_code
from runs.actions import create_flow_run
from runs.claims import claim_some
from runs.launch import start_away, start_message
from runs.models import Trigger, Worker
from teams.models import Team
from tests.server.running import ORCHESTRATOR, running_server
from tests.snapshots.making import write

needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed: apt-get install git")
NOWHERE = Reach("", "", print)


@pytest.mark.parametrize(
    "url",
    [
        "--upload-pack=touch /tmp/x", "-u", "ext::sh -c touch% /tmp/x", "ext::x", "https://-x.example.com/a",
        "file://host/a", "file:relative", "/srv/repository", "https://user:secret@example.com/a.git",
        "https://token@example.com/a.git", "ssh://-oProxyCommand=x/a", "-oProxyCommand=x@host:a", "git@-host:a",
        "https://example.com/a b", "https://example.com/a\nb", "https://example.com/\0", "ftp://example.com/a", "",
        "fd::17/x", "https://example.com\\@evil/a", "ssh://-x@example.com/a",
    ],
)  # fmt: skip
def test_what_is_no_plain_address_is_refused(url: str) -> None:
    with pytest.raises(BadSource, match="url"):
        read_source({"kind": "git", "url": url})


@pytest.mark.parametrize(
    "ref", ["-x", "--upload-pack=x", "a..b", "a b", "a\n", "a@{1}", "x.lock", "a:b", "a^", "a~1", "*"]
)
def test_what_is_no_plain_name_is_refused(ref: str) -> None:
    with pytest.raises(BadSource, match="ref"):
        read_source({"kind": "git", "url": "https://example.com/a.git", "ref": ref})


@pytest.mark.parametrize(
    ("address", "url", "ref"),
    [
        ("https://example.com/a.git@main", "https://example.com/a.git", "main"),
        ("https://example.com/a.git", "https://example.com/a.git", ""),
        ("git@example.com:team/a.git@feature/x", "git@example.com:team/a.git", "feature/x"),
        ("git@example.com:team/a.git", "git@example.com:team/a.git", ""),
        ("ssh://git@example.com/a.git@v1.0", "ssh://git@example.com/a.git", "v1.0"),
        ("file:///srv/a@0a1b2c3", "file:///srv/a", "0a1b2c3"),
    ],
)
def test_an_address_and_its_name_are_parted(address: str, url: str, ref: str) -> None:
    assert _parted(address) == (url, ref)
    read_source({"kind": "git", "url": url, "ref": ref})


class Repository:
    """A repository on this machine."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.url = folder, f"file://{folder}"
        folder.mkdir()
        self("init", "--quiet", "--initial-branch=main")

    def __call__(self, *words: str) -> str:
        names = {f"GIT_{who}_{what}": "x" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
        done = subprocess.run(
            ["git", *words], cwd=self.folder, env={**os.environ, **names}, capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    def commit(self, text: str) -> str:
        """Commit a project whose flow says this; return the commit."""
        code = (
            f"from lib import words\nfrom orchestrator import flow\n\n@flow\ndef etl():\n    print({text!r}, words)\n"
        )
        write(self.folder, {"jobs/etl.py": code, "lib.py": "words = 1\n"})
        self("add", ".")
        self("commit", "--quiet", "-m", text)
        return self("rev-parse", "HEAD")


@pytest.fixture
def repository(tmp_path: Path, home: Path) -> Iterator[Repository]:
    yield Repository(tmp_path / "repository")
    let_go()


def opened(repository: Repository, ref: str = "") -> tuple[str, str]:
    """The text of the flow's file as a run finds it, and the commit that it records."""
    source = {"kind": "git", "url": repository.url, **({"ref": ref} if ref else {})}
    code = open_code(source, "jobs", "jobs/etl.py:etl", NOWHERE)
    let_go()
    assert code.exact is not None
    return Path(code.entrypoint.removesuffix(":etl")).read_text(), code.exact["commit"]


@needs_git
def test_a_branch_is_followed_and_a_commit_or_tag_fixed(repository: Repository) -> None:
    first = repository.commit("first")
    repository("tag", "v1")
    assert opened(repository) == opened(repository, "main") == opened(repository, "v1")
    second = repository.commit("second")
    text, commit = opened(repository, "main")
    assert ("'second'" in text, commit) == (True, second)
    assert opened(repository)[1] == second
    assert opened(repository, "v1")[1] == first
    assert opened(repository, first)[1] == first
    assert opened(repository, first[:10])[1] == first
    shutil.rmtree(repository.folder)
    assert opened(repository, first)[1] == first, "what a commit is, nobody has to be asked"
    with pytest.raises(FlowLoadError, match="git says"):
        opened(repository, "main")


@needs_git
def test_what_is_not_there_is_told_in_gits_words(repository: Repository) -> None:
    repository.commit("first")
    for ref in ("nothing", "0123456789"):
        with pytest.raises(FlowLoadError, match=r"cannot be had from file.*git says"):
            opened(repository, ref)


@needs_git
def test_what_was_found_before_is_found_again_without_asking(repository: Repository) -> None:
    first = repository.commit("first")
    opened(repository, "main")
    repository.commit("second")
    again = Reach("", "", print, is_again=True)
    code = open_code({"kind": "git", "url": repository.url, "ref": "main"}, "", "jobs/etl.py:etl", again)
    assert code.exact == {"commit": first}


@needs_git
def test_credentials_are_given_for_their_host_over_https_alone(home: Path) -> None:
    helper, own = credential_helper({"host": "git.example.com", "username": "me", "token": "sec$ret'\\"})
    assert "sec" not in "".join(helper)

    def asked(protocol: str, host: str) -> str:
        said = f"protocol={protocol}\nhost={host}\n\n"
        variables = {**os.environ, **own, "GIT_TERMINAL_PROMPT": "0", "GIT_ASKPASS": "", "HOME": str(home)}
        words = ["git", *helper, "credential", "fill"]
        return subprocess.run(words, input=said, env=variables, capture_output=True, text=True, check=False).stdout

    assert "username=me\npassword=sec$ret'\\\n" in asked("https", "git.example.com")
    for protocol, host in (("http", "git.example.com"), ("https", "evil.example.com"), ("https", "example.com")):
        assert "password" not in asked(protocol, host)


@pytest.mark.django_db
def test_a_block_of_credentials_reaches_the_worker_and_nobody_else() -> None:
    team = Team.objects.create(name="owners")
    values = {"host": "git.example.com", "token": "s3cret"}
    block_actions.create_block(team, type="git-credentials", name="reader", values=values)
    source = {"kind": "git", "url": "https://git.example.com/a.git", "credentials": "reader"}
    said = {"flow_name": "etl", "name": "n", "entrypoint": "etl.py:etl"}
    deployment, _ = deploy(team=team, user=None, declaration=Declaration(**said, source=source))
    create_flow_run(deployment, trigger=Trigger.API)
    now = timezone.now()
    (claim,) = claim_some(
        Worker.objects.create(name="w", host="h", pid=1, places=1, started_at=now, heartbeat_at=now), 1
    )
    assert start_message(claim).source_credentials == {**values, "username": "git"}
    public, fd = part(start_message(claim))
    os.close(fd)
    assert "s3cret" not in repr(public), "which the run host reads, from which user code is forked"
    assert "s3cret" not in repr(start_away(claim))
    assert "s3cret" not in repr(claim.attempt.source)
    for words, changes in (
        ("are for git", {"url": "https://evil.example.com/a.git"}),
        ("has no block", {"credentials": "none"}),
        ("https", {"url": "http://git.example.com/a.git"}),
    ):
        other = Declaration(**said, source={**source, **changes})
        with pytest.raises(ValidationError, match=words):
            deploy(team=team, user=None, declaration=other)


@needs_git
def test_links_of_a_repository_lead_nowhere(repository: Repository) -> None:
    (repository.folder / "jobs").mkdir()
    (repository.folder / "jobs/secret").symlink_to("/etc/passwd")
    commit = repository.commit("first")
    opened(repository, commit)
    (found,) = Path(os.environ["ORCHESTRATOR_HOME"], "checkouts").glob("*/tree/jobs/secret")
    assert not found.is_symlink()


@needs_git
def test_a_run_records_the_commit_that_its_branch_was_at(tmp_path: Path) -> None:
    repository = Repository(tmp_path / "repository")
    commit = repository.commit("first")
    with tempfile.TemporaryDirectory(prefix="orch-") as folder, running_server(Path(folder)) as server:
        words = [*ORCHESTRATOR, "deploy", "jobs/etl.py:etl", "--name", "n", "--source", f"git:{repository.url}@main"]
        clone = repository.folder
        done = subprocess.run(words, env=server.environment, cwd=clone, text=True, capture_output=True, check=False)
        assert done.returncode == 0, done
        (deployment,) = server.call("GET", "/api/deployments/?name=etl/n")["results"]
        assert deployment["entrypoint"] == "jobs/etl.py:etl"
        for text in ("first", "second"):
            run = server.call("POST", f"/api/deployments/{deployment['id']}/runs/", {})["id"]
            ended = server.wait(run, "COMPLETED", 90)
            assert ended["attempts"][0]["source"] == {**deployment["source"], "version": 1, "commit": commit}
            (line, *_) = server.call("GET", f"/api/flow-runs/{run}/logs/")["results"]
            assert line["message"].strip() == f"{text} 1"
            commit = repository.commit("second") if text == "first" else commit
