"""Weights that lie in a checkpoint's folder and are not loaded: which there are, and which of them another loader would
take for the model.

Guards that a verdict is of the weights that are served: where loaders differ in what they take, there is none.
"""

import re
from collections.abc import Collection, Iterable
from pathlib import Path

from pytest_maxact.checkpoint.headers import headers_of
from pytest_maxact.errors import InputError, setting

_SUFFIXES = (".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".gguf", ".h5", ".msgpack", ".ot", ".onnx")
_INDEX = re.compile(r"\.(?:safetensors|bin)\.index(?:\.[\w-]+)?\.json$")
_STATE = re.compile(
    r"^(?:training_args|optimizer|scheduler|scaler|rng_state\w*|random_states_\w*)\.(?:bin|pt|pth|pkl)$"
)
"""What a trainer keeps beside weights to go on from."""
_MODEL = re.compile(r"^(?:pytorch_)?model(?:[-.].*)?\.(?:safetensors|bin)(?:\.index(?:\.[\w-]+)?\.json)?$")
"""Names under which transformers saves: single files, shards, indices, each with or without a variant."""
_SHARD = re.compile(r"-\d+-of-\d+(?=\.)")
_ORIGINAL = re.compile(r"^consolidated[-.\w]*\.")
"""The form of Mistral and Meta, published beside that of transformers."""


def others_of(folder: Path, taken: Collection[str]) -> tuple[str, ...]:
    """Names of the weight files and indices of a folder that are not among those taken."""
    return tuple(
        sorted(
            file.name
            for file in folder.iterdir()
            if file.name not in taken
            and (file.suffix in _SUFFIXES or _INDEX.search(file.name))
            and not _STATE.match(file.name)
            and not file.is_dir()
        )
    )


def refuse_rivals(folder: Path, entry: str, beside: Iterable[str], keys: Collection[str], *, pickles: bool) -> None:
    """Raise InputError where a file that is not loaded would be the model, or a part of it, to another loader: by its
    name, or as it holds tensors of the names that are loaded.

    Those in the form of Mistral and Meta and of other runtimes are no rivals: they are taken only by who asks for them.
    """
    rivals = [name for name in beside if _is_rival(folder / name, keys) and (pickles or ".bin" not in name)]
    if not rivals:
        return
    sets = sorted({_SHARD.sub("-*", name) for name in rivals})
    raise InputError(
        f"{folder} holds more than one set of weights: {entry}, which transformers loads, and {', '.join(sets[:3])}, "
        f"which {_taken_by(rivals)}\n"
        f"  remove what is not the model, or choose with {setting('weights')} {entry}"
    )


def _is_rival(file: Path, keys: Collection[str]) -> bool:
    if _ORIGINAL.match(file.name):
        return False
    if _MODEL.match(file.name):
        return True
    if file.suffix != ".safetensors":
        return False
    try:
        return any(header.key in keys for header in headers_of(file))
    except ValueError:
        return False


def _taken_by(rivals: Iterable[str]) -> str:
    """Who takes them, as far as known of vLLM and SGLang: with an index its files, else every safetensors file."""
    names = list(rivals)
    if any(name.endswith(".safetensors.index.json") for name in names):
        return "vLLM and others that read the index take"
    if any(".safetensors" in name for name in names):
        return "vLLM and others that read every safetensors file take too"
    return "loaders take that are asked for pickles (use_safetensors=False)"
