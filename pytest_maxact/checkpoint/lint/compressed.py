"""What a config of compressed-tensors says, and of those who write as it does: its groups in, `Stated` out."""

from collections.abc import Mapping, Sequence
from typing import Any

from pytest_maxact.checkpoint.lint.stated import Spec, Stated, names


def compressed(stated: Mapping[str, Any], where: str) -> Stated:
    """What its `config_groups`, `ignore` and `kv_cache_scheme` say."""
    groups = stated.get("config_groups")
    of_groups: list[tuple[Sequence[str], Spec | None]] = []
    for group in groups.values() if isinstance(groups, Mapping) else ():
        if isinstance(group, Mapping):
            form = str(group.get("format") or stated.get("format") or "")
            of_groups.append(([str(target) for target in group.get("targets") or ()], _scheme(group, form)))
    ignored = names(stated.get("ignore"))
    exact = [(names([target for target in targets if not _is_class(target)]), spec) for targets, spec in of_groups]
    whole = [spec for targets, spec in of_groups if any(_is_class(one) and "Linear" in one for one in targets)]

    def spec(name: str) -> Spec | None:
        if ignored(name):
            return None
        named = [own for answers, own in exact if answers(name)]
        return next(iter([*named, *whole]), None)

    cache, cached = cache_in(stated)
    return Stated(
        method=f"compressed-tensors, {stated.get('format') or 'no format'}", where=where, spec=spec, ignored=ignored,
        cache=cache, cached=cached, cache_strategy=_strategy(stated.get("kv_cache_scheme")),
        cache_unserved=_unserved(stated.get("kv_cache_scheme"), cached),
        status=str(stated.get("quantization_status") or ""), exhaustive=True,
        static=any(own.static_inputs for _, own in of_groups if own),
    )  # fmt: skip


def cache_in(stated: Mapping[str, Any]) -> tuple[bool, str]:
    """Whether the KV cache has static scales, and its number format: quantization arguments, or the word "static", by
    which FP8 is meant.
    """
    scheme = stated.get("kv_cache_scheme")
    if isinstance(scheme, str):
        return (True, "fp8_e4m3") if scheme.lower() == "static" else (False, "")
    return isinstance(scheme, Mapping) and scheme.get("dynamic") is not True, number_of(scheme)


def _strategy(scheme: Any) -> str:
    return str(scheme.get("strategy") or "") if isinstance(scheme, Mapping) else ""


def _unserved(scheme: Any, number: str) -> str:
    """What a scheme of the cache says that no runtime takes of this format, in words; empty for nothing."""
    if not isinstance(scheme, Mapping):
        return ""
    said = []
    if number != "fp8_e4m3":
        said.append(f"num_bits {scheme.get('num_bits') or 8} and type {scheme.get('type') or 'int'}")
    if (strategy := _strategy(scheme)) not in ("", "tensor", "attn_head"):
        said.append(f"the strategy {strategy}")
    if scheme.get("symmetric") is False:
        said.append("a zero point")
    return ", ".join(said)


def number_of(args: Any) -> str:
    """The number format that quantization arguments state; empty where they state none."""
    if not isinstance(args, Mapping):
        return ""
    bits = int(args.get("num_bits") or 8)
    if str(args.get("type") or "int") == "int":
        return f"int{bits}"
    return {8: "fp8_e4m3", 4: "fp4_e2m1"}.get(bits, "")


def _is_class(target: str) -> bool:
    return target[:1].isupper() and "." not in target


def _scheme(group: Mapping[str, Any], form: str) -> Spec | None:
    weights = group.get("weights")
    if not isinstance(weights, Mapping):
        return None
    bits, kind = int(weights.get("num_bits") or 8), str(weights.get("type") or "int")
    inputs = group.get("input_activations")
    dynamic = inputs.get("dynamic") if isinstance(inputs, Mapping) else True
    block = weights.get("block_structure")
    wide = [int(part) for part in str(block).lower().split("x")] if isinstance(block, str) else list(block or (0, 0))
    group_size = int(weights.get("group_size") or 0)
    strategy = str(weights.get("strategy") or ("group" if group_size > 0 else "tensor"))
    strategy = "channel" if strategy == "group" and group_size < 0 else strategy
    return Spec(
        forms=_forms_of(form, kind, bits, strategy), bits=bits, strategy=strategy.replace("tensor_group", "group"),
        group=max(group_size, 0), block=(wide[0], wide[1]), symmetric=bool(weights.get("symmetric", True)),
        static_inputs=dynamic is not True, inputs=number_of(inputs), reordered=_reordered(weights.get("actorder")),
        codes="F8_E4M3" if (kind, bits) == ("float", 8) else "",
    )  # fmt: skip


def _reordered(order: Any) -> bool:
    return str(order).lower() in ("group", "dynamic", "true")


def _forms_of(form: str, kind: str, bits: int, strategy: str) -> tuple[str, ...]:
    by_name = {
        "pack-quantized": ("packed int",), "int-quantized": ("int8",), "float-quantized": ("fp8",),
        "naive-quantized": ("int8", "fp8"), "nvfp4-pack-quantized": ("nvfp4",), "mxfp4-pack-quantized": ("mxfp4",),
        "mxfp8-quantized": ("mxfp8",), "mxfp6-pack-quantized": ("mxfp6",), "marlin-24": ("sparse",),
        "sparse-24-bitmask": ("sparse",), "sparse-bitmask": ("sparse",),
    }  # fmt: skip
    if form in by_name:
        return by_name[form]
    if form not in ("", "dense", "mixed-precision"):
        raise ValueError(f"the format {form} is not known, of {', '.join(by_name)}")
    if kind == "int":
        return ("packed int", "int8") if bits <= 8 else ()
    if bits == 4:
        return ("nvfp4",) if strategy == "tensor_group" else ("mxfp4",)
    return ("fp8", "mxfp8") if bits == 8 else ("mxfp6",)
