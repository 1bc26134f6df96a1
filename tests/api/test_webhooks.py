"""Webhooks in: a secret address runs a deployment, and its body becomes parameters."""

from typing import Any

import pytest
from django.test import Client
from rest_framework.test import APIClient

from flows import webhooks
from flows.models import Deployment, Webhook
from runs.models import FlowRun, Trigger
from teams.models import AuditEntry, Membership, Role, User

BODY = {"event": {"date": "2026-03-01", "limits": [1, 7]}}
MAPPING = {"day": "event.date", "limit": "event.limits.1"}


def made(api: APIClient, deployment: Deployment, mapping: Any = MAPPING) -> str:
    answer = api.post(f"/api/deployments/{deployment.pk}/webhook/", {"mapping": mapping})
    assert answer.status_code == 201, answer.data
    assert answer.headers["Cache-Control"] == "no-store"
    return str(answer.data["url"]).removeprefix("http://testserver")


def test_a_request_runs_the_deployment_with_what_its_body_gives(api: APIClient, deployment: Deployment) -> None:
    url = made(api, deployment)
    answer = APIClient().post(url, BODY)

    assert answer.status_code == 202
    run = FlowRun.objects.get()
    assert answer.json() == {"id": str(run.pk), "name": run.name}
    assert run.parameters == {"limit": 7, "day": "2026-03-01"}
    assert (run.deployment, run.trigger, run.created_by) == (deployment, Trigger.API, None)
    shown = api.get(f"/api/deployments/{deployment.pk}/webhook/").data
    assert shown["last_used_at"]
    assert url.startswith(f"/hooks/{shown['prefix']}")
    assert "url" not in shown


def test_a_delivery_that_is_sent_again_makes_no_second_run(api: APIClient, deployment: Deployment) -> None:
    url = made(api, deployment)
    headers = {"X-GitHub-Delivery": "72d3162e"}
    first, second = (APIClient().post(url, BODY, headers=headers) for _ in range(2))

    assert first.json() == second.json()
    assert second.headers["Idempotency-Replayed"] == "true"
    assert APIClient().post(url, BODY, headers={"Idempotency-Key": "other"}).json() != first.json()
    assert FlowRun.objects.count() == 2


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "body.event.date"),
        ([], "body.event.date"),
        ({"event": {"date": "x", "limits": [1]}}, "body.event.limits.1"),
        ({"event": {"date": "2026-03-01", "limits": [1, "x"]}}, "parameters.limit"),
    ],
)
def test_a_body_that_does_not_fit_is_refused(api: APIClient, deployment: Deployment, body: Any, field: str) -> None:
    answer = APIClient().post(made(api, deployment), body)

    assert (answer.status_code, answer.data["field"]) == (400, field)
    assert not FlowRun.objects.exists()


def test_the_whole_body_can_be_one_parameter(api: APIClient, deployment: Deployment) -> None:
    deployment.parameter_schema = {}
    deployment.save()
    APIClient().post(made(api, deployment, {"event": "*"}), BODY)

    assert FlowRun.objects.get().parameters == {"limit": 5, "event": BODY}


def test_too_large_and_broken_bodies_are_refused(api: APIClient, deployment: Deployment) -> None:
    url = made(api, deployment)

    assert APIClient().post(url, {"event": "x" * 600_000}).status_code == 413
    assert APIClient().post(url, "{", content_type="application/json").status_code == 400
    assert APIClient().get(url).status_code == 405


def test_another_address_or_none_ends_the_one_before(api: APIClient, deployment: Deployment) -> None:
    first = made(api, deployment, {})
    path = f"/api/deployments/{deployment.pk}/webhook/"
    assert api.post(path, {}).status_code == 409
    second = api.post(f"{path}rotate/").data["url"].removeprefix("http://testserver")

    assert APIClient().post(first, {}).status_code == 404
    assert APIClient().post(second, {}).status_code == 202
    assert api.patch(path, {"mapping": {"limit": "n"}}).data["mapping"] == {"limit": "n"}
    assert api.patch(path, {"mapping": {"unknown": "n"}}).data["field"] == "mapping.unknown"
    assert api.delete(path).status_code == 204
    assert APIClient().post(second, {}).status_code == 404
    assert api.get(path).status_code == 404
    verbs = set(AuditEntry.objects.values_list("verb", flat=True))
    assert {f"deployment.{verb}_webhook" for verb in ("create", "rotate", "change", "delete")} <= verbs


def test_the_secret_is_not_kept(deployment: Deployment) -> None:
    _, secret = webhooks.create_webhook(deployment)

    assert secret not in str(Webhook.objects.values())


def test_a_viewer_is_refused(api: APIClient, user: User, deployment: Deployment) -> None:
    Membership.objects.filter(user=user).update(role=Role.OPERATOR)

    assert api.post(f"/api/deployments/{deployment.pk}/webhook/", {}).status_code == 403
    assert not Webhook.objects.exists()


def test_its_page_makes_it_and_shows_the_address_once(client: Client, user: User, deployment: Deployment) -> None:
    client.force_login(user)
    path = f"/deployments/{deployment.pk}/webhook/"
    assert b"Make its address" in client.get(path).content
    wrong = client.post(path, {"mapping": "day event.date"})
    assert wrong.status_code == 422
    assert b"day event.date" in wrong.content
    assert client.post(path, {"mapping": "day = event.date"}).status_code == 302
    shown = client.get(path).content.decode()

    url = shown.split('id="secret">')[1].split("<")[0].removeprefix("http://testserver")
    assert APIClient().post(url, BODY).status_code == 202
    later = client.get(path).content.decode()
    assert url not in later
    assert "day = event.date" in later
    assert Webhook.objects.get().prefix in client.get(f"/deployments/{deployment.pk}/").content.decode()

    client.post(path, {"do": "rotate"})
    assert 'id="secret"' in client.get(path).content.decode()
    assert APIClient().post(url, BODY).status_code == 404
    client.post(path, {"do": "delete"})
    assert not Webhook.objects.exists()


def test_its_page_saves_no_mapping_over_another_one(client: Client, user: User, deployment: Deployment) -> None:
    client.force_login(user)
    webhook, _ = webhooks.create_webhook(deployment, mapping={"day": "a"})
    path = f"/deployments/{deployment.pk}/webhook/"
    version = client.get(path).content.decode().split('name="version" value="')[1].split('"')[0]
    webhooks.webhook_of(webhooks.rotate_webhook(webhook)[1])  # neither is what the form shows
    assert client.post(path, {"mapping": "day = b", "version": version}).status_code == 302
    refused = client.post(path, {"mapping": "day = c", "version": version})
    assert refused.status_code == 422
    assert "It was changed while you had it open" in refused.content.decode()
    assert Webhook.objects.get().mapping == {"day": "b"}
