"""AutoRound's own configs: its weights lie as those of GPTQ or AWQ, by `packing_format`, in 2 to 8 bits; what differs
from layer to layer stands under `extra_config`.

Native ones (`auto_round`, `auto_round:gptqmodel`) keep zero points as they are, `auto_round:auto_gptq` less one.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from pytest_maxact.checkpoint.formats import awq, gptq
from pytest_maxact.checkpoint.formats.packed import Held, Packed
from pytest_maxact.checkpoint.formats.stated import Quantization
from pytest_maxact.errors import InputError

NAMES = ("auto-round",)
LAYOUTS: Mapping[str, str] = {
    "auto_round:auto_gptq": "gptq", "auto_round": "gptq_v2", "auto_round:gptqmodel": "gptq_v2",
    "auto_round:auto_awq": "awq",
}  # fmt: skip
"""By `packing_format`, the layout; of GPTQ with its version."""


def packed(stated: Quantization, held: Held) -> Iterator[Packed]:
    """Every weight that lies in words."""
    said = stated.entries
    form, kind = str(said.get("packing_format") or "auto_round"), str(said.get("data_type") or "int")
    if form not in LAYOUTS or kind != "int":
        raise InputError(
            f"{stated.where}: {kind} as {form} is not read, of AutoRound int as {', '.join(LAYOUTS)}\n"
            "  export the checkpoint in one of these, or as llm_compressor"
        )
    if LAYOUTS[form] == "awq":
        yield from awq.packed(replace(stated, entries={**said, "version": "gemm", "zero_point": True}), held)
        return
    as_gptq: dict[str, Any] = {**said, "checkpoint_format": LAYOUTS[form], "dynamic": _by_pattern(said)}
    yield from gptq.packed(replace(stated, entries=as_gptq), held)


def _by_pattern(said: Mapping[str, Any]) -> dict[str, Any]:
    """What is said of layers of their own, as GPTQModel says it: names there are whole, and may be patterns."""
    own = said.get("extra_config")
    return {f"(?:{name})$": change for name, change in (own if isinstance(own, Mapping) else {}).items()}
