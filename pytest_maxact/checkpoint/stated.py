"""What headers, config and tokenizer say together before weights are loaded: the dtype, a head that loaders take or
leave, tokens without a row. Remarks and facts out.

Guard: where loaders would serve another model than the one that is measured, that is said beside the verdict.
"""

from collections import Counter
from collections.abc import Iterator
from math import prod
from typing import Any

import torch
from torch import nn

from pytest_maxact.checkpoint.files import WeightFiles
from pytest_maxact.checkpoint.weights.restored import tensors_of
from pytest_maxact.checkpoint.weights.stored import Stored, headers, placed_in
from pytest_maxact.settings.userfiles import begins_with_mark

_DTYPES = {"BF16": "bfloat16", "F16": "float16", "F32": "float32", "F64": "float64"}
_ROWS = 4096


def dtype_of_files(config: Any, files: WeightFiles | None) -> str | None:
    """The dtype that a config states, else the one in which the files hold most of their floats; None where neither is
    there.
    """
    stated = getattr(config, "dtype", None) or getattr(config.get_text_config(), "dtype", None)
    if stated is not None:
        return str(stated).removeprefix("torch.")
    held: Counter[str] = Counter()
    for header in headers(files) if files else ():
        if header.dtype in _DTYPES:
            held[header.dtype] += prod(header.shape)
    return _DTYPES[max(held, key=lambda name: (held[name], name))] if held else None


def remarks_of(model: nn.Module, files: WeightFiles) -> Iterator[str]:
    """What makes loaders differ. `model`: the one that is loaded, which may lie on the meta device."""
    if begins_with_mark(files.folder / "config.json"):
        yield "config.json begins with a byte order mark, which transformers and what serves it refuse: save it without"
    if files.packing and files.packing.activations:
        yield (
            f"inputs of linear layers are measured in 16 bits, where a runtime quantizes them too "
            f"({files.packing.activations}); predictions against a source are made as it does"
        )
    placed = placed_in(headers(files), model)
    for target, source in sorted((getattr(model, "all_tied_weights_keys", None) or {}).items()):
        one, other = placed.get(target, []), placed.get(source, [])
        if len(one) == len(other) == 1 and _differ(one[0], other[0], files):
            yield (
                f"config.json ties {one[0].key} to {other[0].key} (tie_word_embeddings), and the files hold both, "
                f"which differ: measured with {one[0].key}, where vLLM and others take {other[0].key}"
            )


def rowless(tokenizer: Any, rows: int) -> tuple[str, ...]:
    """Tokens that a tokenizer knows and the embedding, of so many rows, has none for, in words; no text that is
    measured holds one.
    """
    known = getattr(tokenizer, "get_vocab", dict)
    beyond = sorted((number, token) for token, number in known().items() if number >= rows)
    if not beyond:
        return ()
    more = f" and {len(beyond) - 1} more tokens" if len(beyond) > 1 else ""
    return (
        f"{beyond[0][1]} ({beyond[0][0]}){more} of the tokenizer: the embedding has {rows} rows, so a text with one "
        "cannot be read",
    )


def _differ(one: Stored, other: Stored, files: WeightFiles) -> bool:
    if one.shape != other.shape:
        return True
    with tensors_of(files) as tensors:
        here, there = tensors[one.key], tensors[other.key]
        return any(
            not torch.equal(here[start : start + _ROWS].float(), there[start : start + _ROWS].float())
            for start in range(0, one.shape[0] if one.shape else 0, _ROWS)
        )
