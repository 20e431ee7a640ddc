"""The site of docs/: every page has its place, and what is written for GitHub is read there too."""

from typing import Any

import pytest
import yaml

from tests.support.markdown import anchors_of
from tests.support.paths import REPOSITORY
from tools.docs_site import REPOSITORY as ADDRESS
from tools.docs_site import as_github, on_page_markdown, on_post_page

SITE = yaml.safe_load((REPOSITORY / "mkdocs.yml").read_text())


def pages_in(node: Any) -> list[str]:
    if isinstance(node, str):
        return [node]
    return [page for entry in (node.values() if isinstance(node, dict) else node) for page in pages_in(entry)]


def test_every_page_has_one_place_in_the_navigation() -> None:
    assert sorted(pages_in(SITE["nav"])) == sorted(path.name for path in (REPOSITORY / "docs").glob("*.md"))


def test_nothing_of_the_site_comes_from_elsewhere() -> None:
    assert SITE["theme"]["font"] is False
    assert not {"extra_javascript", "extra_css"} & SITE.keys()
    assert SITE["strict"] is True


def test_the_theme_does_not_ask_github_for_stars_and_a_search_for_an_option_finds_it() -> None:
    page = on_post_page('<body><a class="md-source" data-md-component="source">GitHub</a></body>')
    assert page.startswith('<body><a class="md-source">GitHub</a><script>')
    assert r"value.replace(/(^|\s)-+/g" in page


@pytest.mark.parametrize(
    ("written", "on_the_site"),
    [
        ("see [it](../README.md#try-it)\n", f"see [it]({ADDRESS}README.md#try-it)\n"),
        ("[limits](limits.md#a)", "[limits](limits.md#a)"),
        ("so:\n- a\n- b\n", "so:\n\n- a\n- b\n"),
        ("- a\n- b\n", "- a\n- b\n"),
        ("1. a\n2. b\n", "1. a\n2. b\n"),
        ("- a\n  goes on\n- b\n", "- a\n  goes on\n- b\n"),
        ("```bash\na --b=c   # what for\nd\n```\n", "```bash\n# what for\na --b=c\nd\n```\n"),
        ("```python\na = 1  # what for\n```\n", "```python\na = 1  # what for\n```\n"),
        ("```\nso:\n- a [x](../y)\n```\n", "```\nso:\n- a [x](../y)\n```\n"),
    ],
)
def test_what_is_written_for_github_is_read_as_it_is_there(written: str, on_the_site: str) -> None:
    assert on_page_markdown(written) == on_the_site


def test_anchors_are_those_that_links_name() -> None:
    page = REPOSITORY / "docs" / "quickstart.md"
    titles = [line.lstrip("# ") for line in page.read_text().splitlines() if line.startswith("##")]
    assert {as_github(title, "-") for title in titles} <= anchors_of(page)
