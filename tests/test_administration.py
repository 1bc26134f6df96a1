"""The administration's side and index."""

from django.contrib import admin
from django.test import RequestFactory

from orchestrator.administration import GROUPS, grouped, theme


def test_every_model_stands_in_one_group() -> None:
    standing = [label for members in GROUPS.values() for label in members]
    assert sorted(standing) == sorted(model._meta.label_lower for model in admin.site._registry)


def test_what_nobody_may_see_leaves_no_group() -> None:
    assert grouped([]) == []


def test_the_sites_theme_holds_here_too() -> None:
    request = RequestFactory().get("/admin/")
    assert theme(request) is None
    for chosen, expected in (("dark", "dark"), ("light", "light"), ("'><script>", None)):
        request.COOKIES["theme"] = chosen
        assert theme(request) == expected
