"""What a search for worse inputs found at one site, which an ordinary pass measured, and the lines of a corpus file
that holds its finds.

Guard: a find becomes a sample as it is, token by token, for the tokenizer that it is of.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pytest_maxact.numbers.checked import Count, FigureAboveZero
from pytest_maxact.numbers.peaks import Peak
from pytest_maxact.record.output import Kind

CATEGORY = "hunt"


@dataclass(frozen=True, slots=True, kw_only=True)
class Hunted:
    """`corpus` and `found`: M of the site on either, inf where an entry was NaN or infinite. `how` the worst input was
    come by: first token, pair, corpus or search; `text` is what it says, `peak` where its largest entry sat. `inputs`:
    the worst, and a few behind it. `evaluations` were made for all sites of the search, `scanned` of the first tokens
    of a `vocabulary` of so many among them.
    """

    site: str
    corpus: FigureAboveZero
    found: FigureAboveZero
    how: str
    text: str
    inputs: tuple[tuple[Count, ...], ...]
    evaluations: Count
    scanned: Count
    vocabulary: Count
    peak: Peak | None = None

    @property
    def ids(self) -> tuple[int, ...]:
        return self.inputs[0]


def corpus_of(found: Iterable[Hunted], tokenizer: str) -> bytes:
    """A corpus file, JSON lines, of every input once, called by the first site that it is of. `tokenizer`: the digest
    of the one whose ids they are.
    """
    named: dict[tuple[int, ...], str] = {}
    for one in found:
        for rank, ids in enumerate(one.inputs, 1):
            named.setdefault(ids, f"{CATEGORY}/{one.site}/{rank}")
    lines = [
        {"id": name, "category": CATEGORY, "input_ids": list(ids), "tokenizer_sha256": tokenizer}
        for ids, name in named.items()
    ]
    return "".join(json.dumps(line) + "\n" for line in lines).encode()


def is_finds(path: Path) -> bool:
    """Whether a file is one that a search wrote, or empty."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        return all(json.loads(line)["category"] == CATEGORY for line in lines)
    except (OSError, ValueError, KeyError, TypeError):
        return False


FINDS = Kind(called="the worst inputs", is_one=is_finds)
