"""A path that is no model's folder: what lies there, and what to give in its place. No torch.

Guard: a file, the folder above a model, another runtime's format or a training state is called by its name.
"""

import re
from collections.abc import Iterable, Iterator
from glob import escape, glob
from itertools import islice
from pathlib import Path

from pytest_maxact.errors import InputError, setting
from pytest_maxact.settings.userfiles import kind_of

_DEPTH, _ENTRIES, _NAMED = 3, 2000, 3
_PICKLES = (".bin", ".pt", ".pth", ".ckpt")
_TRAINING = {
    "*.distcp": "shards of torch.distributed.checkpoint",
    "zero_to_fp32.py": "a state of DeepSpeed",
    "mp_rank_*": "a state of Megatron or DeepSpeed",
    "consolidated*.pth": "weights in the form of Meta",
    "consolidated*.safetensors": "weights in the form of Mistral or Meta",
}
_NUMBER = re.compile(r"\d+")


def of_adapters(folder: Path) -> str:
    """Why a folder is no model where it holds adapters, alone or beside weights that they would change; "" where it
    holds none.
    """
    if not (folder / "adapter_config.json").is_file():
        return ""
    return (
        "it holds adapters (adapter_config.json)\n"
        "  merge them into their base model and save that, as with PeftModel.merge_and_unload() and save_pretrained, "
        "and give that folder"
    )


def no_folder(path: Path, weights: bool) -> InputError:
    """The error for a file where a model's folder is wanted; without `weights` a config.json would do."""
    home = path.parent
    if not path.is_file():
        kind = kind_of(path) or "gone"
        return InputError(f"{path} is {kind}, and no model\n  give the folder that holds config.json and the weights")
    if is_gguf(path):
        return InputError(
            f"{path} is a GGUF file of llama.cpp by another name\n  give it the ending .gguf, by which files are told"
        )
    if (home / "config.json").is_file():
        return InputError(f"{path} is a file of a model\n  give its folder: {home}")
    if path.suffix == ".safetensors":
        return InputError(
            f"{path} is a safetensors file with no config.json beside it\n"
            f"  give the folder of a checkpoint; a Record is judged, not measured ({setting('replay')})"
        )
    if path.suffix in _PICKLES:
        return InputError(
            f"{path} is a file of pickled weights; pickles can run code and are not loaded\n"
            "  give a folder written by save_pretrained, with config.json and *.safetensors"
        )
    return InputError(
        f"{path} is a file\n  give the folder that holds config.json and the weights"
        + ("" if weights else ", or the config.json itself")
    )


def no_model(folder: Path) -> InputError:
    """The error for a folder without a config.json: what it holds, and the models that lie inside."""
    head = f"{folder} is not a model directory: it has no config.json"
    if inside := list(islice(_models_in(folder), _ENTRIES)):
        names = [model.relative_to(folder).as_posix() for model in _in_order(inside)]
        listed = ", ".join(names) if len(names) <= _NAMED else f"{names[0]}, ... {names[-1]} ({len(names)} of them)"
        series = f", or all of them as a series: '{found}'" if (found := _pattern(inside)) else ""
        return InputError(f"{head}; models lie inside: {listed}\n  give one: {folder / names[-1]}{series}")
    for pattern, what in _TRAINING.items():
        if next(folder.rglob(pattern), None):
            return InputError(
                f"{head}; it holds {what}\n  convert it: load it with what wrote it, and save_pretrained(FOLDER)"
            )
    if weights := sorted(folder.glob("*.safetensors")):
        return InputError(f"{head} beside {weights[0].name}\n  copy or download the rest of the checkpoint too")
    return InputError(f"{head}\n  give a folder written by save_pretrained, or a hub id")


def is_gguf(path: Path) -> bool:
    """Whether a file is one of llama.cpp, by its first bytes or its name."""
    try:
        with path.open("rb") as file:
            return file.read(4) == b"GGUF" or path.suffix.lower() == ".gguf"
    except OSError:
        return path.suffix.lower() == ".gguf"


def _models_in(folder: Path, depth: int = _DEPTH) -> Iterator[Path]:
    try:
        inside = sorted(islice((entry for entry in folder.iterdir() if entry.is_dir()), _ENTRIES))
    except OSError:
        return
    for entry in inside:
        if (entry / "config.json").is_file():
            yield entry
        elif depth > 1:
            yield from _models_in(entry, depth - 1)


def _in_order(models: Iterable[Path]) -> list[Path]:
    """By the numbers in their names, as steps count."""
    return sorted(models, key=lambda path: [(int(n) if n.isdecimal() else 0, n) for n in _parts(str(path))])


def _parts(name: str) -> list[str]:
    return re.split(r"(\d+)", name)


def _pattern(models: list[Path]) -> str:
    """A pattern that matches these models and nothing else; empty where there is none."""
    homes = {model.parent for model in models}
    if len(models) < 2 or len(homes) > 1:
        return ""
    starts = {_NUMBER.split(model.name, maxsplit=1)[0] for model in models}
    (home,) = homes
    for start in (*starts, "") if len(starts) == 1 else ("",):
        pattern = f"{escape(str(home))}/{start}*"
        if sorted(glob(pattern)) == sorted(map(str, models)):
            return pattern
    return ""
