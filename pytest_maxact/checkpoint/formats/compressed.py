"""The formats of compressed-tensors, which LLM Compressor and others write: `config_groups` and the tensors of a module
in, its weight as that library decompresses it out.

A module is one that has a scale; the group that targets it says how it was quantized. One that no group targets, or
that is listed as ignored, has values that nobody knows.
"""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from pytest_maxact.checkpoint.formats.given import Given
from pytest_maxact.checkpoint.formats.packed import Held, Packed, lacking, required
from pytest_maxact.checkpoint.formats.part import Part, Tensors
from pytest_maxact.checkpoint.formats.stated import Quantization
from pytest_maxact.errors import InputError, first_line

NAMES = ("compressed-tensors", "compressed_tensors")
_WEIGHTS = ("weight_packed", "weight")
_LOW = ("I8", "U8", "I32", "F8_E4M3", "F8_E5M2", "F4")
_FLOATS = {8: "fp8_e4m3", 4: "fp4_e2m1"}
_DTYPES = {"F16": "F16", "F32": "F32"}
_INPUTS = ("input_scale", "input_zero_point", "input_global_scale")
_FORMS = (
    "int-quantized", "float-quantized", "naive-quantized", "pack-quantized", "nvfp4-pack-quantized",
    "mxfp4-pack-quantized", "mxfp8-quantized",
)  # fmt: skip


def packed(stated: Quantization, held: Held) -> Iterator[Packed]:
    """Every weight that lies in low bits."""
    groups, ignored = _groups(stated)
    for name, module in held.modules.items():
        own = next((one for one in _WEIGHTS if one in module and module[one].dtype in _LOW), None)
        if own is not None:
            yield _weight(name, module, own, _scheme(name, module[own], groups, ignored, stated), stated)


def _groups(stated: Quantization) -> tuple[list[Any], list[str]]:
    """The schemes in the order of their groups, each with the form its tensors have, and what is ignored."""
    from compressed_tensors.compressors.format import infer_module_format
    from compressed_tensors.config import CompressionFormat
    from compressed_tensors.quantization import QuantizationConfig
    from torch import nn

    sparse = (stated.entries.get("sparsity_config") or {}).get("format")
    if sparse not in (None, "dense"):
        raise InputError(f"{stated.where}: a sparse checkpoint ({sparse}) is not read\n  export it without sparsity")
    if online := _online(stated.entries.get("transform_config")):
        raise InputError(
            f"{stated.where}: the transform {online} runs with the model, and is not read\n"
            "  gate the checkpoint before it was rotated, or export it with transforms fused into the weights"
        )
    try:
        config = QuantizationConfig.model_validate(dict(stated.entries))
    except Exception as error:
        raise InputError(
            f"{stated.where}: compressed-tensors cannot read this ({first_line(error)})\n"
            "  export the checkpoint again, or upgrade compressed-tensors"
        ) from error
    for name, scheme in config.config_groups.items():
        if scheme.weights is None:
            continue
        whole = config.format if config.format in _FORMS else None
        form = getattr(scheme.format, "value", scheme.format) or whole or infer_module_format(nn.Linear, scheme).value
        if form not in _FORMS:
            raise InputError(
                f"{stated.where}: {name} is kept as {form}, which is not read\n"
                f"  export the checkpoint in one of {', '.join(_FORMS)}"
            )
        scheme.format = CompressionFormat(form)
    return list(config.config_groups.values()), list(config.ignore or ())


def _online(transforms: Any) -> str:
    """The first transform of activations that is not fused into weights; empty for none."""
    groups = transforms.get("config_groups") if isinstance(transforms, Mapping) else None
    for name, scheme in (groups if isinstance(groups, Mapping) else {}).items():
        applied = scheme.get("apply") if isinstance(scheme, Mapping) else None
        if any(
            not str(one.get("location", "")).startswith("weight") for one in applied or () if isinstance(one, Mapping)
        ):
            return str(name)
    return ""


def _scheme(name: str, weight: Part, groups: list[Any], ignored: list[str], stated: Quantization) -> Any:
    """The scheme of a module: of the group that names it, of the first whose pattern meets it, of that of its class."""
    from compressed_tensors.utils.match import match_name

    if entry := next((entry for entry in ignored if match_name(name, entry)), None):
        raise lacking(weight, f"{stated.where} lists its module under `ignore` ({entry})")
    exact = [scheme for scheme in groups if name in scheme.targets]
    meeting = [scheme for scheme in groups if any(match_name(name, target) for target in scheme.targets)]
    last = name.rpartition(".")[2]
    kind = "Embedding" if "embed" in last or last == "wte" else "Linear"
    of_class = [scheme for scheme in groups if kind in scheme.targets]
    scheme = next(iter([*exact, *meeting, *of_class]), None)
    if scheme is None or scheme.weights is None:
        raise lacking(weight, f"no group of {stated.where} quantizes the weight of its module")
    return scheme


def _weight(name: str, module: Mapping[str, Part], own: str, scheme: Any, stated: Quantization) -> Packed:
    from compressed_tensors.compressors import BaseCompressor

    form = scheme.format.value
    compressor = BaseCompressor.get_value_from_registry(form)
    wanted = [one for one in compressor.compression_param_names(scheme) if one.startswith("weight")]
    if own not in wanted:
        raise lacking(module[own], f"{stated.where} says {form}, which keeps {wanted[0]}")
    parts = required(module, wanted, own, stated)
    if "weight_g_idx" in module:
        parts["weight_g_idx"] = module["weight_g_idx"]
        if own != "weight_packed" or form == "nvfp4-pack-quantized":
            raise lacking(module[own], f"weight_g_idx lies beside it, which {form} has not")
    args, scale = scheme.weights, parts["weight_scale"]
    return Packed(
        key=f"{name}.weight",
        shape=_shape(parts[own], scheme, scale),
        parts=parts,
        restore=partial(_restored, compressor=compressor, scheme=scheme),
        bits=args.num_bits,
        group=args.group_size or 0,
        dtype=_DTYPES.get(scale.dtype, "BF16"),
        given=_given(module, scheme.input_activations),
    )


def _given(module: Mapping[str, Part], args: Any) -> Given | None:
    """How the scheme of a module has its inputs quantized, as that library does it."""
    if args is None:
        return None
    parts = {name: module[name] for name in _INPUTS if name in module}
    above, static = args.strategy == "tensor_group", args.dynamic is False
    wanted = _INPUTS[2] if above else _INPUTS[0] if static else ""
    return Given(
        how=str(args),
        restore=partial(_quantized_input, args=args),
        parts={name: part for name, part in parts.items() if (name == _INPUTS[2]) == above} if wanted else {},
        lacks=wanted if wanted and wanted not in parts else "",
    )


def _quantized_input(x: Any, parts: Tensors, args: Any) -> Any:
    """Of a tensor [..., width]; the library takes tokens for the second of three dimensions."""
    from compressed_tensors.quantization import fake_quantize
    from compressed_tensors.quantization.utils.helpers import compute_dynamic_scales_and_zp

    held = {name: tensor.to(x.device) for name, tensor in parts.items()}
    shaped, above = x.reshape(1, -1, x.shape[-1]), held.get(_INPUTS[2])
    if _INPUTS[0] in held:
        scale, zero = held[_INPUTS[0]], held.get(_INPUTS[1])
    else:
        scale, zero = compute_dynamic_scales_and_zp(shaped, args, None, above)
    return fake_quantize(shaped, scale, zero, args, above).to(x.dtype).view(x.shape)


def _shape(weight: Part, scheme: Any, scale: Part) -> tuple[int, ...]:
    """The shape in 16 bits: of a packed one as wide as its groups of scales, or its words, make it."""
    args, form = scheme.weights, scheme.format.value
    *rows, words = weight.shape
    if form in ("nvfp4-pack-quantized", "mxfp4-pack-quantized"):
        return (*rows, words * 2)
    if form != "pack-quantized":
        return weight.shape
    whole = words * 32 // args.num_bits
    grouped = scale.shape[-1] * args.group_size if args.strategy in ("group", "tensor_group") else whole
    return (*rows, grouped if whole - 32 // args.num_bits < grouped <= whole else whole)


def _restored(parts: Tensors, compressor: Any, scheme: Any) -> Any:
    held = dict(parts)
    order = held.pop("weight_g_idx", None)
    if order is None or (order < 0).all():
        return compressor.decompress(held, scheme)["weight"].detach()
    return _in_order(held, order, scheme.weights)


def _in_order(parts: Tensors, group: Any, args: Any) -> Any:
    """Of a packed weight whose inputs are grouped by `group` [in]: put together by groups, given back, and put back."""
    from compressed_tensors.compressors.pack_quantized.helpers import unpack_from_int32
    from compressed_tensors.quantization.lifecycle.forward import dequantize

    shape, scale, zero = parts["weight_shape"], parts["weight_scale"], parts.get("weight_zero_point")
    if zero is not None:
        zero = unpack_from_int32(zero, args.num_bits, (*shape[:-1], scale.shape[-1]), packed_dim=0)
    together = group.argsort(stable=True)
    levels = unpack_from_int32(parts["weight_packed"], args.num_bits, shape)[:, together]
    return dequantize(x_q=levels, scale=scale, zero_point=zero, args=args)[:, together.argsort()]


def inputs(stated: Quantization) -> str:
    """Where groups differ, each way that occurs."""
    groups, _ = _groups(stated)
    quantized = (scheme.input_activations for scheme in groups if scheme.input_activations is not None)
    return "; ".join(dict.fromkeys(map(_words, quantized)))


def _words(args: Any) -> str:
    number = f"int{args.num_bits}" if args.type == "int" else _FLOATS.get(args.num_bits, f"fp{args.num_bits}")
    of = {"tensor_group": "group", "attn_head": "head"}.get(args.strategy, args.strategy)
    size = f" of {args.group_size}" if args.group_size else ""
    return f"{number} per {of}{size}, {'dynamic' if args.dynamic is True else 'static'}"


def leaves_weights(stated: Quantization) -> bool:
    """Whether no group quantizes weights, as of a checkpoint whose cache alone is."""
    groups = stated.entries.get("config_groups") or {}
    return not any(not isinstance(group, Mapping) or group.get("weights") for group in groups.values())
