"""Tokens over REST: a person's own, and each secret shown once."""

from datetime import timedelta

import pytest
from django.utils import timezone
from rest_framework.test import APIClient

from teams.models import ApiToken, Membership, User


def test_a_token_is_made_shown_once_and_works(api: APIClient) -> None:
    made = api.post("/api/tokens/", {"name": "ci", "expires_in": 3600})

    assert made.status_code == 201
    assert made.headers["Cache-Control"] == "no-store"
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {made.data['token']}")
    assert client.get("/api/flow-runs/").status_code == 200
    listed = {row["name"]: row for row in api.get("/api/tokens/").data["results"]}
    assert "token" not in listed["ci"]
    assert ApiToken.objects.get(name="ci").expires_at == pytest.approx(
        timezone.now() + timedelta(hours=1), abs=timedelta(minutes=1)
    )


def test_a_revoked_token_stops_working_at_once(api: APIClient) -> None:
    (own,) = api.get("/api/tokens/").data["results"]

    assert api.delete(f"/api/tokens/{own['id']}/").status_code == 204
    assert api.get("/api/flow-runs/").status_code == 401


def test_tokens_of_others_are_not_there(api: APIClient, strange_api: APIClient) -> None:
    (own,) = api.get("/api/tokens/").data["results"]

    assert strange_api.delete(f"/api/tokens/{own['id']}/").status_code == 404


@pytest.mark.parametrize("body", [{}, {"name": ""}, {"name": "x" * 101}, {"name": "x", "expires_in": 0}])
def test_a_bad_token_is_refused(api: APIClient, body: dict[str, object]) -> None:
    assert api.post("/api/tokens/", body).status_code == 400


def test_who_left_the_team_cannot_act_for_it(api: APIClient, user: User) -> None:
    Membership.objects.all().delete()

    assert api.post("/api/tokens/", {"name": "x"}).status_code == 403
    assert api.get("/api/flow-runs/").data["results"] == []
