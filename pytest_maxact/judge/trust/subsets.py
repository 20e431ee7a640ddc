"""The paper's bootstrap of a Record: M of category-proportional subsets of 1 000 and 2 000 samples, five of each,
without another pass.
"""

from dataclasses import dataclass

import numpy as np

from pytest_maxact.errors import InputError
from pytest_maxact.judge.trust.trust import maxima_of
from pytest_maxact.numbers.subsets import PAPER_REPEATS, PAPER_SIZES, subset
from pytest_maxact.record.record import Record


@dataclass(frozen=True, slots=True, kw_only=True)
class Subset:
    """A row of the paper's table."""

    size: int
    repeat: int
    samples: int
    m: float
    site: str


def paper_bootstrap(record: Record, seed: int = 0) -> tuple[Subset, ...]:
    """Rows in the order of the paper's; those sizes that the corpus has. Raises InputError for one with neither, and
    for a Record that keeps nothing of its samples.
    """
    samples = record.provenance.samples
    sizes = [size for size in PAPER_SIZES if size < len(samples)]
    if not sizes:
        raise InputError(
            f"{record.provenance.model}: {len(samples)} samples have no subsets of {PAPER_SIZES[0]}\n"
            "  measure on a corpus with more; without this option a Record of any size tells its intervals"
        )
    told = maxima_of(record)
    counted = [name for name, reading in record.sites.items() if reading.site.counted]
    if missing := [name for name in counted if name not in told]:
        raise InputError(
            f"{record.provenance.model}: {missing[0]} tells nothing of single samples, so neither does M\n"
            "  measure again, with this version and not slim"
        )
    magnitudes = np.stack([told[name].magnitudes for name in counted])
    categories = [category for _, category, *_ in samples]
    generator = np.random.default_rng(seed)
    rows = []
    for size in sizes:
        for repeat in range(PAPER_REPEATS):
            chosen = magnitudes[:, subset(categories, size, generator)].max(1)
            place = int(chosen.argmax())
            rows.append(Subset(size=size, repeat=repeat, samples=size, m=float(chosen[place]), site=counted[place]))
    return tuple(rows)
