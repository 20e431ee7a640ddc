"""A dtype is known by every name that the field has for it."""

import pytest
import torch

from pytest_maxact.checkpoint.device import DTYPES
from pytest_maxact.numbers.dtypes import FULL, dtype_called, full_name

NAMES = [
    *(["bf16", "bfloat16", "torch.bfloat16", "BF16"]),
    *(["fp16", "float16", "half", "f16", "F16", "torch.float16", "torch.half"]),
    *(["fp32", "float32", "float", "single", "f32", "F32", "torch.float32", "torch.float"]),
]


@pytest.mark.parametrize("name", NAMES)
def test_every_name_of_a_dtype_means_the_one_that_torch_means(name: str) -> None:
    short = dtype_called(name)
    assert short is not None
    own = getattr(torch, name.removeprefix("torch."), None)
    if isinstance(own, torch.dtype):
        assert DTYPES[short] is own
    assert full_name(name) == FULL[short] == str(DTYPES[short]).removeprefix("torch.")


@pytest.mark.parametrize("name", ["float64", "double", "int8", "fp8", "float8_e4m3fn", "bf", "16", "", "auto"])
def test_other_dtypes_are_not_known_and_keep_their_names(name: str) -> None:
    assert dtype_called(name) is None
    assert full_name(name) == name
