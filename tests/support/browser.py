"""The Chromium of the system, which opens pages as a reader does: what a page asked for, what it complained of, and
what keeps people from reading it.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

IN_CI = "MAXACT_TESTS_RUN_IN_CI"
"""Set by the tests' own conftest before it takes away what a machine says of itself."""
SERIOUS = ("serious", "critical")
PHONE, DESK, PAPER, LETTER = (375, 720), (1280, 900), (688, 1016), (710, 950)
"""In pixels; paper: A4, and Letter, less the margins of a page."""
PHONES = (320, 360, 390)
"""Widths in pixels, from the narrowest that is in use."""
DRAWN = "html[data-drawn]:not([data-drawing])"
"""Waited for as a selector: the page's own policy lets nothing be evaluated in it again and again."""

_KEEP = """() => {
    const boxes = [...document.querySelectorAll("details")].map((box) => [box, box.open]);
    const bodies = [...document.querySelectorAll("tbody")].map((body) => [body, [...body.rows]]);
    window.asOpened = () => {
        for (const [box, open] of boxes) box.open = open;
        for (const [body, rows] of bodies) body.append(...rows);
        for (const head of document.querySelectorAll("[aria-sort]")) head.removeAttribute("aria-sort");
        document.activeElement?.blur();
    };
}"""
_WIDE = """width => {
    const boxed = (e) => {
        const box = e.parentElement.closest(".scroll");
        return box && getComputedStyle(box).overflowX === "auto";
    };
    return [...document.querySelectorAll("body *")]
        .filter((e) => e.getClientRects().length && e.getBoundingClientRect().right > width + 1)
        .filter((e) => !e.closest(".skip, #vg-tooltip-element") && !boxed(e))
        .filter((e) => !e.closest("svg") || e.tagName === "svg" || e.tagName === "text")
        .map((e) => `${e.tagName} ${e.getAttribute("class")} ${e.textContent.slice(0, 40)}`);
}"""


@contextmanager
def chromium() -> Iterator[Any]:
    """Skips where there is none, but for CI, which has to have one."""
    from playwright.sync_api import sync_playwright

    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        (pytest.fail if os.environ.get(IN_CI) else pytest.skip)("there is no Chromium to open pages with")
    with sync_playwright() as playwright:
        flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        browser = playwright.chromium.launch(executable_path=path, args=flags)
        try:
            yield browser
        finally:
            browser.close()


@dataclass
class Opened:
    """A page as it stands open: `asked`, what it wanted from anywhere, of which nothing was given; `said`, errors and
    warnings of its scripts; `seconds` of a processor until it was drawn, and whether that was before its load ended.
    """

    page: Any
    path: Path
    asked: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    seconds: float = 0.0
    loaded_whole: bool = False

    def look(self, size: tuple[int, int] = DESK, scheme: str = "light", media: str = "screen") -> Any:
        """The page at this size, with its figures drawn for it, and what others opened, closed and sorted as it was."""
        self.page.evaluate("window.asOpened()")
        self.page.emulate_media(media=media, color_scheme=scheme)
        wanted = {"width": size[0], "height": size[1]}
        if self.page.viewport_size != wanted:
            self.page.set_viewport_size(wanted)
            self.page.wait_for_timeout(200)
            self.page.wait_for_selector(DRAWN, state="attached")
        return self.page

    def wider_than(self, width: int) -> list[str]:
        """What reaches beyond the edge, but for what scrolls in a box of its own."""
        return list(self.page.evaluate(_WIDE, width))

    def faults(self, *rules: str) -> list[str]:
        """What axe-core finds that keeps people from reading or using it, by these rules or all; of long tables their
        first rows.
        """
        from axe_core_python.sync_playwright import Axe

        options = {"resultTypes": ["violations"]} | ({"runOnly": list(rules)} if rules else {})
        found = Axe().run(self.page, {"exclude": [["tbody tr:nth-child(n+12)"]]}, options)["violations"]
        return [
            f"{one['id']}: {node['html'][:200]}"
            for one in found
            if one["impact"] in SERIOUS
            for node in one["nodes"][:3]
        ]


def opened(browser: Any, path: Path, **how: Any) -> Opened:
    """The page of a file, with every figure drawn. Whatever else it asks for is refused and noted."""
    context = browser.new_context(viewport={"width": DESK[0], "height": DESK[1]}, accept_downloads=True, **how)
    one = Opened(page=context.new_page(), path=path)

    def route(asked: Any) -> None:
        if asked.request.url.partition("#")[0] == path.as_uri():
            asked.continue_()
        else:
            one.asked.append(asked.request.url)
            asked.abort()

    context.route("**/*", route)
    one.page.on("console", lambda m: one.said.append(m.text) if m.type in ("error", "warning") else None)
    one.page.on("pageerror", lambda error: one.said.append(str(error)))
    costs = context.new_cdp_session(one.page)
    costs.send("Performance.enable", {"timeDomain": "threadTicks"})
    one.page.goto(path.as_uri())
    one.loaded_whole = one.page.evaluate("document.documentElement.dataset.drawn !== undefined")
    one.page.wait_for_selector(DRAWN, state="attached", timeout=60_000)
    counted = {cost["name"]: cost["value"] for cost in costs.send("Performance.getMetrics")["metrics"]}
    one.seconds = counted["TaskDuration"]
    one.page.evaluate(_KEEP)
    return one
