"""What a checkpoint leaves out of the decoder, or holds beyond it, is refused: a half-loaded model would be measured,
and pass.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Any

from torch import nn

from pytest_maxact.checkpoint.locate import Checkpoint
from pytest_maxact.checkpoint.predictors import is_apart, layer_of, predictor_keys, predictor_layers
from pytest_maxact.checkpoint.sites.decoder import of_senses
from pytest_maxact.errors import MeasureError
from pytest_maxact.numbers.counted import counted

_AFTER = re.compile(r"pooler\.")
"""What an encoder has behind its last layer: checkpoints saved with a head leave it out, and no site depends on it."""
_DERIVED_KEYS = re.compile(r"rotary_emb\.inv_freq$|\.attn\.(?:masked_)?bias$|embeddings\.position_ids$")


def refuse_partial(
    model: nn.Module, decoder: nn.Module, info: dict[str, Any], checkpoint: Checkpoint, unused: Sequence[str] = ()
) -> tuple[str, ...]:
    """What of the files stays outside the model, in words; `unused` is what transformers dropped and does not tell.
    Raises MeasureError where the decoder lacks a tensor, or the files hold one of it that reaches no parameter.
    """
    prefix = next((f"{name}." if name else "" for name, module in model.named_modules() if module is decoder), "")
    inside = [
        key for key in info["missing_keys"] if key.startswith(prefix) and not _AFTER.match(key.removeprefix(prefix))
    ]
    if inside:
        raise partial(checkpoint, f"lack {counted(len(inside), 'tensor')} that the config calls for", inside)
    mismatched = [
        str(entry[0]) if isinstance(entry, (tuple, list)) else str(entry) for entry in info.get("mismatched_keys") or ()
    ]
    if mismatched:
        raise partial(
            checkpoint,
            f"have {counted(len(mismatched), 'tensor')} of another shape than the config calls for",
            mismatched,
        )
    if problems := list(info.get("error_msgs") or ()):
        raise partial(checkpoint, "did not load", problems)
    unexpected = [key for key in info["unexpected_keys"] if not _DERIVED_KEYS.search(key)]
    every = [*unexpected, *(key for key in unused if key not in unexpected)]
    predictors, apart = predictor_layers(decoder, every), predictor_keys(model, decoder, every)
    outside = [key for key in every if layer_of(key) not in predictors and key not in apart]
    stray = [key for key in outside if is_apart(key) or (key in unexpected and _in_decoder(model, decoder, key))]
    if stray:
        raise partial(checkpoint, f"hold {counted(len(stray), 'decoder tensor')} that the config does not use", stray)
    left_out = [f"layers.{layer}: multi-token prediction" for layer in sorted(predictors)]
    left_out += [f"{name}: multi-token prediction" for name in sorted({_first(key, "mtp") for key in apart})]
    left_out += [
        f"{name}: not part of the decoder"
        for name in sorted({key.split(".")[0] for key in outside if key in unexpected})
    ]
    left_out += [
        f"{name}: not used by this architecture"
        for name in sorted({_starred(key) for key in outside if key not in unexpected})
    ]
    return tuple(left_out)


def _first(key: str, within: str) -> str:
    """The part of a name that holds a word."""
    return next(part for part in key.split(".") if within in part)


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


def _starred(key: str) -> str:
    """A tensor's name with every number in it as `*`: what it is, whatever the layer."""
    return ".".join("*" if part.isdecimal() else part for part in key.split("."))


def partial(checkpoint: Checkpoint, what: str, names: Iterable[str]) -> MeasureError:
    listed = sorted(names)
    return MeasureError(
        f"the weights of {checkpoint.name} {what}, the first {listed[0]}\n"
        "  config.json and the weight files do not belong together; export the checkpoint again"
    )
