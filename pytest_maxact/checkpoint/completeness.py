"""What a checkpoint leaves out of the decoder, or holds beyond it, is refused: a half-loaded model would be measured,
and pass.
"""

import re
from collections.abc import Iterable
from typing import Any

from torch import nn

from pytest_maxact.checkpoint.locate import Checkpoint
from pytest_maxact.checkpoint.sites.decoder import of_senses
from pytest_maxact.checkpoint.sites.table import exceptions_of
from pytest_maxact.errors import MeasureError

_LAYER_KEY = re.compile(r"(?:^|\.)(?:layers?|h|blocks?)\.(\d+)\.")
_PREDICTOR_KEY = re.compile(r"^(?:model\.)?mtp\.")
"""Multi-token prediction beside the decoder, as Qwen3.5 keeps it."""
_PREDICTOR_PART = re.compile(r"\.(?:eh_proj|e_proj|h_proj|enorm|hnorm|shared_head)\.")
"""What joins the embedding of the next token to the hidden state, and the head behind it."""
_AFTER = re.compile(r"pooler\.")
"""What an encoder has behind its last layer: checkpoints saved with a head leave it out, and no site depends on it."""
_DERIVED_KEYS = re.compile(r"rotary_emb\.inv_freq$|\.attn\.(?:masked_)?bias$|embeddings\.position_ids$")


def refuse_partial(
    model: nn.Module, decoder: nn.Module, info: dict[str, Any], checkpoint: Checkpoint
) -> tuple[str, ...]:
    prefix = next((f"{name}." if name else "" for name, module in model.named_modules() if module is decoder), "")
    inside = [
        key for key in info["missing_keys"] if key.startswith(prefix) and not _AFTER.match(key.removeprefix(prefix))
    ]
    if inside:
        raise partial(checkpoint, f"lack {len(inside)} tensors that the config calls for", inside)
    mismatched = [
        str(entry[0]) if isinstance(entry, (tuple, list)) else str(entry) for entry in info.get("mismatched_keys") or ()
    ]
    if mismatched:
        raise partial(
            checkpoint, f"have {len(mismatched)} tensors of another shape than the config calls for", mismatched
        )
    if problems := list(info.get("error_msgs") or ()):
        raise partial(checkpoint, "did not load", problems)
    unexpected = [key for key in info["unexpected_keys"] if not _DERIVED_KEYS.search(key)]
    predictors = _predictors(decoder, unexpected)
    stray = [
        key
        for key in unexpected
        if _layer_of(key) not in predictors and not _PREDICTOR_KEY.search(key) and _in_decoder(model, decoder, key)
    ]
    if stray:
        raise partial(checkpoint, f"hold {len(stray)} decoder tensors that the config does not use", stray)
    left_out = [f"layers.{layer}: multi-token prediction" for layer in sorted(predictors)]
    others = sorted({key.split(".")[0] for key in unexpected if _layer_of(key) not in predictors})
    left_out += [f"{name}: not part of the decoder" for name in others]
    return tuple(left_out)


def _predictors(decoder: nn.Module, unexpected: Iterable[str]) -> set[int]:
    """Numbers of surplus layers that are multi-token prediction: the config announces them, and they hold what only a
    predictor has.
    """
    config: Any = decoder.config
    depth = getattr(config, exceptions_of(config).depth, 0)
    announced = range(depth, depth + int(getattr(config, "num_nextn_predict_layers", 0) or 0))
    return {
        layer
        for key in unexpected
        if (layer := _layer_of(key)) is not None and layer in announced and _PREDICTOR_PART.search(key)
    }


def _in_decoder(model: nn.Module, decoder: nn.Module, key: str) -> bool:
    """Whether a tensor that the model has no place for is one of the decoder's: one more of a kind it has, or one
    beside its own modules.
    """
    if of_senses(key):
        return False
    starred = _starred(key)
    if any(
        starred == name or starred.endswith(f".{name}")
        for name in {_starred(name) for name, _ in decoder.named_parameters()}
    ):
        return True
    prefix = next((f"{name}." if name else "" for name, module in model.named_modules() if module is decoder), "")
    bare = key
    for head in (f"{getattr(model, 'base_model_prefix', '')}.", "model.", prefix):
        bare = bare.removeprefix(head)
    return bare.split(".")[0] in {name for name, _ in decoder.named_children()}


def _layer_of(key: str) -> int | None:
    match = _LAYER_KEY.search(key)
    return int(match.group(1)) if match else None


def _starred(key: str) -> str:
    """A tensor's name with every number in it as `*`: what it is, whatever the layer."""
    return ".".join("*" if part.isdecimal() else part for part in key.split("."))


def partial(checkpoint: Checkpoint, what: str, names: Iterable[str]) -> MeasureError:
    listed = sorted(names)
    return MeasureError(
        f"the weights of {checkpoint.name} {what}, the first {listed[0]}\n"
        "  config.json and the weight files do not belong together; export the checkpoint again"
    )
