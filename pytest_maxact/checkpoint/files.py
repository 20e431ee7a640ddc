"""Which files are the model: a folder in, the files that loading it reads tensors from out, each whole, and what lies
beside them.

This is the one answer to that question: what is loaded, hashed, cached, scanned and quantized is `WeightFiles.loaded`.
A folder with two sets of weights has no answer, unless one is chosen.
"""

import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from pytest_maxact.checkpoint.beside import others_of, refuse_rivals
from pytest_maxact.checkpoint.formats.gguf import SUFFIX, contents, packing_of_gguf
from pytest_maxact.checkpoint.formats.gguf_parts import all_parts
from pytest_maxact.checkpoint.formats.packed import Packing
from pytest_maxact.checkpoint.headers import Header, headers_of
from pytest_maxact.errors import InputError, setting
from pytest_maxact.settings.userfiles import refuse_mark, refuse_unreadable

SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"
_DISTRIBUTED = re.compile(r"^shard-\d{5}-model-\d{5}-of-\d{5}\.safetensors$")
_COPY_AGAIN = "  copy or download it again"


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightFiles:
    """What of a folder is loaded. `entry`: the single file, or the index, that says so, by its path in the folder.

    `loaded`: the files that tensors are read from, every one of them to its end. `beside`: names of weights that lie
    there and are not loaded.
    """

    folder: Path
    entry: str
    loaded: tuple[Path, ...]
    beside: tuple[str, ...] = ()
    packing: Packing | None = None
    """How weights in low bits lie in them; None where all lie as they are loaded."""

    @property
    def index(self) -> Path | None:
        """The index that names the files, None where there is a single one."""
        return self.folder / self.entry if self.entry.endswith(".json") else None

    @property
    def is_gguf(self) -> bool:
        """Whether it is a GGUF file, or several parts of one, whose names of tensors are llama.cpp's."""
        return self.entry.lower().endswith(SUFFIX)

    @property
    def read(self) -> tuple[Path, ...]:
        """All that decides which tensors the model has: the loaded files and their index."""
        return (*self.loaded, *([self.index] if self.index else []))

    def name(self, file: Path) -> str:
        """A file by its path in the folder."""
        return file.relative_to(self.folder).as_posix()

    def headers(self) -> list[tuple[Path, Header]]:
        """Every tensor of the loaded files, in their order. Raises InputError for a file that is not whole."""
        if self.is_gguf:
            return [(file, header) for file in self.loaded for header in contents(file).headers]
        return [(file, header) for file in self.loaded for header in _headers(file)]


def gguf_files(file: Path) -> WeightFiles:
    """A GGUF file, or all parts of one by any of them, as the weights of a model. Raises InputError for one that is not
    whole.
    """
    parts = all_parts(file)
    return WeightFiles(folder=file.parent, entry=parts[0].name, loaded=parts, packing=packing_of_gguf(parts))


def weight_files(
    folder: Path, *, chosen: str | None = None, stated: str | None = None, extra: Iterable[str] = (), hub: bool = False
) -> WeightFiles:
    """The files of a checkpoint, as transformers picks them: the one that is `chosen`, else the one that its config
    states, else `model.safetensors`, else those of `model.safetensors.index.json`; `extra` where they are there.

    Raises InputError for pickle-only weights, no weights, a missing shard, a file that is corrupt or truncated, an
    index that does not fit its files, a tensor in two files, and for a second set of weights beside these, unless one
    was chosen. Of a `hub` snapshot pickles are not looked at: they are not downloaded.
    """
    entry = _entry(folder, chosen, stated)
    _refuse_distributed(folder, entry)
    weight_map = _weight_map(folder / entry) if entry.endswith(".json") else None
    names = sorted(set(weight_map.values())) if weight_map is not None else [entry]
    _refuse_missing(folder, names)
    loaded = tuple(folder / name for name in (*names, *(one for one in extra if (folder / one).is_file())))
    files = WeightFiles(folder=folder, entry=entry, loaded=loaded)
    held = files.headers()
    _refuse_twice(held)
    if weight_map is not None:
        _refuse_misplaced(files, weight_map, held)
    beside = others_of(folder, {file.name for file in files.read if file.parent == folder})
    if chosen is None:
        rivals = [name for name in beside if not (name == INDEX and _names_only(folder, entry))]
        refuse_rivals(folder, entry, rivals, {header.key for _, header in held}, pickles=not hub)
    return replace(files, beside=beside)


def _names_only(folder: Path, entry: str) -> bool:
    """Whether the index beside a single file names that file alone. Raises InputError for one whose files are not
    there: a download that broke off.
    """
    names = set(_weight_map(folder / INDEX).values())
    _refuse_missing(folder, names)
    return names == {entry}


def _refuse_missing(folder: Path, names: Iterable[str]) -> None:
    missing = sorted(name for name in names if not (folder / name).is_file())
    if missing:
        raise InputError(
            f"{folder} lacks {len(missing)} of its weight files, the first {missing[0]}\n  finish the download or copy"
        )


def _refuse_distributed(folder: Path, entry: str) -> None:
    """Raise InputError for parts of a distributed save, which transformers prefers to everything else."""
    if found := next((file.name for file in sorted(folder.iterdir()) if _DISTRIBUTED.match(file.name)), None):
        raise InputError(
            f"{folder} holds {found}, a part of a model that was saved distributed, which transformers would load in "
            f"place of {entry}\n"
            "  gather it into one checkpoint: load it with transformers, and save_pretrained(FOLDER)"
        )


def _entry(folder: Path, chosen: str | None, stated: str | None) -> str:
    """The single file or the index that decides, by its path in the folder. Raises InputError where there is none."""
    if named := chosen or stated:
        where = setting("weights") if chosen else f"{folder / 'config.json'}: transformers_weights"
        return _named(folder, named, where)
    if (folder / SINGLE).is_file():
        return SINGLE
    if (folder / INDEX).is_file():
        return INDEX
    others = others_of(folder, set())
    if safetensors := [name for name in others if name.endswith(".safetensors")]:
        raise InputError(
            f"{folder} has neither {SINGLE} nor {INDEX}, so none of its {len(safetensors)} weight files, from "
            f"{safetensors[0]}, would be loaded\n"
            f"  restore the index, or name the file with {setting('weights')}"
        )
    if pickles := [name for name in others if PurePosixPath(name).suffix in (".bin", ".pt", ".pth", ".ckpt")]:
        raise InputError(
            f"{folder} holds pickled weights only ({pickles[0]}); pickles can run code and are not loaded\n"
            "  convert them to safetensors: save_pretrained(FOLDER, safe_serialization=True)"
        )
    raise InputError(
        f"{folder} has a config but no weights (*.safetensors)\n"
        f"  point {setting('model')} at the checkpoint itself, or name a GGUF file of it with {setting('weights')}"
    )


def _named(folder: Path, name: object, where: str) -> str:
    """A file that was named, by its path in the folder. Raises InputError for one that transformers would not load
    from there.
    """
    path = Path(name) if isinstance(name, str) else None
    if path is not None and path.is_absolute():
        place, home = Path(os.path.realpath(path.parent)) / path.name, os.path.realpath(folder)
        path = place.relative_to(home) if place.is_relative_to(home) else path
    if path is None or path.is_absolute() or ".." in path.parts:
        raise InputError(f"{where} {name}: not a file inside {folder}\n  name one by its path in that folder")
    if not path.name.endswith((".safetensors", ".safetensors.index.json")):
        raise InputError(
            f"{where} {name}: neither a *.safetensors file nor an index *.safetensors.index.json\n"
            f"  weights are loaded from safetensors only; name one of them with {setting('weights')}"
        )
    if not (folder / path).is_file():
        raise InputError(f"{where} {name}: there is no such file in {folder}\n  restore it, or name one that is there")
    return path.as_posix()


def _weight_map(index: Path) -> Mapping[str, str]:
    """Tensors and their files, as an index has them. Raises InputError for one that is no index."""
    try:
        content = json.loads(index.read_text(encoding="utf-8"))
        found = content["weight_map"]
        if not isinstance(content.setdefault("metadata", {}), dict):
            raise TypeError("its metadata is no object")
        if not isinstance(found, dict) or not found:
            raise TypeError("its weight_map is empty, or no object")
        for key, name in found.items():
            if not isinstance(name, str):
                raise TypeError(f"{key} lies in {name!r}, which is no file name")
        for name in set(found.values()):
            path = PurePosixPath(name)
            if path.is_absolute() or ".." in path.parts or path.suffix != ".safetensors":
                raise ValueError(f"it names {name}, which is no *.safetensors file of this folder")
        return {str(key): name for key, name in found.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        refuse_unreadable(index)
        refuse_mark(index)
        raise InputError(f"{index}: not a weight index ({error})\n  restore the file from the checkpoint") from error


def _refuse_twice(held: Sequence[tuple[Path, Header]]) -> None:
    """Raise InputError for a tensor that two of the files hold: which of them is the model's depends on the loader."""
    repeated = [key for key, count in Counter(header.key for _, header in held).items() if count > 1]
    if repeated:
        first, second = [file for file, header in held if header.key == repeated[0]][:2]
        raise InputError(
            f"{first} and {second.name} both hold {repeated[0]}, and {len(repeated) - 1} more lie in two files\n"
            "  files of two exports are mixed; export the checkpoint again"
        )


def _refuse_misplaced(files: WeightFiles, weight_map: Mapping[str, str], held: Iterable[tuple[Path, Header]]) -> None:
    """Raise InputError where an index places tensors where they are not."""
    names = {file: files.name(file) for file in files.loaded}
    places = {header.key: names[file] for file, header in held}
    wrong = [key for key, name in weight_map.items() if places.get(key) != name]
    if wrong:
        raise InputError(
            f"{files.index}: {len(wrong)} of its tensors do not lie where it says, the first {wrong[0]} in "
            f"{weight_map[wrong[0]]}\n"
            "  the index and the weight files are of two exports; export the checkpoint again"
        )


def _headers(shard: Path) -> list[Header]:
    try:
        return headers_of(shard)
    except ValueError as error:
        refuse_unreadable(shard)
        raise InputError(f"{shard} is corrupt or truncated: {error}\n{_COPY_AGAIN}") from error
