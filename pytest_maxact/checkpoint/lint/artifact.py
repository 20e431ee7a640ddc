"""A path to what lies there: config, side files and the header of every tensor out, whatever state they are in.

Guards that a checkpoint which cannot be loaded can still be looked at: what is wrong with its files is a finding, and
only a path at which there is no checkpoint at all is refused.
"""

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pytest_maxact.checkpoint.files import INDEX, SINGLE, WeightFiles
from pytest_maxact.checkpoint.headers import Header, headers_of
from pytest_maxact.checkpoint.lint.names import expert_of, layer_of
from pytest_maxact.checkpoint.lint.values import Values
from pytest_maxact.errors import InputError, first_line
from pytest_maxact.numbers.counted import counted
from pytest_maxact.numbers.lint import LintFault
from pytest_maxact.settings.userfiles import text_of

_BESIDE = ("hf_quant_config.json", "quantize_config.json", "quant_config.json")
_SHARD = re.compile(r"^(?P<stem>.*)-(?P<number>\d{5})-of-(?P<count>\d{5})\.safetensors$")
_NO_INDEX = "it has no weight_map, so it is no index"
_NOT_THE_MODEL = re.compile(r"^(?:consolidated|adapter_|optimizer|rng_state|training_)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """What lies at a path: `config` and what quantizers wrote `beside` it, by file; every tensor by name, and the file
    that holds it; what is wrong with the files already.

    `alone`: the one shard that is meant, empty for all of them; `partly`: others of its set are not there, so that what
    a module lacks may lie in these.
    """

    folder: Path
    config: Mapping[str, Any]
    beside: Mapping[str, Mapping[str, Any]]
    headers: Mapping[str, Header]
    places: Mapping[str, Path]
    faults: Sequence[LintFault] = field(default_factory=tuple)
    alone: str = ""
    partly: bool = False

    @property
    def text_config(self) -> Mapping[str, Any]:
        """The part of the config that is of the language model."""
        inner = next((self.config[key] for key in ("text_config", "llm_config") if key in self.config), None)
        return {**self.config, **inner} if isinstance(inner, Mapping) else self.config

    def values(self) -> Values:
        return Values(lambda header: self.places[header.key])


def fault(code: str, tensor: str, what: str) -> LintFault:
    return LintFault(code=code, tensor=tensor, what=what, layer=layer_of(tensor), expert=expert_of(tensor))


def artifact(path: Path) -> Artifact:
    """A folder, or a single `*.safetensors` file. Raises InputError where there is no checkpoint."""
    faults: list[LintFault] = []
    weight_map: Mapping[str, Any] | None = None
    if path.is_file() and _SHARD.match(path.name):
        return _shard(path)
    if path.is_file() and path.suffix == ".safetensors":
        folder, files = path.parent, [path]
    elif path.is_dir():
        folder = path
        files, weight_map, faults = _files(folder)
    else:
        raise InputError(
            f"{path}: neither a folder nor a *.safetensors or *.gguf file\n  give the checkpoint that is to be shipped"
        )
    held: list[tuple[Path, Header]] = []
    for file in files:
        try:
            held += [(file, header) for header in headers_of(file)]
        except ValueError as error:
            faults.append(fault("file", file.name, f"it is cut off or damaged: {first_line(error)}"))
    faults += _twice(held)
    if weight_map is not None:
        faults += _against_index(folder, weight_map, held)
    return _artifact(folder, held, faults)


def _shard(path: Path) -> Artifact:
    """One shard of several, seen with what the others of its set hold, as far as these are there; of one, all of it."""
    found = _SHARD.match(path.name)
    assert found is not None
    count, stem = int(found["count"]), found["stem"]
    names = [f"{stem}-{number:05d}-of-{found['count']}.safetensors" for number in range(1, count + 1)]
    held: list[tuple[Path, Header]] = []
    faults, unread = [], []
    for file in (path.parent / name for name in names):
        try:
            held += [(file, header) for header in headers_of(file)]
        except (ValueError, OSError) as error:
            unread.append(file.name)
            if file.name == path.name:
                faults.append(fault("file", file.name, f"it is cut off or damaged: {first_line(error)}"))
    others = [name for name in unread if name != path.name]
    if others:
        beside = f"{counted(len(others), 'file')} of {count} cannot be read, {others[0]} first"
        faults.append(fault("apart", path.name, f"{beside}: what its modules lack may lie there"))
    whole = _artifact(path.parent, held, [*faults, *_of_one(path, held, whole=not others)])
    return replace(whole, alone=path.name if count > 1 else "", partly=bool(unread))


def _of_one(path: Path, held: Sequence[tuple[Path, Header]], *, whole: bool) -> Iterator[LintFault]:
    """What the index says of one shard, and tensors that it holds and another too. Of a set that is not `whole` the
    size of all tensors tells nothing.
    """
    index = _json(path.parent / INDEX)
    weight_map = index.get("weight_map")
    own = {header.key for file, header in held if file.name == path.name}
    if isinstance(weight_map, Mapping):
        own |= {key for key, name in weight_map.items() if name == path.name}
        for one in _against_index(path.parent, index, held):
            if one.tensor in own or (one.code == "total_size" and whole):
                yield one
    elif (path.parent / INDEX).is_file():
        yield fault("index", INDEX, _NO_INDEX)
    yield from (one for one in _twice(held) if one.tensor in own)


def artifact_of(files: WeightFiles) -> Artifact:
    """Of the files that are loaded, which were found to be whole."""
    if len(files.loaded) == 1 and _SHARD.match(files.loaded[0].name):
        return _shard(files.loaded[0])
    held = files.headers()
    index = _json(files.index) if files.index else {}
    faults = _against_index(files.folder, index, held) if isinstance(index.get("weight_map"), Mapping) else ()
    return _artifact(files.folder, held, list(faults))


def said_in(folder: Path) -> Artifact:
    """What config and side files say, of a folder whose weights are not looked at."""
    return _artifact(folder, (), ())


def _artifact(folder: Path, held: Sequence[tuple[Path, Header]], faults: Sequence[LintFault]) -> Artifact:
    read = ("config.json", *_BESIDE)
    damaged = [
        fault("file", name, "it is no JSON object, or cannot be read")
        for name in read
        if (folder / name).is_file() and not _json(folder / name)
    ]
    return Artifact(
        folder=folder,
        config=_json(folder / "config.json"),
        beside={name: found for name in _BESIDE if (found := _json(folder / name))},
        headers={header.key: header for _, header in held},
        places={header.key: file for file, header in held},
        faults=(*faults, *damaged),
    )


def _files(folder: Path) -> tuple[list[Path], Mapping[str, Any] | None, list[LintFault]]:
    """The weight files of a folder, its index if it has one, and what is wrong with the set."""
    there = {file.name: file for file in sorted(folder.glob("*.safetensors")) if not file.is_fifo()}
    if (folder / INDEX).is_file() and SINGLE not in there:
        index = _json(folder / INDEX)
        weight_map = index.get("weight_map")
        if not isinstance(weight_map, Mapping) or not all(isinstance(name, str) for name in weight_map.values()):
            return list(there.values()), None, [fault("index", INDEX, _NO_INDEX)]
        named = sorted(set(weight_map.values()))
        absent = [fault("file", name, "the index names it, and it is not there") for name in named if name not in there]
        stray = [name for name in there if name not in named and not _NOT_THE_MODEL.match(name)]
        return (
            [there[name] for name in named if name in there],
            index,
            [*absent, *(fault("stray", name, "the index does not name it") for name in stray)],
        )
    if SINGLE in there:
        stray = [name for name in there if name != SINGLE and not _NOT_THE_MODEL.match(name)]
        return [there[SINGLE]], None, [fault("stray", name, f"it lies beside {SINGLE}") for name in stray]
    if not there and (several := sorted(folder.glob("*.[gG][gG][uU][fF]"))):
        raise InputError(
            f"{folder} holds {counted(len(several), 'GGUF file')}\n  name the one that is to be shipped: {several[0]}"
        )
    if not there:
        raise InputError(
            f"{folder} holds no *.safetensors and no *.gguf file\n"
            "  give the folder of a checkpoint, or one of those files; pickled weights are not read"
        )
    return list(there.values()), None, list(_missing_shards(there))


def _missing_shards(names: Mapping[str, Path]) -> Iterator[LintFault]:
    """What the numbers in file names tell where no index does."""
    parts = [found for name in names if (found := _SHARD.match(name))]
    for stem in sorted({found["stem"] for found in parts}):
        own = [found for found in parts if found["stem"] == stem]
        count = int(own[0]["count"])
        present = {int(found["number"]) for found in own}
        lacking = [number for number in range(1, count + 1) if number not in present]
        for number in lacking[:8]:
            name = f"{stem}-{number:05d}-of-{count:05d}.safetensors"
            yield fault("file", name, f"it is not there, one of {counted(len(lacking), 'file')} missing of {count}")
        if not lacking and count > 1:
            yield fault("index", INDEX, f"there is none, for {counted(count, 'file')}: transformers cannot load them")


def _twice(held: Sequence[tuple[Path, Header]]) -> Iterator[LintFault]:
    first: dict[str, Path] = {}
    for file, header in held:
        if header.key in first:
            yield fault("index", header.key, f"{first[header.key].name} and {file.name} both hold it")
        first.setdefault(header.key, file)


def _against_index(
    folder: Path, index: Mapping[str, Any], held: Sequence[tuple[Path, Header]]
) -> Iterator[LintFault]:  # fmt: skip
    weight_map = index["weight_map"]
    places = {header.key: file.name for file, header in held}
    read = {file.name for file, _ in held}
    for key, name in weight_map.items():
        if places.get(key) != name and (name in read or not os.path.isfile(folder / name)):
            where = f"it lies in {places[key]}" if key in places else "no file holds it"
            yield fault("index", key, f"the index places it in {name}, and {where}")
    for _, header in held:
        if header.key not in weight_map:
            yield fault("index", header.key, f"{places[header.key]} holds it, and the index does not name it")
    metadata = index.get("metadata")
    total = metadata.get("total_size") if isinstance(metadata, Mapping) else None
    size = sum(header.stop - header.start for _, header in held)
    if isinstance(total, (int, float)) and total == total and total != size:
        yield fault("total_size", INDEX, f"total_size is {int(total)}, and the tensors have {counted(size, 'byte')}")


def _json(file: Path) -> Mapping[str, Any]:
    try:
        found = json.loads(text_of(file))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
