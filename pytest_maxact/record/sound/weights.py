"""Whether what a Record says of its weight files agrees with itself: the scan in, nothing out, or ValueError with the
first contradiction.

Guards that an edited file does not say that weights were looked at of which nothing was.
"""

import math
from collections import Counter

from pytest_maxact.errors import shown
from pytest_maxact.numbers.counted import counted
from pytest_maxact.numbers.lint import LINTS, LISTED, Lint
from pytest_maxact.numbers.scan import WeightScan


def require_sound_weights(scan: WeightScan | None) -> None:
    """Raise ValueError that names the key and what it contradicts."""
    if scan is None:
        return
    if not scan.tensors or not scan.elements:
        raise ValueError(
            f"weights: {counted(scan.elements, 'entry')} of {counted(scan.tensors, 'tensor')}, so nothing was looked at"
        )
    if len(scan.named) > scan.tensors:
        raise ValueError(f"weights.named: {counted(len(scan.named), 'tensor')}, of {scan.tensors} in all")
    if scan.largest not in scan.named and (scan.named or scan.largest):
        raise ValueError(f"weights.largest: {shown(scan.largest)} is none of weights.named")
    _require_sound_lint(scan.lint)
    for name, tensor in scan.named.items():
        if math.prod(tensor.shape) * (tensor.file.count(",") + 1) < tensor.elements or tensor.elements > scan.elements:
            raise ValueError(
                f"weights.named: {shown(name)} has {counted(tensor.elements, 'entry')}, of shape {tensor.shape}"
            )
        if tensor.nonfinite > tensor.elements:
            raise ValueError(f"weights.named: {shown(name)} has {tensor.nonfinite} of {tensor.elements} non-finite")


def _require_sound_lint(lint: Lint | None) -> None:
    """Findings are counted as they are listed, all of them up to a number of each kind."""
    if lint is None:
        return
    if other := sorted({*lint.counts, *(fault.code for fault in lint.faults)} - set(LINTS)):
        raise ValueError(f"weights.lint: there is no finding {shown(other[0])}")
    listed = Counter(fault.code for fault in lint.faults)
    for code in {*listed, *lint.counts}:
        if listed[code] != min(lint.counts.get(code, 0), LISTED):
            raise ValueError(
                f"weights.lint.counts: {lint.counts.get(code, 0)} of {code}, of which {listed[code]} are listed"
            )
