"""Which tokens a Record tells the text of: readings and the texts of all tokens at maxima in, those that are kept out.

All of them would take as much room as the maxima. Kept are those that a report names, of the largest samples of every
site, and those that have a class of their own, delimiters and beginnings: of any other it is known that it has none.
"""

from collections.abc import Iterable, Mapping

import numpy as np

from pytest_maxact.numbers.maxima import SampleMaxima
from pytest_maxact.numbers.tokens import is_bos, is_delimiter
from pytest_maxact.record.held import Distributions
from pytest_maxact.record.reading import SiteReading

NAMED = 10
"""Of so many samples of every site, the largest, it is told what their token says."""


def kept_texts(readings: Iterable[SiteReading], texts: Mapping[str, str]) -> dict[str, str]:
    """In the order of ids."""
    named = named_tokens(readings)
    kept = {one for one, text in texts.items() if one in named or is_bos(text) or is_delimiter(text)}
    return {one: texts[one] for one in sorted(kept, key=int)}


def named_tokens(readings: Iterable[SiteReading]) -> set[str]:
    """Ids of the tokens at which the largest samples of every site have their maxima."""
    held = (one.held.maxima for one in readings if isinstance(one.held, Distributions))
    return {str(token) for maxima in held if maxima is not None for token in _largest(maxima)}


def _largest(maxima: SampleMaxima) -> list[int]:
    if maxima.tokens is None:
        return []
    places = np.argsort(-maxima.magnitudes, kind="stable")[:NAMED]
    return [token for token in maxima.tokens[places].tolist() if token >= 0]
