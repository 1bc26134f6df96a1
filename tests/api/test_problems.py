"""Errors have one shape and the right status; a forgotten slash is not one."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.views.generic import RedirectView
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView
from rest_framework.test import APIClient

from flows.models import Deployment
from orchestrator import api_urls
from orchestrator.api_views import ApiView


def test_an_unknown_address_is_a_json_404(api: APIClient) -> None:
    answer = api.get("/api/nothing/here/")

    assert answer.status_code == 404
    assert answer.json()["code"] == "not_found"
    assert "/api/nothing/here/" in answer.json()["message"]


def test_an_unknown_id_is_a_json_404(api: APIClient) -> None:
    answer = api.get("/api/flow-runs/01a20520-ec8c-7ebc-9556-01dc5825feab/")

    assert answer.status_code == 404
    assert answer.data == {"code": "not_found", "message": "There is none with this id that you may see."}


@pytest.mark.parametrize("debug", [False, True])
def test_a_forgotten_slash_is_forgiven(api: APIClient, deployment: Deployment, settings: object, debug: bool) -> None:
    settings.DEBUG = debug  # type: ignore[attr-defined]  Django raises for a POST without its slash there

    assert api.get("/api/flow-runs").status_code == 200
    made = api.post(f"/api/deployments/{deployment.id}/runs", {"parameters": {"limit": 2}})
    assert made.status_code == 201


def test_other_methods_bodies_and_types_are_refused(api: APIClient, deployment: Deployment) -> None:
    path = f"/api/deployments/{deployment.id}/runs/"

    assert api.delete("/api/flow-runs/").status_code == 405
    assert api.post(path, "<run/>", content_type="text/xml").status_code == 415
    broken = api.post(path, '{"parameters":', content_type="application/json")
    assert (broken.status_code, broken.data["code"]) == (400, "parse_error")
    assert api.post(path, "[]", content_type="application/json").status_code == 400


def test_too_large_a_body_is_refused(api: APIClient, deployment: Deployment) -> None:
    answer = api.post(f"/api/deployments/{deployment.id}/runs/", {"parameters": {"day": "x" * 3_000_000}})

    assert answer.status_code == 413
    assert answer.data["code"] == "too_large"


def test_several_errors_are_all_listed(api: APIClient, deployment: Deployment) -> None:
    answer = api.post(f"/api/deployments/{deployment.id}/runs/", {"parameters": {"limit": "x", "dya": 1}})

    assert answer.status_code == 400
    assert {error["field"] for error in answer.data["errors"]} == {"parameters.limit", "parameters.dya"}
    assert answer.data["field"] == answer.data["errors"][0]["field"]
    assert answer.data["message"]


def test_a_misspelt_field_is_named(api: APIClient, deployment: Deployment) -> None:
    answer = api.post(f"/api/deployments/{deployment.id}/runs/", {"paramters": {}})

    assert (answer.status_code, answer.data["field"]) == (400, "paramters")
    assert "parameters" in answer.data["message"]


def test_health_is_open_and_says_more_to_who_is_known(api: APIClient, django_assert_num_queries: object) -> None:
    with django_assert_num_queries(0):  # type: ignore[operator]
        anonymous = APIClient().get("/api/health/")
    known = api.get("/api/health/")

    assert anonymous.status_code == 200
    assert set(anonymous.data) == {"status", "version"}
    assert anonymous.data["status"] == "ok"
    assert set(known.data["parts"]) == {"workers", "deaf", "places", "waiting_seconds"}


def test_the_description_is_valid_and_complete(db: None) -> None:
    from drf_spectacular.drainage import GENERATOR_STATS
    from drf_spectacular.generators import SchemaGenerator
    from drf_spectacular.validation import validate_schema

    schema = SchemaGenerator().get_schema(request=None, public=True)
    validate_schema(schema)

    assert schema["openapi"].startswith("3.1")
    assert "/api/deployments/{id}/runs/" in schema["paths"]
    assert not GENERATOR_STATS


def test_every_view_answers_repeated_requests_and_refuses_lost_updates() -> None:
    def views(patterns: Any) -> Iterator[Any]:
        for pattern in patterns:
            if hasattr(pattern, "url_patterns"):
                yield from views(pattern.url_patterns)
            else:
                yield getattr(pattern.callback, "cls", getattr(pattern.callback, "view_class", None))

    described = {SpectacularAPIView, SpectacularSwaggerSplitView, RedirectView, None}
    assert all(issubclass(view, ApiView) for view in set(views(api_urls.urlpatterns)) - described)
