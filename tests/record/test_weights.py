"""What a Record says of its weight files is refused where it contradicts itself, whatever its checksum."""

from pathlib import Path
from typing import Any

import pytest

from pytest_maxact.errors import InputError
from pytest_maxact.record.file import load
from tests.support.doctored import Document, changed
from tests.support.paths import RECORDS

NAME = "norm.weight"


def scanned(tensor: Document | None = None, **values: Any) -> Document:
    sound = {"file": "m.safetensors", "dtype": "BF16", "shape": [4, 2], "elements": 8, "largest": 1.5}
    sound |= {"nonfinite": 0, "empty": 0}
    scan = {"files": ["m.safetensors"], "tensors": 3, "elements": 90, "largest": NAME, "misfits": {}}
    return {**scan, "named": {NAME: sound | (tensor or {})}, **values}


def written(folder: Path, scan: Document) -> Path:
    return changed(RECORDS / "bfloat16.safetensors", folder / "r", lambda document: document.update(weights=scan))


def test_a_sound_scan_is_read(tmp_path: Path) -> None:
    record = load(written(tmp_path, scanned()))
    assert record.weights is not None
    assert record.weights.named[NAME].shape == (4, 2)


@pytest.mark.parametrize(
    ("scan", "told"),
    [
        (scanned(tensors=0), "so nothing was looked at"),
        (scanned(elements=0), "so nothing was looked at"),
        (scanned(largest="other"), "weights.largest: other is none of weights.named"),
        (scanned(largest=""), "is none of weights.named"),
        (scanned(tensor={"nonfinite": 9}), "has 9 of 8 non-finite"),
        (scanned(tensor={"elements": 9}), "has 9 entries"),
        (scanned(tensor={"nonfinite": -1}), "weights.named"),
        (scanned(tensors="3"), "weights.tensors"),
        (scanned(more=1), "weights.more: unknown key"),
    ],
)
def test_a_scan_that_contradicts_itself_is_refused(scan: Document, told: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=told):
        load(written(tmp_path, scan))
