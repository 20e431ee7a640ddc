"""A located checkpoint to a loaded model: weights, decoder and device."""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from pytest_maxact.checkpoint.completeness import partial, refuse_partial
from pytest_maxact.checkpoint.depth import require_depth
from pytest_maxact.checkpoint.device import forced_dtype, pick_device
from pytest_maxact.checkpoint.files import WeightFiles
from pytest_maxact.checkpoint.fit import refuse_unfit
from pytest_maxact.checkpoint.formats.gguf import contents
from pytest_maxact.checkpoint.formats.gguf_names import of_layers, unplaced_in
from pytest_maxact.checkpoint.formats.gguf_parts import read_as_one
from pytest_maxact.checkpoint.heads import body_of, head_classes, is_headless, lacking_head
from pytest_maxact.checkpoint.locate import Checkpoint, with_weights
from pytest_maxact.checkpoint.placement.mapping import mapped
from pytest_maxact.checkpoint.placement.placement import Placement
from pytest_maxact.checkpoint.placing import refuse_rival_names
from pytest_maxact.checkpoint.quiet import quiet
from pytest_maxact.checkpoint.sites.decoder import decoder_of
from pytest_maxact.checkpoint.sites.table import HEADED
from pytest_maxact.checkpoint.stated import dtype_of_files
from pytest_maxact.checkpoint.weights.restored import tensors_of
from pytest_maxact.errors import InputError, MeasureError, first_line, setting
from pytest_maxact.numbers.counted import counted
from pytest_maxact.settings.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedModel:
    """The base model (no LM head) in evaluation mode, its decoder, and what of the checkpoint stays outside the
    measurement.

    `files`: what its weights were read from, None of a live model. `adapters`: PEFT trains some around its modules, and
    they are part of it. `headed`: the causal language model around the base model, None where there is none that its
    predictions can be told by, as `unpredicted` says.
    """

    model: nn.Module
    decoder: nn.Module
    dtype: str
    device: torch.device
    files: WeightFiles | None
    left_out: tuple[str, ...]
    adapters: bool = False
    headed: nn.Module | None = None
    unpredicted: str = ""
    whole: nn.Module | None = None
    """What transformers made of the files, with or around the base model; None of a live model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Skeleton:
    """A model on the meta device, as `load` builds it with the class `auto`: no weights, no memory. `whole` has the
    head where predictions can be told by it; `body` is what the sites are resolved on; `unpredicted` says why there is
    no such head, empty where there is one.
    """

    auto: Any
    whole: nn.Module
    body: nn.Module
    unpredicted: str


def skeleton(checkpoint: Checkpoint) -> Skeleton:
    """The modules of a model, built around the very body that is observed. Raises InputError."""
    classes = head_classes(checkpoint)
    why = "the class with the LM head is built around another body than the one that is observed"
    if not classes:
        why = "transformers has no next-token head for this architecture"
    if is_headless(checkpoint):
        classes, why = [], f"config.json names {', '.join(checkpoint.config.architectures)}, which has no LM head"
    for auto in classes:
        whole = _on_meta(auto, checkpoint)
        if (body := body_of(whole, checkpoint)) is not None:
            return Skeleton(auto=auto, whole=whole, body=body, unpredicted="")
    auto = _auto_class(checkpoint)
    whole = _on_meta(auto, checkpoint)
    return Skeleton(auto=auto, whole=whole, body=whole, unpredicted=why)


def load(
    checkpoint: Checkpoint, settings: Settings, placement: Placement | None = None,
    held: Mapping[str, Any] | None = None,
) -> LoadedModel:  # fmt: skip
    """Load the weights, with those of its head where it has one, to where they were planned to live. `held`: what
    stands for the tensors of the files, by their names there.

    Raises MeasureError where they are incomplete, do not fit the config, or do not fit into memory.
    """
    built = skeleton(checkpoint)
    if checkpoint.is_hub:
        refuse_unfit(built.whole, with_weights(checkpoint, settings))
    auto = built.auto if held is None else type(built.whole)
    model, info, files, device = load_as(auto, checkpoint, settings, placement, held)
    decoder = decoder_of(model)
    left_out = refuse_partial(model, decoder, info, checkpoint, refuse_rival_names(files, model))
    left_out += _unplaced(model, files, checkpoint)
    left_out += tuple(f"{name}: lies beside the weights and is not loaded" for name in files.beside)
    why = built.unpredicted
    body = model if why else body_of(model, checkpoint)
    assert body is not None
    if not why and (lacking := lacking_head(model, info)):
        why = f"the weight files lack the LM head ({lacking})"
    return LoadedModel(
        model=body,
        decoder=decoder,
        dtype=dtype_of(model, decoder),
        device=device,
        files=files,
        left_out=left_out,
        headed=None if why else model,
        unpredicted=why,
        whole=model,
    )


def _on_meta(auto: Any, checkpoint: Checkpoint) -> nn.Module:
    require_depth(checkpoint.config, None, checkpoint.folder / "config.json")
    with torch.device("meta"), quiet():
        try:
            built: nn.Module = auto.from_config(checkpoint.config, trust_remote_code=checkpoint.trust_remote_code)
            return built
        except Exception as error:
            raise InputError(
                f"transformers cannot build {checkpoint.config.model_type!r} from {checkpoint.folder / 'config.json'}:"
                f" {first_line(error)}"
            ) from error


def dtype_of(model: Any, decoder: nn.Module) -> str:
    """The dtype of a model's weights by its name in torch; the model's own word for it where the decoder has weights of
    several.
    """
    floats = {p.dtype for p in decoder.parameters() if p.is_floating_point()}
    return str(model.dtype if model.dtype in floats else next(iter(floats))).removeprefix("torch.")


def load_as(
    auto: Any,
    checkpoint: Checkpoint,
    settings: Settings,
    placement: Placement | None = None,
    held: Mapping[str, Any] | None = None,
) -> tuple[Any, dict[str, Any], WeightFiles, torch.device]:
    """The model that an auto class makes of a checkpoint, in evaluation mode; what transformers says of the loading;
    the files and the device. The config is the one that was read once, and it names the files.

    Raises InputError for a dtype that is none, and for weight files that are missing or damaged, MeasureError where
    they cannot be loaded.
    """
    forced = forced_dtype(settings.dtype)
    files = with_weights(checkpoint, settings)
    config = deepcopy(checkpoint.as_read)
    for part in (config, config.get_text_config()):
        part.transformers_weights = None if files.is_gguf else files.entry
    device = torch.device(placement.device) if placement else pick_device(settings.device)
    where = mapped(placement if held is None else None)
    with quiet():
        try:
            model, info = _from_pretrained(
                auto,
                files,
                config=config,
                dtype=forced or _stated(config, files),
                trust_remote_code=checkpoint.trust_remote_code,
                output_loading_info=True,
                **where.arguments,
                **({} if held is None else {"state_dict": dict(held)}),
            )
            settled = where.settle(model.eval(), device) if held is None else _onto(model.eval(), device)
            return settled, info, files, device
        except Exception as error:
            raise MeasureError(
                f"cannot load the weights of {checkpoint.name}: {first_line(error)}\n  {_advice(error, device)}"
            ) from error


def _from_pretrained(auto: Any, files: WeightFiles, **options: Any) -> Any:
    """What transformers loads from the files; from weights in low bits, each given back when it asks for it."""
    if files.is_gguf:
        from transformers import GgufConfig

        with read_as_one(files.loaded):
            return auto.from_pretrained(
                files.folder, gguf_file=files.entry, quantization_config=GgufConfig(dequantize=True), **options
            )
    if files.packing is None:
        folder = None if "state_dict" in options else files.folder
        return auto.from_pretrained(folder, use_safetensors=True, **options)
    with torch.device("meta"):
        built = auto.from_config(options["config"], trust_remote_code=options["trust_remote_code"])
    with tensors_of(files) as tensors:
        return type(built).from_pretrained(None, state_dict=tensors, **options)


def _unplaced(model: Any, files: WeightFiles, checkpoint: Checkpoint) -> tuple[str, ...]:
    """Tensors of a GGUF file that transformers has no place for, and passes over unsaid, in words. Raises MeasureError
    for one of a layer, which llama.cpp may compute with.
    """
    if not files.is_gguf:
        return ()
    keys = [header.key for _, header in files.headers()]
    beyond = unplaced_in(model, contents(files.loaded[0]).architecture, keys)
    if stray := of_layers(beyond):
        what = f"hold {counted(len(stray), 'tensor')} of layers that the architecture does not use"
        raise partial(checkpoint, what, stray)
    return tuple(f"{key}: not used by this architecture" for key in beyond)


def _onto(model: Any, device: torch.device) -> Any:
    """What of a model has contents, on a device."""
    return model._apply(lambda tensor: tensor if tensor.is_meta else tensor.to(device))


def _stated(config: Any, files: WeightFiles) -> Any:
    """The dtype to load in, told by headers where the config states none: the one that is told before loading."""
    if files.is_gguf:
        return torch.bfloat16
    told = dtype_of_files(config, files) if getattr(config, "dtype", None) is None else None
    return getattr(torch, told) if told else "auto"


def _advice(error: Exception, device: torch.device) -> str:
    """What helps where weights cannot be loaded."""
    if isinstance(error, ImportError):
        return "install what it names, beside pytest-maxact"
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "alloc" in str(error):
        return f"they do not fit the memory of {device}; choose another with {setting('device')}, or a larger machine"
    return "see that transformers loads it: AutoModel.from_pretrained(FOLDER)"


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


def whole_skeleton(checkpoint: Checkpoint) -> nn.Module:
    """On the meta device, the model as the config's `architectures` names it, with its head; where it names none
    that is known, with the head that its type has.
    """
    with torch.device("meta"), quiet():
        try:
            built: nn.Module = _whole(checkpoint)
            return built
        except Exception as error:
            raise InputError(
                f"transformers cannot build {checkpoint.config.architectures} from "
                f"{checkpoint.folder / 'config.json'}: {first_line(error)}\n"
                "  give it what it asks for, or correct `architectures`, so that head and towers can be checked"
            ) from error


def _whole(checkpoint: Checkpoint) -> Any:
    import transformers

    config = deepcopy(checkpoint.as_read or checkpoint.config)
    stated = next(iter(config.architectures or ()), "")
    code = {"trust_remote_code": checkpoint.trust_remote_code}
    remote = getattr(config, "auto_map", None) or {}
    for auto, reference in remote.items() if checkpoint.trust_remote_code else ():
        if str(reference).rpartition(".")[2] == stated and hasattr(transformers, auto):
            return getattr(transformers, auto).from_config(config, **code)
    known: Any = getattr(transformers, stated, None)
    if isinstance(known, type) and issubclass(known, transformers.PreTrainedModel) and _is_for(known, config):
        whole: Any = known
        return whole._from_config(config)
    if stated.endswith("Model"):
        return _auto_class(checkpoint).from_config(config, **code)
    headed = (
        transformers.AutoModelForCausalLM,
        transformers.AutoModelForImageTextToText,
        transformers.AutoModelForMultimodalLM,
    )
    auto = next((auto for auto in headed if type(config) in auto._model_mapping), _auto_class(checkpoint))
    return auto.from_config(config, **code)


def _is_for(known: Any, config: Any) -> bool:
    return isinstance(config, getattr(known, "config_class", None) or ())
