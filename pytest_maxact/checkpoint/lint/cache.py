"""Scales of the KV cache: those of every layer's attention, and what config.json declares, in; findings out."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import prod
from typing import Any

from pytest_maxact.checkpoint.headers import FLOATS, Header
from pytest_maxact.checkpoint.lint.artifact import fault
from pytest_maxact.checkpoint.lint.names import Module, is_apart
from pytest_maxact.checkpoint.lint.stated import Stated
from pytest_maxact.checkpoint.lint.tensors import by, scale_faults, weight_of
from pytest_maxact.checkpoint.lint.values import Values
from pytest_maxact.numbers.counted import counted
from pytest_maxact.numbers.lint import LintFault

_KEYS = ("k_proj", "qkv_proj", "kv_b_proj", "query_key_value", "c_attn", "Wqkv")
_LARGE = 4096


def cache_faults(
    cache: Mapping[str, Mapping[str, Header]], modules: Mapping[str, Module], stated: Stated | None, values: Values,
    config: Mapping[str, Any],
) -> Iterator[LintFault]:  # fmt: skip
    """`cache`: by the module of attention, its scales by `k_scale`, `v_scale` or `kv_scale`; `config`: of the language
    model.
    """
    heads = _heads(config)
    flat = [header for scales in cache.values() for header in scales.values()]
    for header in flat:
        if header.dtype not in FLOATS:
            yield fault("kv_scale", header.key, f"it is {header.dtype}, and scales of the cache are floats")
        elif len(header.shape) > 4 or header.stop - header.start > 4 * _LARGE:
            yield fault("kv_scale", header.key, f"it is {by(header.shape)}: neither one scale nor one a head")
        elif wrong := _miscounted(prod(header.shape), heads, stated):
            yield fault("kv_scale", header.key, f"it is {by(header.shape)}: {wrong}")
        else:
            yield from scale_faults(header, values)
    if stated is not None and stated.cache_unserved:
        what = f"kv_cache_scheme says {stated.cache_unserved}, where FP8 by tensor or by head, symmetric, is served"
        yield fault("kv_scheme", "config.json", what)
    if flat and stated is not None and not stated.cache:
        known = f"{stated.where} declares no KV cache with static scales"
        yield fault("kv_scale_undeclared", flat[0].key, f"{counted(len(flat), 'scale')} of the cache, and {known}")
    ones = [header for header in flat if header.dtype in FLOATS and bool((values.numbers(header) == 1.0).all())]
    if ones:
        yield fault("kv_scale_one", ones[0].key, f"{counted(len(ones), 'scale')} of {len(flat)} of the cache are 1.0")
    if stated is not None and (stated.cache or flat):
        yield from _missing(cache, modules, stated)


def _missing(
    cache: Mapping[str, Mapping[str, Header]], modules: Mapping[str, Module], stated: Stated
) -> Iterator[LintFault]:
    """Attention without a scale of its keys or values, where it is declared or others have one."""
    attentions = _attentions(modules)
    declared = f"{stated.where} declares a quantized KV cache" if stated.cache else "other layers have one"
    for name, module in attentions.items():
        scales = cache.get(name, {})
        if "kv_scale" in scales:
            continue
        if lacking := [part for part in ("k_scale", "v_scale") if part not in scales]:
            key = f"{name}.{lacking[0]}"
            yield fault("kv_scale", key, f"no {' and no '.join(lacking)} for {weight_of(module).key}; {declared}")
    if attentions and not stated.cache:
        return
    for name in cache:
        if attentions and name not in attentions and not any(name.startswith(f"{one}.") for one in attentions):
            header: Sequence[Header] = list(cache[name].values())
            yield fault("scale_orphan", header[0].key, f"there is no attention {name}")


def _attentions(modules: Mapping[str, Module]) -> dict[str, Module]:
    """Modules of attention that keep keys, by name, with one of their projections; towers of images left out."""
    found: dict[str, Module] = {}
    for name, module in modules.items():
        parent, _, last = name.rpartition(".")
        if last in _KEYS and module.layer is not None and not is_apart(parent) and "cross" not in parent:
            found.setdefault(parent, module)
    return found


def _heads(config: Mapping[str, Any]) -> set[int]:
    """How many heads of keys a layer may have, by every number that a config states of them; of one that calls them by
    another name any number of heads; empty where none is stated.
    """
    layers = config.get("per_layer_config")
    parts = [config, *(layers.values() if isinstance(layers, Mapping) else ())]
    named = [part for part in parts if isinstance(part, Mapping)]
    own = _numbers(value for part in named for name, value in part.items() if name.endswith("key_value_heads"))
    return own or _numbers(
        value
        for part in (config, *config.values())
        for name, value in (part.items() if isinstance(part, Mapping) else ())
        if ("head" in name and not name.endswith(("dim", "size"))) or "query_group" in name
    )


def _numbers(values: Iterable[Any]) -> set[int]:
    flat = [one for value in values for one in (value if isinstance(value, list) else [value])]
    return {one for one in flat if type(one) is int and one > 0}


def _miscounted(count: int, heads: set[int], stated: Stated | None) -> str:
    """What is wrong with so many scales of keys or values; "" for nothing."""
    strategy = stated.cache_strategy if stated is not None else ""
    by_heads = f"one a head, of which there are {' or '.join(map(str, sorted(heads)))}"
    if not heads:
        return ""
    if count != 1 and count not in heads:
        return f"neither one scale nor {by_heads}"
    if strategy == "tensor" and count != 1:
        return f"{stated.where if stated else ''} says that there is one for the tensor"
    if strategy == "attn_head" and count not in heads:
        return f"{stated.where if stated else ''} says that there is {by_heads}"
    return ""
