"""Addresses in log lines."""

import time

import pytest

from runs.links import linked


@pytest.mark.parametrize(
    ("text", "html"),
    [
        (
            "Dask dashboard: http://127.0.0.1:8787/status",
            'Dask dashboard: <a class="linked" href="http://127.0.0.1:8787/status" rel="noreferrer nofollow">'
            "http://127.0.0.1:8787/status</a>",
        ),
        (
            "(see https://x.org/a?b=1&c=2).",
            '(see <a class="linked" href="https://x.org/a?b=1&amp;c=2" rel="noreferrer nofollow">'
            "https://x.org/a?b=1&amp;c=2</a>).",
        ),
        ("<b>javascript:alert(1)</b>", "&lt;b&gt;javascript:alert(1)&lt;/b&gt;"),
        ("www.x.org, a@b.c, http://", "www.x.org, a@b.c, http://"),
        ('http://x"onmouseover="alert(1)', None),
    ],
)
def test_addresses_become_links_and_nothing_else(text: str, html: str | None):
    shown = linked(text)
    if html is not None:
        assert shown == html
    assert '" onmouseover' not in shown
    assert "<b>" not in shown


def test_no_text_makes_it_slow():
    begun = time.perf_counter()
    for text in ("http://" * 600, "http://" + "." * 4000, "https:" * 700, "http://a" + ")" * 4000):
        linked(text)
    assert time.perf_counter() - begun < 1
