"""The pages of this repository, taken apart: code blocks with what is said of them, links and headings."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support.paths import REPOSITORY

PAGES = sorted([*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").glob("*.md")])
_FENCE = re.compile(r"^( *)```(\w*)\s*$")
_COMMENT = re.compile(r"<!-- (.*) -->")


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A fenced block. `said`: the comment in the line before it, as `not run: needs a hub`."""

    page: str
    line: int
    language: str
    text: str
    said: str

    @property
    def name(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def reason_not_to_run(self) -> str:
        return self.said.removeprefix("not run: ") if self.said.startswith("not run: ") else ""


def blocks_of(path: Path) -> Iterator[Block]:
    lines = path.read_text().splitlines()
    numbers = iter(range(len(lines)))
    for i in numbers:
        if not (opened := _FENCE.match(lines[i])):
            continue
        end = next(j for j in range(i + 1, len(lines)) if lines[j].strip() == "```")
        comment = _COMMENT.fullmatch(lines[i - 1].strip()) if i else None
        yield Block(
            page=str(path.relative_to(REPOSITORY)),
            line=i + 1,
            language=opened[2],
            text="\n".join(line.removeprefix(opened[1]) for line in lines[i + 1 : end]) + "\n",
            said=comment[1] if comment else "",
        )
        while next(numbers) < end:
            pass


def blocks(*languages: str) -> list[Block]:
    return [block for path in PAGES for block in blocks_of(path) if not languages or block.language in languages]


def commands_of(text: str) -> list[list[str]]:
    """The words of every command in shell text: lines joined, comments and redirections left out."""
    found = []
    for line in text.replace("\\\n", " ").splitlines():
        for part in re.split(r"&&", line):
            words = shlex.split(part, comments=True)
            if ">" in words:
                words = words[: words.index(">")]
            if words:
                found.append([word.removeprefix(".venv/bin/") if i == 0 else word for i, word in enumerate(words)])
    return found


def anchors_of(path: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    text = re.sub(r"^```.*?^```", "", path.read_text(), flags=re.DOTALL | re.MULTILINE)
    titles = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def links_of(path: Path) -> list[str]:
    text = re.sub(r"^ *```.*?^ *```", "", path.read_text(), flags=re.DOTALL | re.MULTILINE)
    return re.findall(r"\]\(([^)\s]+)\)", text)
