"""The stress set through a loaded model: what the corpus gave in, the largest activations by site and recipe out, for
the Record to keep apart.

The corpus decides two things: which samples are tried with a BOS and without, and which tokens are repeated, the worst
first tokens of the carrier and of every site.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from pytest_maxact import corpus
from pytest_maxact.checkpoint.load import LoadedModel
from pytest_maxact.checkpoint.sites.anatomy import Anatomy
from pytest_maxact.corpus.stress.recipes import (
    FIRST,
    Vocabulary,
    first_tokens,
    paired,
    repeated,
    strained,
    vocabulary_of,
    whole_context,
)
from pytest_maxact.errors import MeasureError
from pytest_maxact.measure.embedded import norms_of
from pytest_maxact.measure.seen import seen_on
from pytest_maxact.record.reading import SiteReading
from pytest_maxact.record.stress import Recipe, SiteStress, Stress

TOKENS = 131072
"""So many tokens a stress set has, or little more."""
_WORST, _SPREAD = 16, 48
_SHORTEST = 512
_ALONE = 2048
"""First tokens of a model whose sequences run alone."""
_Seen = dict[str, Mapping[str, SiteReading]]


def measure_stress(
    loaded: LoadedModel, anatomy: Anatomy, tokenizer: Any, sequences: Sequence[corpus.Sequence], *, context: int,
    batch_tokens: int, seed: int, tokens: int = TOKENS, alone: bool = False,
) -> Stress:  # fmt: skip
    """`sequences`: the encoded corpus; `context`: tokens that the model has positions for; `tokens`: about so many are
    run, half of them first tokens, of as large a vocabulary as that allows; fewer of a model whose sequences run
    `alone`, each in a pass of its own.

    Raises MeasureError where it could not be measured in full.
    """

    def see(given: Sequence[corpus.Sequence]) -> Mapping[str, SiteReading]:
        return seen_on(loaded, anatomy, given, batch_tokens, tokenizer)

    vocabulary = vocabulary_of(tokenizer, norms_of(loaded, anatomy))
    scanned = first_tokens(vocabulary, max(1, min(tokens // 2, _ALONE) if alone else tokens // 2))
    seen: _Seen = {FIRST: see(scanned)}
    sets = {FIRST: scanned}
    worst = _worst(seen[FIRST], vocabulary)
    others = [
        *repeated(vocabulary, worst, _SPREAD, context),
        *paired(vocabulary, sequences, context),
        *strained(vocabulary, sequences, context, seed),
    ]
    for name in dict.fromkeys(sequence.sample.category for sequence in others):
        sets[name] = [sequence for sequence in others if sequence.sample.category == name]
        seen[name] = see(sets[name])
    left = tokens - sum(len(sequence) for given in sets.values() for sequence in given)
    length = min(context, max(_SHORTEST, left // 3))
    while length:
        given = whole_context(vocabulary, sequences, worst[0], length, seed)
        name = given[0].sample.category
        try:
            seen[name], sets[name] = see(given), given
            break
        except MeasureError as error:
            if "out of memory" not in str(error) or length <= _SHORTEST:
                raise
            length //= 2
    return _told(seen, sets, vocabulary, seed)


def _worst(seen: Mapping[str, SiteReading], vocabulary: Vocabulary) -> list[int]:
    """The tokens with the largest entries: of the carrier, then of every counted site its worst, the largest first."""
    known = set(vocabulary.ids)
    counted = sorted(
        (reading for reading in seen.values() if reading.site.counted and reading.peaks),
        key=lambda reading: (-reading.finite_max, reading.site.order),
    )
    peaks = [peak for reading in counted[:1] for peak in reading.peaks] + [reading.peaks[0] for reading in counted]
    found = [peak.token_id for peak in peaks if peak.token_id in known]
    return list(dict.fromkeys([*found, vocabulary.ids[0]]))[:_WORST]


def _told(
    seen: _Seen, sets: Mapping[str, Sequence[corpus.Sequence]], vocabulary: Vocabulary, seed: int
) -> Stress:  # fmt: skip
    return Stress(
        seed=seed,
        scanned=len(sets[FIRST]) - 1,
        vocabulary=len(vocabulary.ids),
        recipes={name: Recipe(samples=len(given), tokens=sum(map(len, given))) for name, given in sets.items()},
        sites={site: _site([(name, found[site]) for name, found in seen.items()]) for site in seen[FIRST]},
    )


def _site(readings: Sequence[tuple[str, SiteReading]]) -> SiteStress:
    peaks = [peak for _, reading in readings for peak in reading.peaks[:1]]
    broken = [reading.first_nonfinite for _, reading in readings if reading.first_nonfinite]
    return SiteStress(
        largest={name: reading.max_abs for name, reading in readings},
        peak=min(peaks, key=lambda peak: peak.order, default=None),
        first_nonfinite=broken[0] if broken else None,
    )
