"""The text of a card below its front matter: a block of ours between two marks in, the text with that block in the
place of the one before, or at its end, out. What stands outside of the marks stays.
"""

import re
from collections.abc import Iterator

from pytest_maxact.report.card.front import broken

BEGIN = "<!-- maxact:begin -->"
END = "<!-- maxact:end -->"
_LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n|$)")
_ASIDE = re.compile(r"(?: {1,3}| {0,3}(?:> ?)+)(.*)")
"""A line inside a list or a quotation."""
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})([^\r\n]*)")


def with_block(text: str, block: str, line_break: str) -> str:
    """Raises InputError where the marks are not one pair of lines, or the end of the text is inside a block of code."""
    _require_apart(text)
    marks, fence = list(_marks(text)), _open_fence(text)
    ours = f"{BEGIN}{line_break}{line_break.join(block.split(chr(10)))}{line_break}{END}"
    if [mark for mark, _ in marks] == [BEGIN, END]:
        return f"{text[: marks[0][1]]}{ours}{text[marks[1][1] + len(END) :]}"
    if marks:
        found = ", ".join(mark for mark, _ in marks)
        raise broken(f"the marks of its block are not one pair, {BEGIN} and {END}, but {found}")
    if fence:
        raise broken(f"its last block of code, {fence}, is never closed")
    return f"{text}{_gap(text, line_break)}{ours}{line_break}"


def _require_apart(text: str) -> None:
    """Raise InputError for a mark inside a list or a quotation: a second block would be put beside that one."""
    for line, _, fence in _lines(text):
        aside = _ASIDE.fullmatch(line.rstrip())
        if aside and not fence and aside[1] in (BEGIN, END):
            raise broken(f"{aside[1]} does not stand at the beginning of its line, where alone it is a mark")


def has_block(text: str) -> bool:
    return any(mark == BEGIN for mark, _ in _marks(text))


def _gap(text: str, line_break: str) -> str:
    """A blank line before what is added."""
    if not text or (not text.strip() and text.endswith(("\r", "\n"))):
        return ""
    return (
        ""
        if re.search(r"(?:\r\n|\r|\n)[ \t]*(?:\r\n|\r|\n)\Z", text)
        else line_break * (1 if text.endswith(("\r", "\n")) else 2)
    )


def _marks(text: str) -> Iterator[tuple[str, int]]:
    """Each mark and where it begins, outside of code."""
    for line, place, fence in _lines(text):
        if not fence and (mark := line.rstrip()) in (BEGIN, END):
            yield mark, place


def _open_fence(text: str) -> str:
    return [fence for _, _, fence in _lines(f"{text}\n")][-1]


def _lines(text: str) -> Iterator[tuple[str, int, str]]:
    """Lines, where they begin, and the fence of the code that they are in, empty outside."""
    fence = ""
    for found in _LINE.finditer(text):
        line = found[0].rstrip("\r\n")
        told = _FENCE.match(line)
        closes = told and fence and told[1].startswith(fence) and not told[2].strip()
        opens = told and not fence and not (told[1][0] == "`" and "`" in told[2])
        if told and opens:
            fence = told[1]
        yield line, found.start(), fence
        if closes:
            fence = ""
