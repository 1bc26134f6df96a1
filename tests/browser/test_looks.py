"""What is wrong with a page's looks is found, in the theme where it is wrong."""

import pytest
from playwright.sync_api import Page

from tests.browser.looks import assert_looks_right

PAGE = """<!doctype html><html lang="en" style="color-scheme: light dark"><title>Runs</title>
<body style="background: light-dark(#fff, #000)"><main><h1 style="%s">Every run of this team</h1>%s</main>"""


@pytest.mark.parametrize(
    ("style", "more", "finding"),
    [
        ("color: light-dark(#000, #222)", "", r"(?s) dark: .*color-contrast"),
        ("color: light-dark(#ddd, #fff)", "", r"(?s) light: .*color-contrast"),
        ("color: light-dark(#000, #fff)", "<img src='data:,'>", r"(?s) light: .*image-alt"),
        ("color: light-dark(#000, #fff); width: 321px; margin: 0", "", " is 32[0-9] px wide at 320"),
    ],
)
def test_what_is_wrong_is_found(page: Page, style: str, more: str, finding: str) -> None:
    page.set_content(PAGE % (style, more))
    with pytest.raises(AssertionError, match=finding):
        assert_looks_right(page)


def test_a_page_that_is_right_passes(page: Page) -> None:
    page.set_content(PAGE % ("color: light-dark(#000, #fff)", ""))
    assert_looks_right(page)
