"""What a cache in low bits makes of keys and values: states of real tokens in, what is read back of them out.

In float32, as vLLM's kernels compute: a scale is the largest magnitude over that of the format, an entry is divided by
it, rounded and multiplied again, and attention is given that in the dtype of the model. A scale of 0 counts as 1.0, as
vLLM takes it; those of single tokens are 1e-6 at least. Zero points of KIVI are the smallest entries of their groups,
those of vLLM's INT4 are levels. NVFP4 multiplies by reciprocals, as its kernel does, here rounded to the nearest.
"""

from collections.abc import Sequence
from functools import cache

import torch

from pytest_maxact.checkpoint.quantize import Quantized, to_levels
from pytest_maxact.errors import MeasureError
from pytest_maxact.numbers.caches import ONE, Cache

_FLOATS = {"fp8_e4m3": torch.float8_e4m3fn, "fp8_e5m2": torch.float8_e5m2}
_SMALLEST_SCALE = 1e-6
_LARGEST_SCALE, _LARGEST_E2M1 = 448.0, 6.0
_SEED_OF_SIGNS = 0x9E3779B9
_ABOVE = 1 + 2.0**-20
"""An entry that is the one behind the scale is not beyond it, however its quotient was rounded."""


def through_cache(
    states: torch.Tensor, how: Cache, keys: bool, lengths: Sequence[int], largest: torch.Tensor | None = None
) -> Quantized:
    """States [tokens, heads, width], whole sequences of `lengths` one after the other, kept and read back.

    `keys`: whether they are grouped by channel where keys are. `largest`: the magnitude behind a static scale, [1] for
    the tensor or [heads]; without it the scale is 1.0. Raises MeasureError for heads that cannot be kept so.
    """
    if reason := how.refuses(states.shape[-1]):
        raise MeasureError(f"this cache ({how.in_words}) cannot keep {reason}\n  leave it out, or choose another")
    if how.shared == "channel":
        return _by_channel(states, how, lengths) if keys else _by_token(states, how)
    if how.shared == "rotated":
        return _rotated(states, how)
    if how.shared == "group":
        return _in_groups(states, how, largest)
    values = states.float()
    if how.shared == "token":
        scale = (values.abs().amax(-1, keepdim=True) / how.top).clamp(min=_SMALLEST_SCALE)
    else:
        scale = _static(how, largest, values.device)
    scaled = values / scale
    levels = _rounded(scaled, how)
    return Quantized((levels * scale).to(states.dtype), levels, scaled.abs() > how.top * _ABOVE)


def _static(how: Cache, largest: torch.Tensor | None, device: torch.device) -> torch.Tensor:
    """Of a shape that broadcasts with [tokens, heads, width]."""
    if how.scale == ONE or largest is None:
        return torch.ones(1, 1, 1, device=device)
    scale = largest.to(device, torch.float32).reshape(1, -1, 1) / how.top
    return torch.where(scale > 0, scale, 1.0)


def _rounded(scaled: torch.Tensor, how: Cache) -> torch.Tensor:
    """The nearest levels."""
    inside = scaled.clamp(-how.top, how.top)
    if how.is_integer:
        return inside.round()
    return inside.to(_FLOATS[how.number]).float()


def _by_channel(states: torch.Tensor, how: Cache, lengths: Sequence[int]) -> Quantized:
    """Every `group` tokens of a sequence have a scale for each channel; those left over stay as they are: level 1."""
    restored, levels = states.clone(), torch.ones_like(states, dtype=torch.float32)
    start = 0
    for length in lengths:
        whole = slice(start, start + length // how.group * how.group)
        start += length
        if whole.start == whole.stop:
            continue
        groups = states[whole].float().reshape(-1, how.group, *states.shape[1:])
        kept, codes = _between(groups, how, 1)
        restored[whole] = kept.flatten(0, 1).to(states.dtype)
        levels[whole] = codes.flatten(0, 1)
    return Quantized(restored, levels.where(restored != 0, 0.0), torch.zeros_like(states, dtype=torch.bool))


def _by_token(states: torch.Tensor, how: Cache) -> Quantized:
    """Every `group` channels of a token and head have a scale; of a head that is narrower, all of them."""
    parts = [_between(part.float(), how, -1) for part in torch.split(states, how.group, -1)]
    restored = torch.cat([kept for kept, _ in parts], -1).to(states.dtype)
    levels = torch.cat([codes for _, codes in parts], -1)
    return Quantized(restored, levels.where(restored != 0, 0.0), torch.zeros_like(states, dtype=torch.bool))


def _in_groups(states: torch.Tensor, how: Cache, largest: torch.Tensor | None) -> Quantized:
    """Every `group` channels of a token and head have a scale in E4M3, below that of the tensor: the one of `peaks`
    under which the squared error is least. Clipped is what is beyond the reach of the tensor's scale.
    """
    groups = states.float().reshape(*states.shape[:-1], -1, how.group)
    above = _static(how, largest, states.device)[..., None]
    top, *others = (_at_peak(groups, above, peak, how) for peak in how.peaks)
    restored, levels = top
    lost = (restored - groups).square().sum(-1, keepdim=True)
    for other, codes in others:
        better = (other - groups).square().sum(-1, keepdim=True) < lost
        restored, levels = torch.where(better, other, restored), torch.where(better, codes, levels)
    clipped = groups.abs() > how.top * above * _ABOVE
    return Quantized(*(part.flatten(-2) for part in (restored.to(states.dtype), levels, clipped)))


def _at_peak(groups: torch.Tensor, above: torch.Tensor, peak: float, how: Cache) -> tuple[torch.Tensor, torch.Tensor]:
    """Groups [..., group] whose largest entry becomes `peak`, and their levels."""
    wanted = above.reciprocal() * (groups.abs().amax(-1, keepdim=True) * (1 / peak))
    scale = wanted.clamp(max=_LARGEST_SCALE).to(torch.float8_e4m3fn).float()
    factor = torch.where(scale == 0, 0.0, (scale * above.reciprocal().reciprocal()).reciprocal())
    levels = to_levels((groups * factor).clamp(-_LARGEST_E2M1, _LARGEST_E2M1), how)
    return levels * scale * above, levels


def _rotated(states: torch.Tensor, how: Cache) -> Quantized:
    """Every token of a head has a scale and a zero point, for its channels as a Hadamard matrix mixes them; the scale
    loses its last four bits, where the zero point is kept.
    """
    width, top = states.shape[-1], (1 << how.bits) - 1
    signs = _signs(width).to(states.device)
    mixed = _mixed(states.float() * signs).to(states.dtype).float()
    low, high = mixed.amin(-1, keepdim=True), mixed.amax(-1, keepdim=True)
    scale = ((high - low) / top).clamp(min=_SMALLEST_SCALE)
    zero = (-low / scale + 0.5).floor().clamp(0, top)
    codes = (mixed / scale + zero + 0.5).floor().clamp(0, top)
    kept = (scale.view(torch.int32) & -(1 << how.bits)).view(torch.float32)
    restored = (_mixed((codes - zero) * kept) * signs / width).to(states.dtype)
    return Quantized(restored, (restored != 0).float(), torch.zeros_like(states, dtype=torch.bool))


@cache
def _signs(width: int) -> torch.Tensor:
    """Those of vLLM, which are always the same."""
    draw = torch.Generator().manual_seed(_SEED_OF_SIGNS)
    return 2.0 * torch.bernoulli(torch.full((width,), 0.5), generator=draw) - 1.0


def _mixed(values: torch.Tensor) -> torch.Tensor:
    """The product with a Hadamard matrix, [..., width]; twice gives `width` times the values."""
    width, half = values.shape[-1], 1
    while half < width:
        pairs = values.reshape(*values.shape[:-1], width // (2 * half), 2, half)
        one, other = pairs[..., 0, :], pairs[..., 1, :]
        values = torch.stack([one + other, one - other], -2).reshape(values.shape)
        half *= 2
    return values


def _between(values: torch.Tensor, how: Cache, dim: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Values at evenly spaced levels between the smallest and the largest along `dim`, and their numbers from 1 on."""
    low, high = values.amin(dim, keepdim=True), values.amax(dim, keepdim=True)
    scale = (high - low) / ((1 << how.bits) - 1)
    codes = ((values - low) / torch.where(scale > 0, scale, 1.0)).round()
    return codes * scale + low, codes + 1.0
