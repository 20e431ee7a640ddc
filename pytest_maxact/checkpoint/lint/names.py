"""What the name of a tensor says: the module it belongs to, which part of it, its layer and expert."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from pytest_maxact.checkpoint.headers import Header

_LAYER = re.compile(r"(?:^|\.)(?:layers?|h|blocks?|blk)\.(\d+)(?:\.|$)")
_EXPERT = re.compile(r"(?:^|\.)experts?\.(\d+)(?:\.|$)")
_NUMBER = re.compile(r"(?<![^.])\d+(?![^.])")
_PARTS = frozenset({
    "weight", "weight_packed", "weight_scale", "weight_scale_inv", "weight_scale_2", "weight_zero_point",
    "weight_g_idx", "weight_shape", "weight_global_scale", "input_scale", "input_zero_point", "input_global_scale",
    "activation_scale", "output_scale", "pre_quant_scale", "qweight", "qzeros", "scales", "g_idx", "bias", "SCB",
    "weight_format", "compressed", "bitmask", "blocks",
})  # fmt: skip
_KV = re.compile(
    r"^(?P<module>.+?)(?:\.(?P<owner>[kv]_proj|qkv_proj))?\.(?P<part>[kv]_scale|kv_scale|[kv]_proj\.output_scale)$"
)
_APART = re.compile(r"vision|visual|audio|image|vit|mtp|nextn|draft|eagle")
_QUERIES = re.compile(r"^(?P<module>.+?)(?:\.q_proj)?\.q_scale$")
_OF_ATTENTION = re.compile(r"(self_attn|attention)\.attn$")
_STACKED = re.compile(r"^(?P<module>.*experts\.(?:gate_up_proj|gate_proj|up_proj|down_proj|w\d+))(?:_(?P<part>\w+))?$")
_STACKED_PARTS = {"scale": "weight_scale", "scale_inv": "weight_scale_inv", "packed": "weight_packed",
                  "scale_2": "weight_scale_2", "global_scale": "weight_global_scale", "": "weight"}  # fmt: skip
_BNB = re.compile(
    r"^(?P<module>.+)\.weight\.(?P<part>absmax|quant_map|nested_absmax|nested_quant_map|quant_state\..+)$"
)


@dataclass(slots=True)
class Module:
    """The tensors of one module, by part: of a linear layer, or of a stack of experts' matrices."""

    name: str
    parts: dict[str, Header] = field(default_factory=dict)

    @property
    def layer(self) -> int | None:
        return layer_of(self.name)

    @property
    def expert(self) -> int | None:
        return expert_of(self.name)

    @property
    def role(self) -> str:
        """Its name without the numbers of layers and experts: what modules of other layers share with it."""
        return _NUMBER.sub("#", self.name)

    @property
    def last(self) -> str:
        return self.name.rpartition(".")[2]


def layer_of(name: str) -> int | None:
    found = _LAYER.search(name)
    return int(found[1]) if found else None


def expert_of(name: str) -> int | None:
    found = _EXPERT.search(name)
    return int(found[1]) if found else None


def modules_of(headers: Iterable[Header]) -> tuple[dict[str, Module], dict[str, dict[str, Header]]]:
    """Every module that has a tensor, by name, and the scales of the KV cache by the module of attention and `k_scale`,
    `v_scale` or `kv_scale`.
    """
    modules: dict[str, Module] = {}
    cache: dict[str, dict[str, Header]] = {}
    for header in headers:
        if found := _KV.match(header.key) if "_scale" in header.key else None:
            part = f"{found['part'][0]}_scale" if found["part"].endswith("output_scale") else found["part"]
            cache.setdefault(_OF_ATTENTION.sub(r"\1", found["module"]), {})[part] = header
            continue
        module, part = split(header.key)
        modules.setdefault(module, Module(module)).parts[part] = header
    return modules, cache


def is_apart(name: str) -> bool:
    """Whether it lies in a tower of images or sound, or among layers that predict further tokens."""
    return _APART.search(name) is not None


def cache_of(key: str) -> tuple[str, str] | None:
    """Of a scale of what attention works with: its attention, and `q`, `k`, `v` or `kv`; None of any other tensor."""
    if found := _QUERIES.match(key):
        return _OF_ATTENTION.sub(r"\1", found["module"]), "q"
    if found := _KV.match(key):
        part = "kv" if found["part"] == "kv_scale" else found["part"][0]
        return _OF_ATTENTION.sub(r"\1", found["module"]), part
    return None


def split(key: str) -> tuple[str, str]:
    """Module and part of a tensor. A tensor that is no known part of one is a module of its own, with one part."""
    module, _, last = key.rpartition(".")
    if last in _PARTS and module:
        return module, last
    if found := _BNB.match(key):
        return found["module"], f"weight.{found['part']}"
    if found := _STACKED.match(key):
        part = found["part"] or ""
        return found["module"], _STACKED_PARTS.get(part, part)
    return key, ""


def by_role(modules: Mapping[str, Module]) -> dict[str, list[Module]]:
    found: dict[str, list[Module]] = {}
    for module in modules.values():
        found.setdefault(module.role, []).append(module)
    return found
