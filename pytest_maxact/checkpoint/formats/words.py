"""Integers of a few bits in words of 32: words in, integers out, in the order in which each packer puts them."""

from typing import Any

AWQ_ORDER = (0, 4, 1, 5, 2, 6, 3, 7)
"""Where in a word of AWQ's the entry lies that comes first, second and so on: it is packed as 0 2 4 6 1 3 5 7."""


def down(words: Any, bits: int) -> Any:
    """Of words [n, m], the integers [n x 32 / bits, m]: the first of a column in the lowest bits. A stream of bits
    where an integer lies across two words, as those of 3 bits do.
    """
    import torch

    n = words.shape[0] * 32 // bits
    wide = torch.cat([words.long() & 0xFFFFFFFF, torch.zeros(1, words.shape[1], dtype=torch.int64)])
    first = torch.arange(n) * bits
    word, shift = first // 32, (first % 32).unsqueeze(1)
    return ((wide[word] | (wide[word + 1] << 32)) >> shift) & ((1 << bits) - 1)


def along(words: Any, bits: int, order: tuple[int, ...] = ()) -> Any:
    """Of words [n, m], the integers [n, m x 32 / bits], in the given order within a word."""
    integers = down(words.t(), bits).t()
    if not order:
        return integers
    return integers.unflatten(1, (-1, len(order)))[:, :, list(order)].flatten(1)
