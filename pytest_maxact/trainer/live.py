"""A model in training as one that was loaded: measured in place, without a second copy, and left exactly as it was
found.
"""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch._dynamo import OptimizedModule

from pytest_maxact.checkpoint.load import LoadedModel, dtype_of
from pytest_maxact.checkpoint.sites.adapters import without_adapters
from pytest_maxact.checkpoint.sites.decoder import decoder_of
from pytest_maxact.checkpoint.sites.table import HEADED
from pytest_maxact.errors import InputError, setting

_SERIES = f"gate the saved checkpoints as a series instead: pytest {setting('model')}='OUTPUT_DIR/checkpoint-*'"
_BEYOND_MODULES = ("alora_invocation_tokens", "arrow_config", "layer_replication", "target_parameters")
"""Options of a LoRA that act beyond the modules it wraps, or within them."""


def unwrapped(trainer: Any) -> Any:
    """The transformers model that a Trainer trains, without what data parallelism, compilation and PEFT put around it;
    adapters inside stay.

    Raises InputError for any other, and for adapters that cannot be measured unmerged.
    """
    from transformers import PreTrainedModel

    outer = trainer.accelerator.unwrap_model(trainer.model, keep_torch_compile=False)
    model = outer.get_base_model() if hasattr(outer, "get_base_model") else outer
    if not isinstance(model, PreTrainedModel):
        raise InputError(
            f"{type(model).__name__} is no model of transformers (PreTrainedModel), so its sites are not known\n"
            f"  gate its saved checkpoints instead, with pytest {setting('model')}"
        )
    _refuse_adapters(outer, model)
    return model


def _refuse_adapters(outer: Any, model: Any) -> None:
    """Raise InputError for adapters that do more than change what modules give: prompts, routing, other layers, other
    tokens, tied weights.
    """
    configs = [config for module in outer.modules() for config in (getattr(module, "peft_config", None) or {}).values()]
    if not configs:
        return
    what = next(filter(None, map(_unmeasurable, configs)), "")
    with without_adapters(model) as wrappers:
        embedding = model.get_input_embeddings()
        tied = any(
            inside is not embedding and getattr(inside, "weight", None) is embedding.weight for inside in wrappers
        )
    if getattr(model, "is_quantized", False):
        what = "adapters on a quantized model"
    elif any(getattr(wrapper, "disable_adapters", False) for wrapper in wrappers.values()):
        what = "adapters that are switched off"
    elif tied:
        what = "adapters on an output embedding that is tied to the input's, into which they would be merged,"
    if what:
        raise InputError(
            f"{what} cannot be measured while they train\n"
            f"  merge them, save the merged model, and gate it with pytest {setting('model')}"
        )


def _unmeasurable(config: Any) -> str:
    """What a configuration of PEFT asks for beyond changing what modules give, "" where nothing."""
    kind = str(getattr(config.peft_type, "value", config.peft_type))
    more = next((name for name in _BEYOND_MODULES if getattr(config, name, None)), None)
    return f"{kind} adapters{f' with {more}' if more else ''}" if kind != "LORA" or more else ""


def name_of(trainer: Any) -> str:
    """What others will call the model: by its id on the hub, else what it was loaded as, else the folder of the run."""
    loaded = getattr(getattr(trainer.model, "config", None), "_name_or_path", "")
    return str(trainer.args.hub_model_id or loaded or Path(trainer.args.output_dir).resolve().name)


def refuse_sharded(trainer: Any) -> None:
    """Raise InputError where no process holds the whole model: a pass on one of them would see a part of it, or wait
    for the others.
    """
    parameters = list(trainer.model.parameters())
    devices = {str(parameter.device) for parameter in parameters}
    if trainer.is_fsdp_enabled or trainer.is_fsdp_xla_enabled:
        how = "are sharded (FSDP)"
    elif any(hasattr(parameter, "ds_id") for parameter in parameters):
        how = "are sharded (DeepSpeed ZeRO-3)"
    elif any(hasattr(parameter, "device_mesh") for parameter in parameters):
        how = "are sharded (DTensor)"
    elif len(devices) > 1 or "meta" in devices:
        how = f"lie on several devices ({', '.join(sorted(devices))})"
    else:
        return
    raise InputError(f"the parameters of this run {how}, so they cannot be measured while it trains\n  {_SERIES}")


def refuse_attention(model: Any, dtype: str) -> None:
    """Raise InputError where the attention of a run in mixed precision cannot take the weights' own dtype, in which the
    model is measured.
    """
    how = str(getattr(model.config.get_text_config(), "_attn_implementation", None))
    if dtype == "float32" and "flash" in how:
        raise InputError(
            f"the weights are float32, in which the model is measured, and its attention is {how}, which takes 16 bits"
            ' only\n  load the model with dtype=torch.bfloat16, or with attn_implementation="sdpa"'
        )


def as_loaded(model: Any, unpredicted: str = "") -> LoadedModel:
    """A live model as `load` would give it from a checkpoint: the base model, its head around it unless predictions are
    `unpredicted`, and what stays outside.
    """
    base = model if model.config.model_type in HEADED else model.base_model
    with without_adapters(base) as wrappers:
        decoder = decoder_of(base)
    inside = {id(parameter) for parameter in base.parameters()}
    beside = [
        name
        for name, child in model.named_children()
        if child is not base and any(id(parameter) not in inside for parameter in child.parameters())
    ]
    return LoadedModel(
        model=base,
        decoder=decoder,
        dtype=dtype_of(base, decoder),
        device=next(decoder.parameters()).device,
        files=None,
        left_out=tuple(f"{name}: not part of the decoder" for name in sorted(beside)) if base is not model else (),
        adapters=bool(wrappers),
        headed=None if unpredicted else model,
        unpredicted=unpredicted,
    )


@contextmanager
def as_written(model: nn.Module) -> Iterator[None]:
    """A live model without what compiles parts of it in place, a layer or a block: hooks are no part of a compiled
    graph. Afterwards it is compiled as before, and nothing is compiled anew.
    """
    places = [
        (parent, name, child)
        for parent in model.modules()
        for name, child in parent._modules.items()
        if isinstance(child, OptimizedModule)
    ]
    try:
        for parent, name, child in places:
            parent._modules[name] = _uncompiled(child)
        with torch.compiler.set_stance("force_eager"):
            yield
    finally:
        for parent, name, child in places:
            parent._modules[name] = child


def _uncompiled(module: nn.Module) -> nn.Module:
    while isinstance(module, OptimizedModule):
        module = module._orig_mod
    return module


@contextmanager
def undisturbed(loaded: LoadedModel) -> Iterator[None]:
    """A live model, with its head, in evaluation mode and in the dtype of its weights; afterwards its modules and all
    random numbers are as they were.

    Modules keep more than a training flag: rotary embeddings recompute their angles for long sequences, some in place.
    """
    whole = loaded.headed or loaded.model
    kept = [(module, dict(vars(module)), dict(module._buffers)) for module in whole.modules()]
    values = [(buffer, buffer.clone()) for buffer in whole.buffers()]
    with _random_numbers_kept(loaded.device):
        try:
            whole.eval()
            if (plain := vars(whole).get("_original_forward")) is not None:
                whole.forward = plain  # without the autocast that accelerate puts around a model
            with torch.autocast(loaded.device.type, enabled=False):
                yield
        finally:
            for module, attributes, buffers in kept:
                vars(module).clear()
                vars(module).update(attributes)
                module._buffers.clear()
                module._buffers.update(buffers)
            for buffer, value in values:
                buffer.copy_(value)


@contextmanager
def _random_numbers_kept(device: torch.device) -> Iterator[None]:
    python, numpy = random.getstate(), np.random.get_state()
    devices = [] if device.type == "cpu" else [device]
    try:
        with torch.random.fork_rng(devices, device_type=device.type if devices else "cuda"):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)


def is_remote(model: nn.Module) -> bool:
    """Whether a model's code came with its weights."""
    return type(model).__module__.split(".")[0] == "transformers_modules"
