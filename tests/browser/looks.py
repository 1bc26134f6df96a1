"""How a page looks: what axe finds in it, in both themes, and whether it fits a screen."""

from typing import Literal

from axe_playwright_python.base import AXE_SCRIPT, AxeResults
from playwright.sync_api import Page, ViewportSize

THEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
SCREEN: ViewportSize = {"width": 1280, "height": 900}
# axe's rules for WCAG 2.2 A and AA, and its best practices
_TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
# Only violations are brought here: all that passed costs more to bring than to find.
_RUN = """([tags, coloursAlone]) => {
  const ofColours = axe.getRules(tags).filter(rule => rule.tags.includes("cat.color")).map(rule => rule.ruleId);
  return axe
    .run(document, {runOnly: coloursAlone ? ofColours : tags, resultTypes: ["violations"]})
    .then(({violations}) => ({violations}));
}"""
_WIDER = """width => [...document.querySelectorAll(".page *")]
  .filter(element => element.getBoundingClientRect().right > width + 1)
  .map(element => element.outerHTML.slice(0, 150))"""


def found_by_axe(page: Page, *, colours_alone: bool = False) -> str:
    """What axe finds in a page as it is now, in words; empty where that is nothing."""
    if page.evaluate("!window.axe"):
        page.evaluate(AXE_SCRIPT)
    results = AxeResults(page.evaluate(_RUN, [_TAGS, colours_alone]))
    return results.generate_report() if results.violations_count else ""


def assert_fits(page: Page, *widths: int) -> None:
    """Nothing of a page is wider than these screens."""
    for pixels in widths:
        page.set_viewport_size({"width": pixels, "height": 700})
        width = page.evaluate("document.documentElement.scrollWidth")
        assert width <= pixels, f"{page.url} is {width} px wide at {pixels}: {page.evaluate(_WIDER, pixels)[:3]}"


def assert_looks_right(page: Page, *, narrow: int = 320) -> None:
    """Axe finds nothing in a page in either theme, and nothing is wider than a phone.

    The themes differ in `color-scheme` alone, which the style sheet answers to at once: so the page is loaded once, and
    in the dark theme axe tries its rules of colours.
    """
    page.set_viewport_size(SCREEN)
    for theme in THEMES:
        page.emulate_media(color_scheme=theme)
        assert not (found := found_by_axe(page, colours_alone=theme == "dark")), f"{page.url} {theme}: {found}"
    for theme in reversed(THEMES):
        page.emulate_media(color_scheme=theme)
        assert_fits(page, narrow)
    page.set_viewport_size(SCREEN)
