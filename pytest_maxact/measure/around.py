"""What stands around the tokens at which entries sat: readings and the encoded text in, the same readings with a little
of the text before and after each such token out. The one place where that is decoded.
"""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

from pytest_maxact import corpus
from pytest_maxact.numbers.peaks import AROUND_KEPT, Around
from pytest_maxact.record.around import told_around
from pytest_maxact.record.reading import SiteReading

BEFORE, AFTER = 10, 6
"""Tokens that are decoded on either side."""
_HALF = "\ufffd"
"""What stands for a character of which a token is but a part."""


def with_surroundings(
    readings: Mapping[str, SiteReading], sequences: Sequence[corpus.Sequence], tokenizer: Any
) -> dict[str, SiteReading]:
    """`sequences`: those that the readings are of. Where routing hides the row of an entry nothing is told of it."""
    ids = {sequence.sample.id: sequence.ids for sequence in sequences}

    @functools.cache
    def told(sample: str, position: int) -> Around | None:
        own = ids.get(sample, ())
        return around(own, position, tokenizer) if 0 <= position < len(own) else None

    return {name: told_around(reading, told) for name, reading in readings.items()}


def around(ids: Sequence[int], position: int, tokenizer: Any) -> Around:
    """The text around one token. Decoded together, so that blanks stand where the text has them, and alone where a
    character is cut between tokens.
    """

    def text(of: Sequence[int]) -> str:
        return str(tokenizer.decode(list(of))) if of else ""

    start, end = max(0, position - BEFORE), position + 1 + AFTER
    token, reaching, whole = text([ids[position]]), text(ids[start : position + 1]), text(ids[start:end])
    before = reaching.removesuffix(token) if reaching.endswith(token) else text(ids[start:position])
    after = whole.removeprefix(reaching) if whole.startswith(reaching) else text(ids[position + 1 : end])
    before, after = before.strip(_HALF), after.strip(_HALF)
    return Around(
        before=before[-AROUND_KEPT:],
        after=after[:AROUND_KEPT],
        begins=start == 0 and len(before) <= AROUND_KEPT,
        ends=end >= len(ids) and len(after) <= AROUND_KEPT,
    )
