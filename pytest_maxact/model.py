"""A located checkpoint to a loaded model: weights, decoder, device and tokenizer.

What the checkpoint leaves out of the decoder, or holds beyond it, is refused: a half-loaded model would be measured,
and pass.
"""

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from pytest_maxact.checkpoint import Checkpoint, low_bit_weights, with_weights
from pytest_maxact.errors import InputError, MeasureError, first_line
from pytest_maxact.settings import Settings
from pytest_maxact.sites.decoder import decoder_of, of_senses
from pytest_maxact.sites.table import HEADED, exceptions_of

DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}
_LAYER_KEY = re.compile(r"(?:^|\.)(?:layers?|h|blocks?)\.(\d+)\.")
_PREDICTOR_KEY = re.compile(r"^(?:model\.)?mtp\.")
"""Multi-token prediction beside the decoder, as Qwen3.5 keeps it."""
_PREDICTOR_PART = re.compile(r"\.(?:eh_proj|e_proj|h_proj|enorm|hnorm|shared_head)\.")
"""What joins the embedding of the next token to the hidden state, and the head behind it."""
_AFTER = re.compile(r"pooler\.")
"""What an encoder has behind its last layer: checkpoints saved with a head leave it out, and no site depends on it."""
_DERIVED_KEYS = re.compile(r"rotary_emb\.inv_freq$|\.attn\.(?:masked_)?bias$|embeddings\.position_ids$")


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedModel:
    """The base model (no LM head) in evaluation mode, its decoder, and what of the checkpoint stays outside the
    measurement.

    `adapters`: PEFT trains some around its modules, and they are part of it.
    """

    model: nn.Module
    decoder: nn.Module
    dtype: str
    device: torch.device
    folder: Path
    left_out: tuple[str, ...]
    adapters: bool = False


def skeleton(checkpoint: Checkpoint) -> nn.Module:
    """The model's modules on the meta device: no weights, no memory; what the sites are resolved on before anything is
    loaded.
    """
    with torch.device("meta"), _quiet():
        try:
            return _auto_class(checkpoint).from_config(
                checkpoint.config, trust_remote_code=checkpoint.trust_remote_code
            )  # type: ignore[no-any-return]
        except Exception as error:
            raise InputError(
                f"transformers cannot build {checkpoint.config.model_type!r} from {checkpoint.folder / 'config.json'}:"
                f" {first_line(error)}"
            ) from error


def load(checkpoint: Checkpoint, settings: Settings) -> LoadedModel:
    """Load the weights. Raises MeasureError where they are incomplete, do not fit the config, or do not fit into
    memory.
    """
    model, info, folder, device = load_as(_auto_class(checkpoint), checkpoint, settings)
    decoder = decoder_of(model)
    left_out = refuse_partial(model, decoder, info, checkpoint)
    return LoadedModel(
        model=model, decoder=decoder, dtype=dtype_of(model, decoder), device=device, folder=folder, left_out=left_out
    )


def dtype_of(model: Any, decoder: nn.Module) -> str:
    """The dtype of a model's weights by its name in torch; the model's own word for it where the decoder has weights of
    several.
    """
    floats = {p.dtype for p in decoder.parameters() if p.is_floating_point()}
    return str(model.dtype if model.dtype in floats else next(iter(floats))).removeprefix("torch.")


def load_as(auto: Any, checkpoint: Checkpoint, settings: Settings) -> tuple[Any, dict[str, Any], Path, torch.device]:
    """The model that an auto class makes of a checkpoint, in evaluation mode; what transformers says of the loading;
    the folder and the device.

    Raises InputError for weight files that are missing or damaged, MeasureError where they cannot be loaded.
    """
    folder = with_weights(checkpoint, settings)
    device = pick_device(settings.device)
    if not getattr(checkpoint.config, "quantization_config", None) and (held := low_bit_weights(folder)):
        raise MeasureError(
            f"{checkpoint.name}: {held[0][0]} and {len(held) - 1} more weights are {held[0][1]}, of which config.json "
            "says nothing\n"
            "  their scales are unknown; give the checkpoint in 16 bits, or its quantization_config"
        )
    with _quiet():
        try:
            model, info = auto.from_pretrained(
                folder,
                dtype=DTYPES.get(settings.dtype, "auto"),
                trust_remote_code=checkpoint.trust_remote_code,
                use_safetensors=True,
                output_loading_info=True,
            )
            return model.eval().to(device), info, folder, device
        except Exception as error:
            raise MeasureError(
                f"cannot load the weights of {checkpoint.name}: {first_line(error)}\n"
                f"  see that the files are whole and fit the memory of {device}"
            ) from error


def pick_device(wanted: str) -> torch.device:
    """The device named, or for "auto" CUDA where there is one, else the CPU. Raises InputError for one this machine
    lacks.
    """
    if wanted == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(wanted)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise InputError(
            f"--maxact-device {wanted}: not available here ({first_line(error)})\n  use cpu, or auto"
        ) from error
    return device


def load_tokenizer(source: str | Path, trust_remote_code: bool, revision: str | None = None) -> Any:
    """The tokenizer beside the weights, or of a hub id. Raises InputError where there is none."""
    from transformers import AutoTokenizer

    with _quiet():
        try:
            tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=trust_remote_code, revision=revision)
        except Exception as error:
            raise InputError(
                f"no tokenizer in {source}: {first_line(error)}\n"
                "  save it beside the weights: tokenizer.save_pretrained(FOLDER)"
            ) from error
    if not set(tokenizer.get_vocab()) - set(tokenizer.all_special_tokens):
        raise InputError(
            f"no tokenizer in {source}: none of its files holds a vocabulary\n"
            "  save it beside the weights: tokenizer.save_pretrained(FOLDER)"
        )
    return tokenizer


def _auto_class(checkpoint: Checkpoint) -> Any:
    """`AutoModel` where the architecture has a headless class, else the first of those with a head, which is then not
    run.
    """
    from transformers import AutoModel, AutoModelForCausalLM, AutoModelForImageTextToText, AutoModelForMultimodalLM

    remote = getattr(checkpoint.config, "auto_map", None) or {}
    if checkpoint.trust_remote_code and remote and "AutoModel" not in remote:
        return AutoModelForCausalLM
    if "AutoModel" in remote:
        return AutoModel
    headed = (AutoModelForCausalLM, AutoModelForImageTextToText, AutoModelForMultimodalLM)
    classes = headed if checkpoint.config.model_type in HEADED else (AutoModel, *headed)
    return next((auto for auto in classes if type(checkpoint.config) in auto._model_mapping), AutoModel)


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


@contextmanager
def _quiet() -> Iterator[None]:
    """transformers without progress bars and reports; what matters of them is checked and raised here."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
