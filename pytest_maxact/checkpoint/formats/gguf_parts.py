"""A GGUF file that was split: one of its parts in, all of them out, in order; and a context in which transformers reads
them as the one file that it knows.

Guard: a model lacks no part. Every part must say that it is of as many as the names say, and hold no tensor twice.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from pytest_maxact.checkpoint.formats.gguf_quick import read_quickly
from pytest_maxact.errors import InputError

_PART = re.compile(r"^(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})(?P<suffix>\.gguf)$", re.IGNORECASE)


def family(name: str) -> tuple[str, ...]:
    """The names of all parts of a file, by the name of one; the name alone where it is not that of a part."""
    found = _PART.match(name)
    if found is None:
        return (name,)
    count = found["count"]
    return tuple(
        f"{found['stem']}-{number:05}-of-{count}{found['suffix']}" for number in range(1, int(count) + 1)
    ) or (name,)  # fmt: skip


def whole_ones(names: Sequence[str]) -> list[str]:
    """Of names of GGUF files, one for every file, split or not: its first part."""
    return sorted({family(name)[0] for name in names})


def all_parts(file: Path) -> tuple[Path, ...]:
    """The parts of a file, by any of them. Raises InputError that names the one that is not there."""
    parts = tuple(file.with_name(name) for name in family(file.name))
    if missing := [part.name for part in parts if not part.is_file()]:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise InputError(
            f"{file} is one of {len(parts)} parts of a GGUF file, and {missing[0]}{more} does not lie beside it\n"
            "  finish the download or copy"
        )
    return parts


def refuse_unlike(parts: Sequence[tuple[Path, int, int, Sequence[str]]]) -> None:
    """Raise InputError for parts that are not one file: of each its path, its number (from 0), the number of parts that
    it says there are, and its tensors.
    """
    for place, (file, number, count, _) in enumerate(parts):
        if count != len(parts):
            named = f"its name says {len(parts)}" if len(parts) > 1 else "its name does not say so"
            raise InputError(
                f"{file} is one of {count} parts of a GGUF file, and {named}\n"
                f"  name them NAME-00001-of-{count:05}.gguf and so on, or put them together: llama-gguf-split --merge"
            )
        if number != place:
            raise InputError(
                f"{file} says that it is part {number + 1} of {count}\n  give every part the name that it was given"
            )
    twice = Counter(name for _, _, _, names in parts for name in names)
    if repeated := [name for name, count in twice.items() if count > 1]:
        raise InputError(
            f"{parts[0][0]}: {repeated[0]} lies in several of its parts\n  the parts are of two exports; download again"
        )


@contextmanager
def read_as_one(parts: Sequence[Path]) -> Iterator[None]:
    """While open, whatever transformers reads of the first of several parts is of all of them; of one file it reads
    what it does, and faster.
    """
    with read_quickly(), ExitStack() as stack:
        if len(parts) < 2:
            yield
            return
        import gguf
        from transformers.integrations import gguf as ours
        from transformers.integrations.gguf import reader
        from transformers.quantizers import quantizer_gguf

        joined = _Joined(parts, gguf.GGUFReader, reader)
        for owner, name, instead in (
            (gguf, "GGUFReader", joined.opened),
            (ours, "read_gguf_metadata", joined.metadata),
            (quantizer_gguf, "read_gguf_metadata", joined.metadata),
            (quantizer_gguf, "GgufHeader", joined),
            (quantizer_gguf, "load_gguf_state_dict", joined.tensors),
        ):
            stack.enter_context(patch.object(owner, name, instead))
        yield


class _Joined:
    """What transformers reads GGUF files with, as functions of the first of several parts that answer for all. The
    others have no metadata, so they are opened by the package gguf alone.
    """

    def __init__(self, parts: Sequence[Path], opened: Any, reader: Any) -> None:
        self._first, self._opened, self._reader = parts[0], opened, reader
        self._metadata = reader.read_gguf_metadata
        self._more = [tensor for part in parts[1:] for tensor in opened(part).tensors]

    def opened(self, file: Any, *rest: Any) -> Any:
        """In the place of `gguf.GGUFReader`."""
        found = self._opened(file, *rest)
        if self._is_first(file):
            found.tensors = [*found.tensors, *self._more]
        return found

    def metadata(self, file: Any, *rest: Any, **options: Any) -> Any:
        """In the place of `read_gguf_metadata`."""
        found, names = self._metadata(file, *rest, **options)
        return found, (*names, *(tensor.name for tensor in self._more)) if self._is_first(file) else names

    def from_file(self, file: str) -> Any:
        """In the place of `GgufHeader.from_file`. Tensors of other parts have no offset in this one."""
        header = self._reader.GgufHeader.from_file(file)
        more = [
            self._reader.TensorInfo(tensor.name, _shape(tensor), int(tensor.tensor_type), -1, int(tensor.n_bytes))
            for tensor in self._more
        ]
        return header._replace(tensors=(*header.tensors, *more))

    def tensors(self, header: Any) -> Any:
        """In the place of `load_gguf_state_dict`."""
        here = header._replace(tensors=tuple(info for info in header.tensors if info.offset >= 0))
        found = self._reader.load_gguf_state_dict(here)
        plain = self._reader._TORCH_DTYPE
        for tensor in self._more:
            raw, kind = tensor.data.view(np.uint8), int(tensor.tensor_type)
            shape = _shape(tensor) if kind in plain else raw.shape
            found[tensor.name] = self._reader.LazyGgufTensor(raw.reshape(-1), kind, shape)
        return found

    def _is_first(self, file: Any) -> bool:
        return Path(file).resolve() == self._first.resolve()


def _shape(tensor: Any) -> tuple[int, ...]:
    return tuple(int(side) for side in reversed(tensor.shape))
