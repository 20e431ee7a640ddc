"""A long sum of magnitudes is the same however many threads a machine would give it."""

import math

import numpy as np

from pytest_maxact.numbers.dot import dot


def test_it_is_the_sum_of_its_blocks_whatever_their_number() -> None:
    rng = np.random.default_rng(0)
    for size in (0, 1, 8191, 8192, 8193, 32768):
        values, counts = rng.random(size), rng.integers(0, 2**40, size)
        exact = math.fsum(v * float(c) for v, c in zip(values.tolist(), counts.tolist(), strict=True))
        blocks = [float(np.dot(values[at : at + 8192], counts[at : at + 8192])) for at in range(0, size, 8192)]
        assert dot(values, counts) == sum(blocks)
        assert math.isclose(dot(values, counts), exact, rel_tol=1e-12)
