"""The browser that other tests stand on."""

from playwright.sync_api import Page
from pytest_httpserver import HTTPServer


def test_page_shows_what_a_server_sends(page: Page, httpserver: HTTPServer) -> None:
    httpserver.expect_request("/").respond_with_data("<h1>Runs</h1>", content_type="text/html")
    page.goto(httpserver.url_for("/"))
    assert page.get_by_role("heading").inner_text() == "Runs"
