"""What compressed-tensors, which deploys the schemes, makes of a tensor: the oracle of every test of their numerics."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from compressed_tensors.quantization import fake_quantize  # type: ignore[import-untyped]
from compressed_tensors.quantization import quantize as ct_quantize
from compressed_tensors.quantization.quant_scheme import preset_name_to_scheme  # type: ignore[import-untyped]
from compressed_tensors.quantization.utils.helpers import (  # type: ignore[import-untyped]
    calculate_qparams,
    calculate_range,
    compute_dynamic_scales_and_zp,
    generate_gparam,
)

from pytest_maxact.numbers.schemes import SCHEMES


def preset_args(name: str, operand: str) -> Any:
    preset = preset_name_to_scheme(name, ["Linear"])
    return preset.input_activations if operand == "activations" else preset.weights


@dataclass(frozen=True, kw_only=True)
class Deployed:
    """What compressed-tensors makes of a tensor: its fake quantization, the levels before the scale, and what lies
    beyond the largest level.
    """

    restored: torch.Tensor
    levels: torch.Tensor
    clipped: torch.Tensor


def by_compressed_tensors(
    x: torch.Tensor, name: str, operand: str, low: torch.Tensor | None = None, high: torch.Tensor | None = None
) -> Deployed:
    """x [rows, width]; `low` and `high` are what calibration saw, by default x itself."""
    args = preset_args(name, operand)
    low, high = (x.amin() if low is None else low), (x.amax() if high is None else high)
    strategy, shape = str(args.strategy), x.shape
    above = generate_gparam(low, high) if strategy == "tensor_group" else None
    if operand == "activations" and args.dynamic:
        x = x[None] if strategy == "token" else x
        scale, zero = compute_dynamic_scales_and_zp(x, args, None, above)
    else:
        scale, zero = calculate_qparams(*_ends(x, args, low, high), args, above)
    levels = ct_quantize(x, scale, zero, args, global_scale=above).float()
    bottom, top = calculate_range(args, x.device)
    scaled = (x / _spread(scale if above is None else scale.float() / above, args, shape)).float()
    return Deployed(
        restored=fake_quantize(x, scale, zero, args, above).view(shape),
        levels=levels.view(shape),
        clipped=((scaled > top) | (scaled < bottom)).view(shape),
    )


def _int8_of_the_paper(x: torch.Tensor, amax: torch.Tensor) -> Deployed:
    """127 steps of a calibration maximum, for a whole tensor."""
    scaled = x / (amax / 127)
    levels = scaled.float().clamp(-127, 127).round()
    return Deployed(restored=levels.to(x.dtype) * (amax / 127), levels=levels, clipped=scaled.abs() > 127)


WITHOUT_PRESET: dict[str, Callable[[torch.Tensor, torch.Tensor], Deployed]] = {"W8A8_STATIC": _int8_of_the_paper}
"""The schemes that compressed-tensors has no preset of, each with what it makes of activations x [rows, width] of which
calibration saw a maximum.
"""


def activations_as_deployed(x: torch.Tensor, name: str, amax: torch.Tensor) -> Deployed:
    if name in WITHOUT_PRESET:
        return WITHOUT_PRESET[name](x, amax)
    return by_compressed_tensors(x, name, "activations", low=-amax, high=amax)


def weights_as_deployed(x: torch.Tensor, name: str) -> Deployed:
    """Those of a scheme without a preset, by a preset with the same weights."""
    alike = (other for other in SCHEMES if SCHEMES[other].weights == SCHEMES[name].weights)
    preset = next(other for other in alike if other not in WITHOUT_PRESET) if name in WITHOUT_PRESET else name
    return by_compressed_tensors(x, preset, "weights")


def _ends(x: torch.Tensor, args: Any, low: torch.Tensor, high: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Smallest and largest entry of what shares a scale, as its observers collect them."""
    strategy = str(args.strategy)
    if strategy == "tensor":
        return low, high
    if strategy == "channel":
        return x.amin(1, keepdim=True), x.amax(1, keepdim=True)
    if strategy == "block":
        tall, wide = args.block_structure
        padded = torch.nn.functional.pad(x, (0, -x.shape[1] % wide, 0, -x.shape[0] % tall))
        blocks = padded.view(padded.shape[0] // tall, tall, padded.shape[1] // wide, wide)
        return blocks.amin((1, 3)), blocks.amax((1, 3))
    groups = x.view(x.shape[0], -1, args.group_size)
    return groups.amin(-1), groups.amax(-1)


def _spread(scale: torch.Tensor, args: Any, shape: torch.Size) -> torch.Tensor:
    """A scale per entry, or one that broadcasts."""
    if str(args.strategy) == "block":
        tall, wide = args.block_structure
        return scale.repeat_interleave(tall, 0).repeat_interleave(wide, 1)[: shape[0], : shape[1]]
    return scale.repeat_interleave(args.group_size, -1) if "group" in str(args.strategy) else scale
