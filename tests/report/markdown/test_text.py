"""Text of others in Markdown: the page shows its characters, and nothing that they could mean."""

import html
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from pytest_maxact.errors import cut, shown
from pytest_maxact.report.markdown.text import LONGEST, code, heading, prose, row
from tests.support.hostile import NAMES

MARKDOWN = MarkdownIt("commonmark", {"html": True}).enable("table").enable("strikethrough")
ACTIVE = st.text(st.sampled_from(list("ab1 \\`*_{}[]()<>#+-.!|~&:@$\"'=/w")), min_size=1, max_size=30)


def seen(markdown: str) -> str:
    """What a page shows, of tags that only say how: everything else would be one that a name began."""
    page = MARKDOWN.render(markdown)
    text = re.sub(r"</?(?:p|code|span|table|thead|tbody|tr|th|td|ul|li)>", "", page)
    assert "<" not in text, page
    return html.unescape(text).strip()


def expected(text: str) -> str:
    return " ".join(cut(shown(text), LONGEST).split())


@pytest.mark.parametrize("said", [prose, code])
@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_shown_as_it_is_wherever_it_stands(name: str, said: object) -> None:
    assert callable(said)
    markdown = str(said(NAMES[name]))
    assert "\n" not in markdown
    assert " ".join(seen(f"x {markdown}").split()) == f"x {expected(NAMES[name])}"
    assert " ".join(seen(f"- {markdown}").split()) == expected(NAMES[name])
    table = seen("\n".join([*heading(["a", "b"]), row([markdown, "c"])]))
    assert [line for line in table.split("\n") if line] == ["a", "b", expected(NAMES[name]), "c"]


@given(ACTIVE)
def test_no_characters_mean_anything(text: str) -> None:
    for said in (prose, code):
        if expected(text):
            assert " ".join(seen(f"- {said(text)}").split()) == expected(text)


@given(ACTIVE)
def test_no_sentence_calls_anybody_and_links_nothing(text: str) -> None:
    """Sites look for these in the text of a finished page, outside of code."""
    for part in re.split(r"<[^>]*>", MARKDOWN.renderInline(prose(text))):
        assert not re.search(r"[@#]\w", html.unescape(part))
    assert not re.search(r"https?://|www\.", prose(text))


def test_ordinary_words_stay_readable() -> None:
    assert prose("layers.3.hidden: max_abs 7.1 exceeds 4, by limits.yaml:12") == (
        "layers.3.hidden: max_abs 7.1 exceeds 4, by limits.yaml:12"
    )
    assert code("layers.3.hidden") == "`layers.3.hidden`"
    assert code("") == "-"
