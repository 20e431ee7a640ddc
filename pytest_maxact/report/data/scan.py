"""What the tensors of the weight files hold, for a program."""

from dataclasses import asdict
from typing import Any

from pytest_maxact.numbers.scan import TensorScan, WeightScan
from pytest_maxact.report.data.lint import lint_data


def scan_data(scan: WeightScan) -> dict[str, Any]:
    """`{"files", "tensors", "elements", "nonfinite", "largest", "broken": {name: {...}}, "all_zero", "misfits"}`."""
    return {
        "files": list(scan.files),
        "tensors": scan.tensors,
        "elements": scan.elements,
        "nonfinite": sum(tensor.nonfinite for tensor in scan.named.values()),
        "largest": {"tensor": scan.largest, **_tensor(scan.named[scan.largest])} if scan.largest else None,
        "broken": {name: _tensor(tensor) for name, tensor in scan.broken.items()},
        "all_zero": {name: _tensor(tensor) for name, tensor in scan.empty.items()},
        "misfits": dict(scan.misfits),
        **({"lint": lint_data(scan.lint)} if scan.lint else {}),
    }


def _tensor(tensor: TensorScan) -> dict[str, Any]:
    return {**asdict(tensor), "shape": list(tensor.shape)}
