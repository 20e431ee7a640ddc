"""What tests of quantized tensors go through: schemes, operands, dtypes."""

import torch

from pytest_maxact.checkpoint.quantize import Quantized, quantize
from pytest_maxact.numbers.schemes import SCHEMES, Quantizer

DTYPES = (torch.bfloat16, torch.float16, torch.float32)
OPERANDS = [
    (name, operand)
    for name, scheme in SCHEMES.items()
    for operand in ("activations", "weights")
    if getattr(scheme, operand) is not None
]
WIDTH = 256


def quantizer(name: str, operand: str) -> Quantizer:
    how = getattr(SCHEMES[name], operand)
    assert isinstance(how, Quantizer)
    return how


def normal(rows: int = 24, width: int = WIDTH, seed: int = 0) -> torch.Tensor:
    return torch.randn((rows, width), generator=torch.Generator().manual_seed(seed))


def quantized_by_itself(x: torch.Tensor, how: Quantizer) -> Quantized:
    """Quantized by a scale from x itself, handed over where calibration hands it over."""
    return quantize(x, how, x.abs().amax() if how.needs_calibration else None)


def same(found: torch.Tensor, wanted: torch.Tensor) -> bool:
    """Equal bit for bit, and NaN at the same places."""
    return torch.equal(found.isnan(), wanted.isnan()) and torch.equal(
        found.masked_fill(found.isnan(), 0), wanted.masked_fill(wanted.isnan(), 0)
    )
