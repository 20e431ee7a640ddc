"""Which parts of a model are split over ranks, by channels: transformers' own plan for an architecture (`tp_plan`) in,
what each rank holds, or why the model cannot be split so, out.

Guard: what would be cut through a head, or into parts of several sizes, is refused by its name before anything is
loaded.
"""

import math
import re
from collections.abc import Iterator
from typing import Any

from torch import nn

_BY_ROWS = ("colwise", "packed_colwise")
_BY_COLUMNS = ("rowwise", "packed_rowwise")
_WHOLE_AROUND = ("colwise_gather_output", "colwise_rep", "rowwise_split_input", "rowwise_rep")
"""Split inside of one module, which is given, or gives, all channels."""
_OF_HEADS = ("q_proj", "k_proj", "v_proj", "q_b_proj", "kv_b_proj", "qkv_proj", "query_key_value")


def unsharded(whole: Any, ranks: int) -> str:
    """Why a model, on the meta device, cannot be split over so many ranks; empty where it can."""
    if not getattr(whole, "tp_plan", None):
        return f"transformers has no plan (tp_plan) by which {whole.config.model_type} is split over ranks"
    for name, parameter, style in _planned(whole):
        path, _, _ = name.rpartition(".")
        if (dim := _split_along(style, parameter)) is None:
            continue
        if parameter.shape[dim] % ranks:
            return f"the {parameter.shape[dim]} channels of {name} do not divide over {ranks} ranks"
        if style in _BY_ROWS and (heads := _heads(whole, path, parameter)) % ranks:
            return f"the {heads} heads of {path} do not divide over {ranks} ranks"
    return ""


def entries_of_a_rank(whole: nn.Module, ranks: int) -> int:
    """Entries of weights that one of so many ranks holds, at the most."""
    split = {
        name
        for name, parameter, style in _planned(whole)
        if _split_along(style, parameter) is not None or style in _WHOLE_AROUND or style.startswith("embedding_")
    }
    return sum(
        math.ceil(parameter.numel() / ranks) if name in split else parameter.numel()
        for name, parameter in whole.named_parameters()
    )


def _planned(whole: Any) -> Iterator[tuple[str, nn.Parameter, str]]:
    """Parameters that the plan speaks of, by themselves or by their module, with what it says."""
    plan = whole.tp_plan
    for name, parameter in whole.named_parameters():
        pattern = re.sub(r"\.\d+(?=\.|$)", ".*", name)
        if style := plan.get(pattern) or plan.get(pattern.rpartition(".")[0]):
            yield name, parameter, style


def _split_along(style: str, parameter: nn.Parameter) -> int | None:
    """The dimension along which a parameter is split; None for one that every rank holds whole."""
    if style in _BY_ROWS:
        return -2 if parameter.ndim > 1 else -1
    return -1 if style in _BY_COLUMNS and parameter.ndim > 1 else None


def _heads(whole: Any, path: str, parameter: nn.Parameter) -> int:
    """The most that heads whose channels a projection of attention gives may be divided by, as far as that is told;
    else 0.
    """
    parent, _, own = path.rpartition(".")
    if own not in _OF_HEADS or parameter.ndim < 2:
        return 0
    width = getattr(whole.get_submodule(parent), "head_dim", None)
    told = parameter.shape[0] // width if isinstance(width, int) and width and not parameter.shape[0] % width else 0
    stated = getattr(whole.config.get_text_config(), "num_attention_heads", 0)
    of_queries = own not in ("k_proj", "v_proj") and isinstance(stated, int)
    return math.gcd(told if own in ("q_proj", "k_proj", "v_proj") else 0, stated if of_queries else 0)
