"""Text of others as Markdown shows it: a name, a token or a sentence in, the same characters on the page out, on one
line, whatever they mean to Markdown, to HTML or to a site that links what looks like a name or an address.

Guards that nothing in a name begins markup, ends a table, is fetched or calls somebody.
"""

import re
from collections.abc import Sequence

from pytest_maxact.errors import cut, shown

LONGEST = 300
"""Of one piece of text, in characters; of a longer one its ends, or its first words."""

_ACTIVE = re.compile(r"""[\\`*\[\]<>&|~${}]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])""")
_ADDRESS = re.compile(r":(?=//)|(?<=www)\.|:(?=\w+:)", re.IGNORECASE)
"""What sites make links of by themselves, and pictures of faces."""
_CALLS = re.compile(r"[@#](?=\S)|(?<=\S)@")
"""A person or an issue: sites look for these once the page is made, where a character reference is one already."""
_BEGINS = re.compile(r"^(?: |[-+#=>:!]|\d+[.)])")
"""What begins a heading, a list, a rule or, after spaces, any of these or a block at the beginning of a line."""
_PLAIN = re.compile(r"[\w.,:/()+=-]+(?: [\w.,:/()+=-]+)*", re.ASCII)


def prose(text: str, most: int = LONGEST) -> str:
    """A sentence, with names in it."""
    line = cut(shown(text), most)
    spots = {found.start(): _reference(found[0]) for found in (*_ACTIVE.finditer(line), *_ADDRESS.finditer(line))}
    if begins := _BEGINS.match(line):
        spots[begins.end() - 1] = _reference(begins[0][-1])
    spots |= {found.start(): f"<span>{_reference(found[0])}</span>" for found in _CALLS.finditer(line)}
    return "".join(spots.get(place, character) for place, character in enumerate(line))


def code(text: str, most: int = LONGEST) -> str:
    """A name, as it is typed."""
    line = cut(shown(text), most)
    if not line:
        return "-"
    if _PLAIN.fullmatch(line):
        return f"`{line}`"
    return f"<code>{''.join(c if c.isalnum() or c == ' ' or ord(c) > 126 else _reference(c) for c in line)}</code>"


def row(cells: Sequence[str]) -> str:
    """A row of a table, of cells that are Markdown already."""
    return f"| {' | '.join(cells)} |"


def heading(names: Sequence[str], right: Sequence[int] = ()) -> list[str]:
    """The first two rows of a table; `right`: the columns of figures."""
    return [row(names), row(["---:" if place in right else "---" for place in range(len(names))])]


def _reference(character: str) -> str:
    return f"&#{ord(character)};"
