"""Which tokens samples have their largest entries at: readings and the encoded text in, the same with the ids of these
tokens out, and what each of them says.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from pytest_maxact import corpus
from pytest_maxact.numbers.maxima import SampleMaxima
from pytest_maxact.record.held import Distributions
from pytest_maxact.record.reading import SiteReading
from pytest_maxact.record.spoken import kept_texts


def with_tokens(
    readings: Mapping[str, SiteReading], sequences: Sequence[corpus.Sequence], tokenizer: Any
) -> tuple[dict[str, SiteReading], dict[str, str] | None]:
    """`sequences`: those that the readings are of. The texts are None where nothing is kept of single samples."""
    ids = [sequence.ids for sequence in sorted(sequences, key=lambda sequence: sequence.sample.id)]
    told, spoken = dict(readings), set[int]()
    kept = False
    for name, reading in readings.items():
        held = reading.held
        if not isinstance(held, Distributions) or held.maxima is None:
            continue
        kept = True
        tokens = _tokens(held.maxima, ids)
        spoken.update(tokens.tolist())
        told[name] = replace(reading, held=replace(held, maxima=replace(held.maxima, tokens=tokens)))
    texts = {str(one): str(tokenizer.decode([one])) for one in sorted(spoken) if one >= 0}
    return told, kept_texts(told.values(), texts) if kept else None


def _tokens(maxima: SampleMaxima, ids: Sequence[Sequence[int]]) -> "np.ndarray[Any, np.dtype[np.int32]]":
    places = zip(ids, maxima.positions.tolist(), strict=True)
    return np.array([own[position] if position >= 0 else -1 for own, position in places], np.int32)
