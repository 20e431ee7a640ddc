"""What pages say of each other and of the program: links lead somewhere, and what is written from the program is what
would be written now.
"""

from pathlib import Path

import pytest

from tests.support.markdown import PAGES, anchors_of, links_of
from tests.support.paths import REPOSITORY
from tools.write_docs import DOCS, WRITTEN, with_part


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_links_lead_to_pages_and_headings_that_exist(page: Path) -> None:
    for link in links_of(page):
        if "://" in link:
            continue
        file, _, anchor = link.partition("#")
        target = (page.parent / file).resolve() if file else page
        assert target.exists(), link
        assert not anchor or anchor in anchors_of(target), link


def test_every_page_of_the_docs_is_reached_from_the_index() -> None:
    assert {path.name for path in DOCS.glob("*.md")} - {"index.md"} <= set(links_of(DOCS / "index.md"))


@pytest.mark.parametrize("name", ["options", "schemes", "commands"])
def test_what_is_written_from_the_program_is_as_it_would_be_written_now(name: str) -> None:
    file, write = WRITTEN[name]
    page = (DOCS / file).read_text()
    assert page == with_part(page, name, write()), f"write it again: python -m tools.write_docs {name}"


def test_a_page_without_the_part_is_told() -> None:
    with pytest.raises(ValueError, match="no part `<!-- written: options -->`"):
        with_part("# Options\n", "options", "| a |")


def test_the_readme_is_two_screens_with_the_commands_that_ci_runs() -> None:
    text = (REPOSITORY / "README.md").read_text()
    assert len(text.splitlines()) <= 110
    for name in ("gate", "test"):
        assert text.count(f"<!-- readme: {name} -->\n```bash\n") == 1
