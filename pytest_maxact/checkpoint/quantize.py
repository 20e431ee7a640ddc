"""What a scheme does to a tensor: quantized and back, in the tensor's own arithmetic.

Equal bit for bit to the fake quantization of compressed-tensors 0.20, whose rounding in 16 bits (of scales, quotients
and products) is part of the scheme as it is deployed. A scale is the largest magnitude over half the range (127.5 for
INT-8, 448 for FP8, 6 for FP4); the powers of two of the MX formats are rounded as vLLM rounds them; NVFP4's scales are
themselves FP8, below one scale for the whole tensor.
"""

from dataclasses import dataclass

import torch
from torch.nn.functional import pad

from pytest_maxact.numbers.caches import Cache
from pytest_maxact.numbers.schemes import Quantizer

_TOP = {"fp8_e4m3": 448.0, "fp4_e2m1": 6.0}
_MANTISSA_BITS = {"fp8_e4m3": 3, "fp4_e2m1": 1}
_SMALLEST_NORMAL = {"fp8_e4m3": 2.0**-6, "fp4_e2m1": 1.0}
_E8M0_OFFSET = {"fp8_e4m3": 8, "fp4_e2m1": 2}
_E4M3_SMALLEST_SCALE = 0.125
_LAYOUT = {
    torch.bfloat16: (7, 8, torch.int16),
    torch.float16: (10, 5, torch.int16),
    torch.float32: (23, 8, torch.int32),
}
"""Mantissa bits, exponent bits and integers of the same size."""
_PIECE = 1 << 22


@dataclass(frozen=True, slots=True)
class Quantized:
    """A tensor after the round trip: `restored`, of its shape and dtype; `levels`, what its entries became before the
    scale, float32; `clipped`, bool, the entries beyond the largest level.
    """

    restored: torch.Tensor
    levels: torch.Tensor
    clipped: torch.Tensor


def quantize(x: torch.Tensor, how: Quantizer, amax: torch.Tensor | None = None) -> Quantized:
    """A tensor [rows, width] of bfloat16, float16 or float32, quantized and back.

    `amax`: the calibration maximum, one element in the dtype of x, where the quantizer needs one; without it the tensor
    is its own calibration.
    """
    if how.granularity == "block":
        return _by_block(x, how)
    shape = x.shape
    if how.granularity == "group":
        x = x.reshape(*shape[:-1], -1, how.group)
    scale = _scale(_largest(x, how, amax), how, amax if amax is not None or how.scale != "e4m3" else x.abs().amax())
    done = _at(x, scale, how)
    return Quantized(done.restored.view(shape), done.levels.view(shape), done.clipped.view(shape))


def at_scale(x: torch.Tensor, how: Quantizer, scale: torch.Tensor) -> torch.Tensor:
    """What is restored of a tensor at a scale that is stated, and broadcasts with it."""
    return _at(x, scale, how).restored


def _at(x: torch.Tensor, scale: torch.Tensor, how: Quantizer) -> Quantized:
    low, high = _range(how)
    scaled = (x / scale).float()
    inside = scaled.clamp(low, high)
    levels = to_levels(inside, how)
    return Quantized((levels.to(scale.dtype) * scale).to(x.dtype), levels, inside != scaled)


def fake_quantized(x: torch.Tensor, how: Quantizer, amax: torch.Tensor | None = None) -> torch.Tensor:
    """What `quantize` restores of a tensor [..., width], in pieces of rows where rows do not depend on one another:
    memory stays small.
    """
    flat = x.reshape(-1, x.shape[-1])
    together = how.granularity in ("tensor", "block") or how.scale == "e4m3"
    if amax is None and together:
        return quantize(flat, how).restored.view(x.shape)
    pieces = torch.split(flat, max(1, _PIECE // max(1, x.shape[-1])))
    return torch.cat([quantize(piece, how, amax).restored for piece in pieces]).view(x.shape)


def _range(how: Quantizer) -> tuple[float, float]:
    if not how.is_integer:
        return -_TOP[how.number], _TOP[how.number]
    top = float((1 << (how.bits - 1)) - 1)
    return (-top if how.static else -top - 1), top


def _largest(x: torch.Tensor, how: Quantizer, amax: torch.Tensor | None) -> torch.Tensor:
    """The magnitude that sets each scale, of a shape that broadcasts with x."""
    if how.granularity == "tensor":
        return (x.abs().amax() if amax is None else amax).reshape(1, 1)
    return x.abs().amax(dim=-1, keepdim=True)


def _scale(largest: torch.Tensor, how: Quantizer, whole: torch.Tensor | None) -> torch.Tensor:
    if how.scale == "e8m0":
        return _power_of_two(largest, how)
    low, high = _range(how)
    scale = largest / ((high - low) / 2)
    if how.scale == "e4m3":
        assert whole is not None
        above = _scale_above(whole)
        scale = (above * scale).clamp(-_TOP["fp8_e4m3"], _TOP["fp8_e4m3"]).to(torch.float8_e4m3fn).float()
        return torch.where(scale == 0, _E4M3_SMALLEST_SCALE, scale) / above
    return torch.where(scale == 0, torch.finfo(scale.dtype).eps, scale)


def _scale_above(amax: torch.Tensor) -> torch.Tensor:
    """NVFP4's one scale for a tensor, float32 [1]: it maps the largest scale of a group to the largest FP8 number."""
    scale = _TOP["fp8_e4m3"] * _TOP["fp4_e2m1"] / amax.clamp(min=torch.finfo(amax.dtype).tiny)
    return torch.nan_to_num(scale, nan=1.0, posinf=1.0, neginf=1.0).float().reshape(1)


def _power_of_two(largest: torch.Tensor, how: Quantizer) -> torch.Tensor:
    """The power of two of a magnitude rounded to one bit of mantissa, over that of the format's largest number; a
    subnormal counts as zero. Infinite where the rounding leaves the range of the dtype (from 57 344 on in float16), as
    in compressed-tensors: such a group is then restored as NaN.
    """
    mantissa, exponent, integers = _LAYOUT[largest.dtype]
    raised = largest.view(integers).to(torch.int64) + (1 << (mantissa - 2))
    highest, bias = (1 << exponent) - 1, (1 << (exponent - 1)) - 1
    field = (raised >> mantissa) & highest
    biased = torch.where(field == 0, 0, field - bias + 127 - _E8M0_OFFSET[how.number]).clamp(0, 255)
    biased = torch.where(field == highest, 255, biased)
    scale = torch.pow(2.0, (biased - 127).float()).to(largest.dtype)
    return torch.where(scale == 0, 1.0, scale)


def to_levels(scaled: torch.Tensor, how: Quantizer | Cache) -> torch.Tensor:
    """To the nearest level, halfway to the even one; float32 within the range.

    Adding and subtracting 1.5 x 2^23 steps rounds to a step, which above the smallest normal number depends on the
    exponent.
    """
    if how.is_integer:
        return scaled.round()
    power = (scaled.view(torch.int32) & 0x7F800000).view(torch.float32).clamp_(min=_SMALLEST_NORMAL[how.number])
    magic = power.mul_(1.5 * 2.0 ** (23 - _MANTISSA_BITS[how.number]))
    return (scaled + magic).sub_(magic)


def _by_block(x: torch.Tensor, how: Quantizer) -> Quantized:
    """Blocks of `group` rows and columns share a scale; the last ones may be smaller, as if padded with zeros."""
    size, (rows, width) = how.group, x.shape
    padded = pad(x, (0, -width % size, 0, -rows % size))
    tall, wide = padded.shape[0] // size, padded.shape[1] // size
    blocks = padded.view(tall, size, wide, size).transpose(1, 2).reshape(tall * wide, size * size)
    quantized = quantize(blocks, Quantizer(number=how.number, granularity="row", scale=how.scale))

    def back(part: torch.Tensor) -> torch.Tensor:
        return part.view(tall, wide, size, size).transpose(1, 2).reshape(padded.shape)[:rows, :width]

    return Quantized(back(quantized.restored), back(quantized.levels), back(quantized.clipped))
