"""What a safetensors file says it holds, and that no damaged one says anything."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from pytest_maxact.checkpoint.headers import headers_of


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    save_file(
        {"a.weight": torch.zeros(2, 3, dtype=torch.bfloat16), "b": torch.zeros(4, dtype=torch.float8_e4m3fn)}, path
    )
    return path


def test_names_dtypes_and_shapes_are_those_of_the_tensors(whole: Path) -> None:
    found = {header.key: (header.dtype, header.shape) for header in headers_of(whole)}
    assert found == {"a.weight": ("BF16", (2, 3)), "b": ("F8_E4M3", (4,))}


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda data: data[:-1], r"it has \d+ bytes; .+"),
        (lambda data: data + b"x", r"it has \d+ bytes; .+"),
        (lambda data: data[:8] + b"!" + data[9:], r"it has \d+ bytes; .+"),
        (lambda data: b"\xff" * len(data), "its header is longer than the file"),
        (lambda data: data[:20], "its header is longer than the file"),
        (lambda data: data[:4], ".+"),
        (lambda data: b"", ".+"),
    ],
    ids=["cut off", "too long", "no JSON", "noise", "cut in the header", "cut in its length", "empty"],
)
def test_a_damaged_file_is_refused_with_its_reason(spoil: Callable[[bytes], bytes], reason: str, whole: Path) -> None:
    whole.write_bytes(spoil(whole.read_bytes()))
    with pytest.raises(ValueError, match=f"^{reason}"):
        headers_of(whole)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="No such file"):
        headers_of(tmp_path / "none.safetensors")
