"""Multi-token prediction beside a decoder: which tensors of a checkpoint it is, in families that have it.

Whether a family has it is said by the classes of transformers, never by the config of a checkpoint: a layer of any
other family that is declared, or renamed, to be a predictor is one that was left out of the model.
"""

import re
from collections.abc import Iterable
from typing import Any

from torch import nn

from pytest_maxact.checkpoint.sites.table import exceptions_of

_DEPTHS = ("num_nextn_predict_layers", "num_mtp_layers", "mtp_num_hidden_layers")
_LAYER_KEY = re.compile(r"(?:^|\.)(?:layers?|h|blocks?)\.(\d+)\.")
_APART = re.compile(r"^(?:model\.|language_model\.)*mtp(?:_\w+)?\.")
"""Beside the decoder, as Qwen3.5 keeps it."""
_PART = re.compile(
    r"[._](?:eh_proj|e_proj|h_proj|enorm|hnorm|shared_head|fc|pre_fc_norm\w*|input_proj|linear_proj|emb(?:ed)?_norm"
    r"|hidden_norm)\."
)
"""What joins the embedding of the next token to the hidden state, and the head behind it."""


def layer_of(key: str) -> int | None:
    match = _LAYER_KEY.search(key)
    return int(match.group(1)) if match else None


def is_apart(key: str) -> bool:
    """Whether a tensor's name says that it is a predictor's, beside the decoder."""
    return bool(_APART.match(key))


def predictor_layers(decoder: nn.Module, unexpected: Iterable[str]) -> set[int]:
    """Numbers of surplus layers that are multi-token prediction: the family has such layers behind the last, this
    config announces them, and they hold what only a predictor has.
    """
    config: Any = decoder.config
    if not any(hasattr(type(config), name) or name in type(config).attribute_map for name in _DEPTHS):
        return set()
    depth = getattr(config, exceptions_of(config).depth, 0)
    announced = range(depth, depth + max(_count(getattr(config, name, 0)) for name in _DEPTHS))
    joining = {layer_of(key) for key in unexpected if _PART.search(f".{key}")}
    return {layer for layer in announced if layer in joining}


def predictor_keys(model: nn.Module, decoder: nn.Module, keys: Iterable[str]) -> set[str]:
    """Tensors that lie apart from the decoder as multi-token prediction; none in a family that has none, nor where
    nothing among them joins a predictor to the decoder: they are then a layer of the decoder itself.
    """
    apart = {key for key in keys if is_apart(key)}
    known = {_last(name) for name, _ in decoder.named_parameters()}
    joins = any(_PART.search(f".{key}") or ("experts" not in key and _last(key) not in known) for key in apart)
    return apart if joins and _family_has_it(model, decoder) else set()


def _last(key: str) -> str:
    """A parameter with its module, as in `up_proj.weight`."""
    return ".".join(key.split(".")[-2:])


def _family_has_it(model: nn.Module, decoder: nn.Module) -> bool:
    """Whether a class of the model says that it leaves predictors in a checkpoint alone, or its config counts them."""
    ignored = [
        pattern
        for kind in {*type(model).__mro__, *type(decoder).__mro__}
        for pattern in vars(kind).get("_keys_to_ignore_on_load_unexpected") or ()
    ]
    config: Any = decoder.config
    counted = any(hasattr(type(config), name) or name in type(config).attribute_map for name in _DEPTHS)
    return counted or any("mtp" in str(pattern) for pattern in ignored)


def _count(value: object) -> int:
    return value if isinstance(value, int) and value > 0 else 0
