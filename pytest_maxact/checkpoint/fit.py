"""Whether the files hold the tensors that loading puts into the model, by name and shape: headers and a model without
weights in, an error that names the likely cause out.

Guard: what cannot be loaded is told before anything is, and never by a library's words for something else.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from math import prod
from typing import Any

from torch import nn

from pytest_maxact.checkpoint.files import WeightFiles
from pytest_maxact.checkpoint.headers import FLOATS
from pytest_maxact.checkpoint.weights.presence import missing_in
from pytest_maxact.checkpoint.weights.stored import Stored, headers, placed_in
from pytest_maxact.errors import InputError
from pytest_maxact.numbers.counted import counted, counted_of

_WRAPPERS = {
    "_orig_mod": "torch.compile",
    "module": "DistributedDataParallel, DataParallel or DeepSpeed",
    "_fsdp_wrapped_module": "FSDP",
    "_checkpoint_wrapped_module": "activation checkpointing",
    "_forward_module": "Lightning Fabric",
    "base_model.model": "PEFT",
    "base_layer": "PEFT (around layers with adapters)",
}
_KNOWN = re.compile(rf"(?<![^.])({'|'.join(map(re.escape, _WRAPPERS))})\.")
_ADAPTER = re.compile(r"\.(?:(?:lora|ia3|vera|hada|oft|boft)_\w+|modules_to_save|original_module)(?:\.|$)")
_RUN = 3
_EMBEDDING = re.compile(r"(?:embed\w*|wte|\w*head|embed_out)\.weight$")


def refuse_unfit(model: nn.Module, files: WeightFiles) -> None:
    """Raise InputError where tensors are named for a wrapped model, hold adapters beside the weights, or have other
    shapes than the config makes. `model` may lie on the meta device.
    """
    tensors = headers(files)
    state: dict[str, Any] = model.state_dict()
    placed = placed_in(tensors, model)
    surplus = sorted({part.key for path, parts in placed.items() if path not in state for part in parts})
    if surplus:
        _refuse_adapters(files, surplus)
        _refuse_wrapped(model, files, tensors, surplus, missing_in(model, placed))
    _refuse_shapes(files, placed, state)


def _refuse_adapters(files: WeightFiles, surplus: Sequence[str]) -> None:
    if held := [key for key in surplus if _ADAPTER.search(key)]:
        raise InputError(
            f"{files.folder}: {counted(len(held), 'tensor', 'is', 'are')} of adapters that were not merged into the "
            f"weights, the first {held[0]}\n"
            "  PEFT wrote them; merge and save again: model.merge_and_unload().save_pretrained(FOLDER)"
        )


def _refuse_wrapped(
    model: nn.Module, files: WeightFiles, tensors: Sequence[Stored], surplus: Sequence[str], missing: Sequence[str]
) -> None:
    """Where what is missing lies in the files under names with a wrapper's part in them."""
    parts = Counter(part for key in surplus for part in _KNOWN.findall(key)) or _unknown_parts(model, surplus, missing)
    if not parts or not missing:
        return
    strip = re.compile(rf"(?<![^.])(?:{'|'.join(map(re.escape, parts))})\.")
    bare = [replace(tensor, key=strip.sub("", tensor.key)) for tensor in tensors]
    if len(missing_in(model, placed_in(bare, model))) >= len(missing):
        return
    held = [key for key in surplus if strip.search(key)]
    writers = list(dict.fromkeys(_WRAPPERS.get(part, "a wrapper") for part in parts))
    them = "it" if len(held) == 1 else "them"
    save = "merge the adapters and save again" if "PEFT" in str(writers) else "save the model inside"
    raise InputError(
        f"{files.folder}: {counted_of(len(held), len(tensors), 'tensor', 'is', 'are')} named as "
        f"{' and '.join(writers)} names {them} "
        f"({', '.join(f'{part}.' for part in parts)}), the first {held[0]}, so the model has no place for {them}\n"
        f"  {save}, or strip the names: {_line(parts, files)}"
    )


def _line(parts: Iterable[str], files: WeightFiles) -> str:
    pattern = "|".join(re.escape(part) for part in parts)
    name = files.name(files.loaded[0]) if len(files.loaded) == 1 else "FILE"
    return (
        f"""save_file({{re.sub(r"\\b({pattern})\\.", "", k): v for k, v in load_file("{name}").items()}}, "{name}", """
        """{"format": "pt"})"""
    )


def _unknown_parts(model: Any, surplus: Sequence[str], missing: Sequence[str]) -> Counter[str]:
    """What stands in names of the files, and not in those that are missing: one part, the likeliest."""
    base = f"{getattr(model, 'base_model_prefix', '')}."
    names = {*missing, *(name.removeprefix(base) for name in missing), *(f"{base}{name}" for name in missing)}
    found: Counter[str] = Counter()
    for key in surplus:
        parts = key.split(".")
        for start in range(len(parts) - 1):
            for end in range(start + 1, min(start + _RUN, len(parts) - 1) + 1):
                if ".".join((*parts[:start], *parts[end:])) in names:
                    found[".".join(parts[start:end])] += 1
    return Counter(dict(found.most_common(1)))


def _refuse_shapes(files: WeightFiles, placed: Mapping[str, list[Stored]], state: Mapping[str, Any]) -> None:
    odd = [
        (part, tuple(state[path].shape))
        for path, parts in placed.items()
        if path in state
        for part in parts
        if part.converter is None and part.dtype in FLOATS and part.shape != tuple(state[path].shape)
    ]
    odd += [
        (min(parts, key=lambda part: prod(part.shape)), tuple(state[path].shape))
        for path, parts in placed.items()
        if path in state and parts[0].converter is not None and _holds_other(parts, state)
    ]
    if odd:
        part, wanted = min(odd, key=lambda one: (not _EMBEDDING.search(one[0].key), one[0].key))
        more = f" ({counted(len(odd) - 1, 'more tensor', 'differs', 'differ')})" if len(odd) > 1 else ""
        raise InputError(
            f"{part.file}: {part.key} is {list(part.shape)}, and config.json makes {_it(part)} {list(wanted)}{more}\n"
            f"  {_cause(part, wanted)}"
        )


def _holds_other(parts: Sequence[Stored], state: Mapping[str, Any]) -> bool:
    """Whether tensors that are put together to parameters have more or fewer entries than these."""
    targets = parts[0].targets
    if any(part.dtype not in FLOATS for part in parts) or not all(target in state for target in targets):
        return False
    held, made = sum(prod(part.shape) for part in parts), sum(prod(state[target].shape) for target in targets)
    return held != int(made)


def _it(part: Stored) -> str:
    return "it" if part.converter is None else f"what it goes into, {part.targets[0]},"


def _cause(part: Stored, wanted: tuple[int, ...]) -> str:
    """What two shapes that differ are likely due to, and what helps."""
    held, key = part.shape, part.key
    if not prod(held):
        return "an empty part, as FSDP and ZeRO-3 leave them: gather the full state dict before it is saved"
    if len(held) == 1 < len(wanted) and part.converter is None:
        what = "flattened" if held[0] == prod(wanted) else "a part of a flattened tensor"
        return f"{what}, as FSDP keeps them: gather the full state dict before it is saved"
    if _EMBEDDING.search(key) and held[1:] == wanted[1:]:
        return (
            f"a resized vocabulary: set vocab_size to {held[0]} in config.json if the tokenizer has as many, else "
            f"resize_token_embeddings({wanted[0]}) and save again"
        )
    if part.converter is not None:
        return "config.json and the weight files do not belong together; export the checkpoint again"
    if held == wanted[::-1]:
        return "transposed: export the checkpoint again, with the tool's transposing of weights off"
    if len(held) == len(wanted) and (shards := _shards(held, wanted)):
        return (
            f"one of {shards} parts, as tensor parallelism cuts them, or another model's config: gather, or restore it"
        )
    return "config.json and the weight files do not belong together; export the checkpoint again"


def _shards(held: Sequence[int], wanted: Sequence[int]) -> int:
    """Into how many equal parts one dimension was cut; 0 where that is not what was done."""
    cut = [(have, want) for have, want in zip(held, wanted, strict=True) if have != want]
    return cut[0][1] // cut[0][0] if len(cut) == 1 and not cut[0][1] % cut[0][0] else 0
