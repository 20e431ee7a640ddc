"""The tensors of weight files as a source in 16 bits would hold them: those in low bits are given back one by one, when
they are asked for, and nothing is kept.
"""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from pytest_maxact.checkpoint.files import WeightFiles
from pytest_maxact.checkpoint.formats.packed import Packed
from pytest_maxact.errors import MeasureError, first_line


class Restored:
    """One tensor of a file, read by `[...]` as a slice of safetensors is: so transformers reads tensors that it is
    given, one after the other.
    """

    def __init__(self, packed: Packed, opened: Mapping[Path, Any]) -> None:
        self._packed, self._opened = packed, opened

    def __getitem__(self, place: Any) -> torch.Tensor:
        found = restored(self._packed, self._opened)
        return found if place is Ellipsis else found[place]

    def get_shape(self) -> list[int]:
        return list(self._packed.shape)


def restored(packed: Packed, opened: Mapping[Path, Any]) -> torch.Tensor:
    """A weight out of the parts that the files hold. Raises MeasureError where they do not make one of its shape."""
    try:
        parts = {name: opened[part.file].get_tensor(part.header.key) for name, part in packed.parts.items()}
        found: torch.Tensor = packed.restore(parts)
    except Exception as error:
        raise MeasureError(
            f"{packed.file}: {packed.key} cannot be given back in 16 bits ({first_line(error)})\n"
            "  see that its scales are of the shape that its format has; export the checkpoint again"
        ) from error
    if tuple(found.shape) != packed.shape:
        raise MeasureError(
            f"{packed.file}: {packed.key} is {list(found.shape)} once it is given back, and its parts are of "
            f"{list(packed.shape)}\n  export the checkpoint again"
        )
    return found


@contextmanager
def tensors_of(files: WeightFiles) -> Iterator[dict[str, Any]]:
    """Every tensor by the name that the source has for it, read by `[...]` while this is open."""
    with ExitStack() as stack:
        try:
            opened = {file: stack.enter_context(safe_open(file, framework="pt")) for file in files.loaded}
        except (SafetensorError, OSError) as error:
            raise MeasureError(
                f"{files.folder}: cannot be read: {first_line(error)}\n  copy or download it again"
            ) from error
        packing = files.packing
        used = packing.used if packing else set()
        found: dict[str, Any] = {
            header.key: opened[file].get_slice(header.key) for file, header in files.headers() if header.key not in used
        }
        found |= {key: Restored(one, opened) for key, one in (packing.packed if packing else {}).items()}
        yield found


def beside_of(files: WeightFiles) -> dict[str, torch.Tensor]:
    """What lies beside weights in low bits and is none, by name: scales of activations and of the cache."""
    beside = files.packing.beside if files.packing else {}
    found: dict[str, torch.Tensor] = {}
    for place in sorted({part.file for part in beside.values()}):
        with safe_open(place, framework="pt") as opened:
            found |= {key: opened.get_tensor(key) for key, part in beside.items() if part.file == place}
    return found
