"""A bookmark: what a measurement that is not complete has gathered, in one safetensors file, so that another process
goes on from there. No torch beyond its tensors.

It is written whole or not at all, and says what it is of (`key`) and a digest of all it holds: one that is damaged,
foreign, or of a measurement that differs in anything that decides figures is never gone on from.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from pytest_maxact.measure.observe.reduction import Entry, How, State

_META = "maxact_bookmark"
FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One pass of a measurement: what was gathered, and which of its batches are left, as plain data."""

    state: State
    left: Mapping[str, Any]


class UnusableError(Exception):
    """Why a bookmark is not gone on from."""


def write(path: Path, key: str, stages: Mapping[str, Stage]) -> None:
    """Put a bookmark in place, by way of a file beside it that is renamed when all of it is on the disk. Raises
    OSError.
    """
    from safetensors.torch import save_file

    tensors: dict[str, torch.Tensor] = {}
    plain: dict[str, Any] = {}
    for number, (name, stage) in enumerate(stages.items()):
        entries: list[Any] = []
        for entry, held in stage.state.items():
            is_tensor = isinstance(held.value, torch.Tensor)
            if is_tensor:
                tensors[f"{number}/{entry}"] = held.value.detach().cpu().contiguous()
            entries.append([entry, held.how.value, None if is_tensor else held.value])
        plain[name] = {"entries": entries, "left": stage.left}
    tensors = _apart(tensors)
    said = json.dumps({"format": FORMAT, "key": key, "stages": plain})
    metadata = {_META: json.dumps({"said": said, "sha256": _digest(said, tensors)})}
    # safetensors writes by way of a file of its own in the same folder, which a kill would leave in the user's
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    try:
        save_file(tensors, partial / "whole", metadata)
        with (partial / "whole").open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(partial / "whole", path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def read(path: Path, key: str) -> dict[str, Stage]:
    """The stages of a bookmark. Raises UnusableError, with the reason, for one that is damaged or of something else,
    and FileNotFoundError where there is none.
    """
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise FileNotFoundError(path)
    try:
        with safe_open(path, framework="pt") as file:
            outer = json.loads((file.metadata() or {}).get(_META, "null"))
            if not isinstance(outer, dict):
                raise UnusableError("it is no bookmark of pytest-maxact")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if _digest(outer["said"], tensors) != outer["sha256"]:
            raise UnusableError("it is damaged")
        told = json.loads(outer["said"])
        if told["format"] != FORMAT:
            raise UnusableError("another version wrote it")
        if told["key"] != key:
            raise UnusableError("it is of another measurement")
        return {
            name: Stage(
                left=stage["left"],
                state={
                    entry: Entry(tensors.get(f"{number}/{entry}", value), How(how))
                    for entry, how, value in stage["entries"]
                },
            )
            for number, (name, stage) in enumerate(told["stages"].items())
        }
    except (SafetensorError, OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UnusableError("it is damaged") from error


def _apart(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Tensors of which no two share memory, which safetensors refuses: two passes may hold one and the same."""
    seen = set[int]()
    found: dict[str, torch.Tensor] = {}
    for name, tensor in tensors.items():
        place = tensor.untyped_storage().data_ptr()
        found[name] = tensor.clone() if place in seen else tensor
        seen.add(place)
    return found


def _digest(said: str, tensors: Mapping[str, torch.Tensor]) -> str:
    state = hashlib.sha256(said.encode())
    for name in sorted(tensors):
        tensor = tensors[name].reshape(-1)
        state.update(f"{name}:{tensor.dtype}:{tuple(tensors[name].shape)}".encode())
        state.update(tensor.view(torch.uint8).numpy().data)
    return state.hexdigest()
