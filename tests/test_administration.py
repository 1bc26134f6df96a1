"""The administration's side and index, and who pays for them."""

import subprocess
import sys

from django.contrib import admin
from django.test import RequestFactory

from orchestrator.administration import GROUPS, grouped, theme


def test_every_model_stands_in_one_group() -> None:
    admin.autodiscover()
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


def test_a_process_that_serves_no_page_imports_none_of_it() -> None:
    code = (
        "from orchestrator import site; site.setup(); import runs.tailer, orchestrator.celery, sys\n"
        "print([name for name in sys.modules if name.split('.')[1:2] == ['admin'] or name == 'orchestrator.urls'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
