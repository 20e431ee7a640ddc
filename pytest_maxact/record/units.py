"""What sums of samples are kept of: each sample of the evaluation split, or groups of them where there are many, as a
function of the samples' names and categories alone.

Guard: parts of a cut keep each of their samples, so that they add up to what the whole keeps. A Record whose samples
are in groups adds up to none, and its sums are left out of the whole. Which samples stand together has nothing to do
with their order: ids often follow source or length, and groups that all have their share of each would differ less than
samples drawn at random do.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from hashlib import blake2b

import numpy as np
import numpy.typing as npt

from pytest_maxact.record.held import Distributions
from pytest_maxact.record.provenance import Provenance
from pytest_maxact.record.reading import SiteReading

MOST_SAMPLES = 512
"""Of more samples of the evaluation split groups are kept, unless they are a part of a cut."""
GROUPS = 256
"""About so many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Units:
    """`strata`: the category of each unit, None of categories too small for groups of their own; `places`: which unit
    each of the `samples` of the evaluation split, in the order of their ids, belongs to.
    """

    samples: int
    strata: tuple[str | None, ...]
    places: npt.NDArray[np.int64]

    @property
    def are_groups(self) -> bool:
        return len(self.strata) < self.samples


def units_of(provenance: Provenance) -> Units:
    """Of one Record. Groups are of one category and as large as each other but for one sample; they are so many of
    each category as its share of the samples.
    """
    own = [(name, category) for name, category, split, _ in provenance.samples if split == "evaluation"]
    categories = [category for _, category in own]
    if len(categories) <= MOST_SAMPLES or provenance.shard:
        return Units(
            samples=len(categories), strata=tuple(categories), places=np.arange(len(categories), dtype=np.int64)
        )
    share = GROUPS / len(categories)
    large = {name for name, count in Counter(categories).items() if round(count * share) > 1}
    strata = [name if name in large else None for name in categories]
    groups: dict[str | None, int] = {name: max(1, round(count * share)) for name, count in Counter(strata).items()}
    first = dict(zip(groups, np.cumsum([0, *groups.values()]).tolist(), strict=False))
    met: Counter[str | None] = Counter()
    places = np.zeros(len(strata), np.int64)
    marks = [blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).digest() for name, _ in own]
    for place in sorted(range(len(own)), key=marks.__getitem__):
        name = strata[place]
        places[place] = first[name] + met[name] % groups[name]
        met[name] += 1
    return Units(
        samples=len(categories), strata=tuple(name for name, count in groups.items() for _ in range(count)),
        places=places,
    )  # fmt: skip


def in_units(sites: Mapping[str, SiteReading], provenance: Provenance) -> dict[str, SiteReading]:
    """Readings that keep sums of every sample, with those of the units of the whole instead."""
    units = units_of(provenance)
    return {name: _summed(one, units) for name, one in sites.items()} if units.are_groups else dict(sites)


def without_groups(sites: Mapping[str, SiteReading], provenance: Provenance) -> dict[str, SiteReading]:
    """Readings of a part without sums of groups, which do not add up with those of others."""
    if not units_of(provenance).are_groups:
        return dict(sites)
    return {
        name: replace(one, held=replace(one.held, sampled=None, int8=None))
        if isinstance(one.held, Distributions)
        else one
        for name, one in sites.items()
    }


def _summed(reading: SiteReading, units: Units) -> SiteReading:
    held = reading.held
    if not isinstance(held, Distributions):
        return reading
    sampled, int8 = (None if one is None else one.summed(units.places) for one in (held.sampled, held.int8))
    return replace(reading, held=replace(held, sampled=sampled, int8=int8))
