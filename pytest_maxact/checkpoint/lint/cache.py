"""Scales of the KV cache: those of every layer's attention, and what config.json declares, in; findings out."""

from collections.abc import Iterator, Mapping, Sequence

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
    cache: Mapping[str, Mapping[str, Header]], modules: Mapping[str, Module], stated: Stated | None, values: Values
) -> Iterator[LintFault]:
    """`cache`: by the module of attention, its scales by `k_scale`, `v_scale` or `kv_scale`."""
    flat = [header for scales in cache.values() for header in scales.values()]
    for header in flat:
        if header.dtype not in FLOATS:
            yield fault("kv_scale", header.key, f"it is {header.dtype}, and scales of the cache are floats")
        elif len(header.shape) > 4 or header.stop - header.start > 4 * _LARGE:
            yield fault("kv_scale", header.key, f"it is {by(header.shape)}: neither one scale nor one a head")
        else:
            yield from scale_faults(header, values)
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
