"""How the input of a linear layer is quantized where an artifact is deployed: what its files state in, a function that
gives a tensor back as a kernel reads it out.

Guard: a static scale that is called for and not there is named, never replaced by one that fits.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from pytest_maxact.checkpoint.formats.part import Part, Tensors
from pytest_maxact.numbers.schemes import Quantizer

DIVIDING = "input_global_scale"
"""A scale by which inputs are multiplied before they are quantized: the smallest reaches farthest."""
_SCALES = ("input_scale", "activation_scale", DIVIDING)
_FP8_TOP, _FP4_TOP = 448.0, 6.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """The input of a linear layer, quantized as `how` says in a word. `restore`: of a tensor [..., width], and the
    tensors of `parts` by name, what a kernel reads in its place. `parts`: static scales and zero points; `lacks`: one
    that is called for and not there.
    """

    how: str
    restore: Callable[[Any, Tensors], Any]
    parts: Mapping[str, Part] = field(default_factory=dict)
    lacks: str = ""


def dynamic(how: Quantizer) -> Given:
    """By scales that each token or group sets as it comes, in float32."""
    return Given(how=str(how), restore=partial(_by_its_own, how=how))


def static(module: Mapping[str, Part], how: Quantizer) -> Given:
    """By one scale of the files, in float32."""
    parts = {name: module[name] for name in _SCALES if name in module}
    lacks = "" if parts else "input_scale"
    return Given(how=str(how), restore=partial(_at_scale, how=how), parts=parts, lacks=lacks)


def of_experts(found: Sequence[Tensors]) -> dict[str, Any]:
    """The static scales of several matrices of experts, as runtimes take one for them: that which reaches farthest."""
    return _largest(found, lambda name, scale: 1.0 / scale if name == DIVIDING else scale)


def of_fused(found: Sequence[Tensors]) -> dict[str, Any]:
    """Those of projections that a kernel fuses: vLLM takes the largest number, which of scales that divide is the one
    that reaches least.
    """
    return _largest(found, lambda name, scale: scale)


def _largest(found: Sequence[Tensors], worth: Callable[[str, float], float]) -> dict[str, Any]:
    def of(tensors: Tensors) -> float:
        scales = {name: float(scale.float().max()) for name, scale in tensors.items() if name in _SCALES}
        return max((worth(name, scale) for name, scale in scales.items() if scale), default=0.0)

    largest: Tensors = max(found, key=of)
    return dict(largest)


def _by_its_own(x: Any, parts: Tensors, how: Quantizer) -> Any:
    from pytest_maxact.checkpoint.quantize import fake_quantized

    return fake_quantized(x.float(), how).to(x.dtype)


def _at_scale(x: Any, parts: Tensors, how: Quantizer) -> Any:
    from pytest_maxact.checkpoint.quantize import at_scale, fake_quantized

    scale = next(iter(parts.values())).float().max().to(x.device)
    if how.scale:
        return fake_quantized(x.float(), how, scale * _FP8_TOP * _FP4_TOP).to(x.dtype)
    return at_scale(x.float(), how, scale).to(x.dtype)
