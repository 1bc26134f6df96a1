"""Snapshots of code over REST: stored piece by piece, read within the team, fetched by the run that has them."""

import io
from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from flows.snapshot_actions import forget_unused
from flows.snapshots import Snapshot, SnapshotPiece
from orchestrator.sdk.snapshots.pack import MEDIA_TYPE, deflated, packed, read_pack
from orchestrator.sdk.states import StateType
from runs.authentication import run_token
from runs.models import Attempt
from teams import actions
from teams.models import ApiToken, Role, Team
from tests.notifications.making import Make
from tests.snapshots.making import Made, made

pytestmark = pytest.mark.django_db

PROJECT = {"etl.py": "print(1)\n", "data.bin": bytes(3_000_000), "pkg/__init__.py": ""}


@pytest.fixture
def team() -> Team:
    return Team.objects.create(name="owners")


def client_for(team: Team, role: str = "editor", name: str = "") -> Client:
    user = actions.create_user(name or f"{role}-of-{team.name}", team=team, role=Role(role), password=None)
    return Client(headers={"Authorization": f"Bearer {ApiToken.issue(name='t', user=user, team=team)[1]}"})


@pytest.fixture
def client(team: Team) -> Client:
    return client_for(team)


def post(client: Client, snapshot: Made, digests: list[str] | None = None, code: int = 200) -> dict:
    pieces = snapshot.pieces if digests is None else {digest: snapshot.pieces[digest] for digest in digests}
    body = b"".join(packed(snapshot.manifest, map(deflated, pieces.values())))
    response = client.post("/api/snapshots/", body, content_type=MEDIA_TYPE)
    assert response.status_code == code, response.content
    return response.json()


def test_it_is_stored_by_pieces_and_only_what_is_missing_is_asked_for(client: Client) -> None:
    snapshot = made(PROJECT)
    asked = post(client, snapshot, [])
    assert set(asked["missing"]) == set(snapshot.pieces)
    assert client.get(f"/api/snapshots/{snapshot.manifest.hash}/").status_code == 404
    first, *others = asked["missing"]
    assert post(client, snapshot, [first])["missing"] == others
    assert post(client, snapshot, others, 201)["is_new"]
    assert post(client, snapshot, []) == {"hash": snapshot.manifest.hash, "missing": [], "is_new": False}

    changed = made({**PROJECT, "etl.py": "print(2)\n"})
    assert len(post(client, changed, [])["missing"]) == 1
    shown = client.get(f"/api/snapshots/{snapshot.manifest.hash}/").json()
    assert (shown["files"], shown["size"]) == (3, 3_000_009)


def test_its_pack_is_what_was_stored(client: Client) -> None:
    snapshot = made(PROJECT, {"link": "etl.py"})
    post(client, snapshot, None, 201)
    response = client.get(f"/api/snapshots/{snapshot.manifest.hash}/pack/")
    data = iter([b"".join(response)])
    assert response["Content-Type"] == MEDIA_TYPE
    whole = next(data)
    manifest, pieces = read_pack(io.BytesIO(whole).read, snapshot.manifest.hash)
    assert {digest: piece for digest, piece, _ in pieces} == snapshot.pieces
    assert manifest.entries == snapshot.manifest.entries


def test_what_is_too_large_or_no_snapshot_is_refused(client: Client, settings: Settings) -> None:
    settings.SNAPSHOT_MAX_BYTES = 1_000_000
    assert "at most 1,000,000" in post(client, made(PROJECT), None, 400)["message"]
    assert client.get("/api/snapshots/limits/").json()["max_bytes"] == 1_000_000
    for body in (b"", b"nothing", b"\0\0\0\x01x"):
        response = client.post("/api/snapshots/", body, content_type=MEDIA_TYPE)
        assert response.status_code == 400
    stranger = Made(made({"a": "1"}).manifest, made({"a": "2"}).pieces)
    assert "none of this snapshot" in post(client, stranger, None, 400)["message"]
    assert not SnapshotPiece.objects.exists()


def test_another_team_neither_reads_it_nor_has_it_by_knowing_its_hash(client: Client) -> None:
    snapshot = made(PROJECT)
    post(client, snapshot, None, 201)
    other = client_for(Team.objects.create(name="others"))
    address = f"/api/snapshots/{snapshot.manifest.hash}/"
    assert other.get(address).status_code == other.get(f"{address}pack/").status_code == 404
    assert set(post(other, snapshot, [])["missing"]) == set(snapshot.pieces)
    declaration = {"flow": "etl", "name": "n", "entrypoint": "etl.py:etl",
                   "source": {"kind": "snapshot", "hash": snapshot.manifest.hash}}  # fmt: skip
    refused = other.post("/api/deployments/", declaration, content_type="application/json")
    assert refused.status_code == 400
    assert "There is no snapshot" in refused.json()["message"]
    assert client.post("/api/deployments/", declaration, content_type="application/json").status_code == 201


def test_viewers_read_and_do_not_store(client: Client, team: Team) -> None:
    snapshot = made(PROJECT)
    post(client, snapshot, None, 201)
    viewer = client_for(team, "viewer")
    assert viewer.get(f"/api/snapshots/{snapshot.manifest.hash}/").status_code == 200
    post(viewer, made({"a": "1"}), None, 403)
    refused = viewer.post("/api/snapshots/", b"not even a snapshot", content_type=MEDIA_TYPE)
    assert refused.status_code == 403, "before any of it is read"


def test_a_piece_that_comes_twice_is_refused(client: Client) -> None:
    snapshot = made({"a": "1"})
    (piece,) = snapshot.pieces.values()
    body = b"".join(packed(snapshot.manifest, [deflated(piece)] * 3))
    refused = client.post("/api/snapshots/", body, content_type=MEDIA_TYPE)
    assert (refused.status_code, "comes twice" in refused.json()["message"]) == (400, True)
    assert not SnapshotPiece.objects.exists()


def test_a_run_fetches_its_own_snapshot_and_no_other(client: Client, team: Team) -> None:
    own, other = made(PROJECT), made({"a": "1"})
    post(client, own, None, 201)
    post(client, other, None, 201)
    run = Make(team, "").run(StateType.RUNNING)
    attempt = Attempt.objects.get(flow_run=run)
    attempt.source = {"kind": "snapshot", "hash": own.manifest.hash}
    attempt.save()
    as_run = Client(headers={"Authorization": f"Bearer {run_token(attempt)}"})
    assert as_run.get(f"/api/snapshots/{own.manifest.hash}/pack/").status_code == 200
    assert as_run.get(f"/api/snapshots/{other.manifest.hash}/pack/").status_code == 404
    assert as_run.post("/api/snapshots/", other.pack, content_type=MEDIA_TYPE).status_code == 403


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("directory", "/etc"), ("directory", "../.."), ("directory", "a/../../b"), ("entrypoint", "/etc/x.py:f"),
        ("entrypoint", "../x.py:f"), ("source", {"kind": "telepathy"}),
        ("source", {"kind": "snapshot", "hash": "../x"}), ("source", {"kind": "snapshot"}),
        ("source", {"kind": "path", "hash": "x"}), ("source", {"kind": ["x"]}),
    ],
)  # fmt: skip
def test_code_lies_within_its_source(client: Client, field: str, value: object) -> None:
    snapshot = made(PROJECT)
    post(client, snapshot, None, 201)
    source = {"kind": "snapshot", "hash": snapshot.manifest.hash}
    declaration = {"flow": "etl", "name": "n", "entrypoint": "etl.py:etl", "source": source, field: value}
    refused = client.post("/api/deployments/", declaration, content_type="application/json")
    assert refused.status_code == 400
    assert refused.json()["field"].startswith(field)


def test_what_nothing_needs_is_forgotten_after_a_month(client: Client, team: Team) -> None:
    used, recent, unused = made({"a": "1", "same": "s"}), made({"b": "2"}), made({"c": "3", "same": "s"})
    for snapshot in (used, recent, unused):
        post(client, snapshot, None, 201)
    post(client, made({"never": "whole", "d": "4"}), [next(iter(made({"d": "4"}).pieces))])
    declaration = {"flow": "etl", "name": "n", "entrypoint": "etl.py:etl",
                   "source": {"kind": "snapshot", "hash": used.manifest.hash}}  # fmt: skip
    client.post("/api/deployments/", declaration, content_type="application/json")
    old = timezone.now() - timedelta(days=31)
    Snapshot.objects.exclude(hash=recent.manifest.hash).update(used_at=old)
    assert forget_unused() == 1
    assert SnapshotPiece.objects.count() == 5, "what came today may be part of a snapshot to come"
    SnapshotPiece.objects.update(created_at=old)
    assert forget_unused() == 0
    assert set(SnapshotPiece.objects.values_list("digest", flat=True)) == {*used.pieces, *recent.pieces}
    assert set(Snapshot.objects.values_list("hash", flat=True)) == {used.manifest.hash, recent.manifest.hash}
