"""Exports of compressed-tensors: every preset, its scales as its observers compute them, its tensors as its compressor
packs them.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from compressed_tensors.compressors import BaseCompressor
from compressed_tensors.compressors.format import infer_module_format
from compressed_tensors.quantization import QuantizationConfig, QuantizationScheme, preset_name_to_scheme
from compressed_tensors.quantization.utils import (
    calculate_qparams,
    generate_gparam,
    maybe_pad_tensor_for_block_quant,
)

from tests.support.exports.source import Tensors, fused_with, linears_of, source, tensors_of, written

REACH = 6.0
"""The largest input that calibration is said to have met, where a scale of inputs is static."""


def export(
    folder: Path, preset: str = "W8A8", origin: Path | None = None, kind: str = "qwen3", kv_cache: bool = False,
    reach: float = REACH, ignore: tuple[str, ...] = (), weights: Mapping[str, Any] = {}, embedding: bool = False,
) -> Path:  # fmt: skip
    """A checkpoint quantized by a preset; `kv_cache`: with FP8 scales of keys and values; `weights`: how weights are
    quantized otherwise; `embedding`: the table of tokens too.
    """
    origin = origin or source(folder.with_name(f"{folder.name}-source"), kind)
    scheme = preset_name_to_scheme(preset, ["Linear", "Embedding"] if embedding else ["Linear"])
    scheme.weights = scheme.weights.model_copy(update=dict(weights))
    form = infer_module_format(torch.nn.Linear, scheme)
    dense = tensors_of(origin)
    matrices = {module: matrix for module, matrix in linears_of(dense) if module not in ignore}
    if embedding:
        matrices["model.embed_tokens"] = dense["model.embed_tokens.weight"]
    found: Tensors = dict(dense)
    for module, matrix in matrices.items():
        del found[f"{module}.weight"]
        together = [matrices[name] for name in fused_with(module) if name in matrices]
        local = {"weight": matrix, **parameters(matrix, scheme, together), **inputs(scheme, reach)}
        packed = BaseCompressor.get_value_from_registry(form.value).compress(local, scheme)
        found.update({f"{module}.{name}": tensor for name, tensor in packed.items()})
    if kv_cache:
        attentions = {module.rpartition(".")[0] for module in matrices if module.endswith("k_proj")}
        found.update({f"{one}.{name}": torch.tensor([0.02]) for one in attentions for name in ("k_scale", "v_scale")})
    return written(origin, folder, found, stated(scheme, form.value, dense, kv_cache, ignore))


def stated(
    scheme: QuantizationScheme, form: str, dense: Tensors, kv_cache: bool = False, ignore: tuple[str, ...] = ()
) -> dict[str, Any]:
    """What config.json says of it."""
    routers = sorted(name.removesuffix(".weight") for name in dense if name.endswith("mlp.gate.weight"))
    kv = {"num_bits": 8, "type": "float", "strategy": "tensor", "dynamic": False, "symmetric": True}
    config = QuantizationConfig(
        config_groups={"group_0": scheme.model_copy(update={"format": form})},
        format=form,
        quantization_status="compressed",
        ignore=[*routers, *ignore, "lm_head"],
        kv_cache_scheme=kv if kv_cache else None,
    )
    written: dict[str, Any] = config.model_dump(mode="json")
    return {**written, "version": "0.20.0"}


def parameters(matrix: torch.Tensor, scheme: QuantizationScheme, together: list[torch.Tensor]) -> Tensors:
    """The scales of a matrix [out, in], and its zero points; `together`: what shares NVFP4's one scale above."""
    args = scheme.weights
    low, high = _extremes(matrix, args)
    if args.strategy != "tensor_group":
        scale, zero = calculate_qparams(low, high, args)
        return {"weight_scale": scale, "weight_zero_point": zero}
    amax = torch.stack([one.abs().amax() for one in together]).amax()
    above = generate_gparam(-amax, amax)
    scale, zero = calculate_qparams(low, high, args, global_scale=above)
    return {"weight_scale": scale, "weight_zero_point": zero, "weight_global_scale": above}


def inputs(scheme: QuantizationScheme, reach: float) -> Tensors:
    """The static scale of a module's inputs, where the scheme has one."""
    args, top = scheme.input_activations, torch.tensor(reach)
    if args is None or args.dynamic is True:
        return {}
    if args.strategy == "tensor_group":
        return {"input_global_scale": generate_gparam(-top, top)}
    return {"input_scale": calculate_qparams(-top, top, args)[0]}


def _extremes(matrix: torch.Tensor, args: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """The smallest and largest entry of whatever shares a scale, as the scale is shaped."""
    if args.strategy == "tensor":
        return matrix.amin().reshape(1), matrix.amax().reshape(1)
    if args.strategy == "channel":
        return matrix.amin(1, keepdim=True), matrix.amax(1, keepdim=True)
    if args.strategy == "block":
        tall, wide = args.block_structure
        padded = maybe_pad_tensor_for_block_quant(matrix, (tall, wide))
        blocks = padded.unflatten(1, (-1, wide)).unflatten(0, (-1, tall))
        return blocks.amin((1, 3)), blocks.amax((1, 3))
    groups = matrix.unflatten(1, (-1, args.group_size))
    return groups.amin(-1), groups.amax(-1)
