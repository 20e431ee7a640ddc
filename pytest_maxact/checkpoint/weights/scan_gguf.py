"""A GGUF file read once: of every tensor what its values are once they are given back, which its scales decide: a scale
that is NaN, infinite or zero shows in them. A few MiB at a time.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from pytest_maxact.checkpoint.formats.gguf import values_of
from pytest_maxact.numbers.scan import TensorScan, matrices_of, printable


def scanned_gguf(file: Path) -> Iterator[tuple[str, TensorScan]]:
    """By name, in the order of the file. Raises InputError for one that cannot be read."""
    for header, pieces in values_of(file):
        matrices = matrices_of(header.key, header.shape)
        height = header.shape[-2] if len(header.shape) > 1 else 1
        filled = np.zeros(max(1, matrices), bool)
        top, nonfinite, row = 0.0, 0, 0
        for piece in pieces:
            finite = np.isfinite(piece)
            nonfinite += int(piece.size - np.count_nonzero(finite))
            magnitudes = np.abs(np.where(finite, piece, 0.0))
            top = max(top, float(magnitudes.max(initial=0.0)))
            rows = np.arange(row, row + len(piece)) // height if matrices > 1 else np.zeros(len(piece), np.int64)
            np.logical_or.at(filled, rows, (piece != 0).any(axis=1))
            row += len(piece)
        yield (
            printable(header.key),
            TensorScan(
                file=file.name,
                dtype=header.dtype,
                shape=header.shape,
                elements=int(np.prod(header.shape, dtype=object)) if header.shape else 1,
                nonfinite=nonfinite,
                largest=top,
                empty=int(np.count_nonzero(~filled)) if matrices else 0,
            ),
        )
