"""What the site makes of pages that are written for GitHub: the Markdown of a page in, that of the site out. Run by
mkdocs (`hooks:` of mkdocs.yml).

A link out of docs/ becomes an address of the repository, a list that follows a line of text gets the blank line that it
wants there, what is said behind a command stands above it, for a page is narrower, and anchors are those that GitHub
makes of headings. The theme's script does not ask GitHub for stars, and a search for `--maxact-deploy` is one for its
words: a dash before a word would leave out what has it.
"""

import re
from typing import Any

REPOSITORY = "https://github.com/pytest-maxact/pytest-maxact/blob/main/"
_OUTSIDE = re.compile(r"(\]\()\.\./(?=[^)\s]+\))")
_FENCED = re.compile(r"(^ *```.*?^ *```$)", re.DOTALL | re.MULTILINE)
_ASKS_GITHUB = ' data-md-component="source"'
_UNDASHED = """<script>addEventListener("input", event => {
  const field = event.target.closest("[data-md-component=search-query]")
  if (field && /(^|\\s)-/.test(field.value)) field.value = field.value.replace(/(^|\\s)-+/g, "$1")
}, true)</script>
"""
_SAID_BEHIND = re.compile(r"^( *)(\S.*?) {2,}(# .*)$", re.MULTILINE)
_LIST = re.compile(r"^(?! | *[-*|>#]| *\d+\. |$)(.+)\n(?=(?:[-*]|\d+\.) )", re.MULTILINE)


def on_page_markdown(markdown: str, **_: Any) -> str:
    pieces = _FENCED.split(markdown)
    return "".join(_block(piece) if place % 2 else _of_site(piece) for place, piece in enumerate(pieces))


def on_post_page(output: str, **_: Any) -> str:
    return output.replace(_ASKS_GITHUB, "").replace("</body>", f"{_UNDASHED}</body>")


def on_post_template(output_content: str, **_: Any) -> str:
    return on_post_page(output_content)


def on_config(config: Any) -> Any:
    config.mdx_configs.setdefault("toc", {})["slugify"] = as_github
    return config


def as_github(title: str, separator: str) -> str:
    """The anchor that GitHub makes of a heading."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", separator)


def _block(text: str) -> str:
    return _SAID_BEHIND.sub(r"\1\3\n\1\2", text) if text.lstrip().startswith("```bash") else text


def _of_site(text: str) -> str:
    text = _OUTSIDE.sub(rf"\g<1>{REPOSITORY}", text)
    return _LIST.sub(r"\1\n\n", text)
