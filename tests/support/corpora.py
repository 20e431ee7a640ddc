"""Corpora made of letters, and how they are encoded."""

import random
from collections.abc import Iterable

from hypothesis import settings
from hypothesis import strategies as st

from pytest_maxact.corpus.samples import Sample
from pytest_maxact.corpus.tokens import Sequence

patient = settings(deadline=None)


def texts(**sizes: int) -> list[Sample]:
    """Samples of distinct text, `category=count`."""
    return [
        Sample(id=f"{category}-{i:03d}", category=category, text=f"{category} text {i}")
        for category, count in sizes.items()
        for i in range(count)
    ]


def shuffled(samples: Iterable[Sample], seed: int = 1) -> list[Sample]:
    mixed = list(samples)
    random.Random(seed).shuffle(mixed)
    return mixed


corpora = st.dictionaries(st.sampled_from(["a", "b", "c", "d"]), st.integers(1, 30), min_size=1).map(
    lambda sizes: texts(**sizes)
)


def encoded(lengths: list[int], category: str = "a") -> list[Sequence]:
    return [
        Sequence(sample=Sample(id=f"{category}{i:03d}", category=category, text=f"{category}{i}"), ids=(5,) * n)
        for i, n in enumerate(lengths)
    ]
