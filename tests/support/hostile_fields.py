"""Records of which a field, whichever it is, holds hostile texts: a field that is new is tried by being there."""

import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from pytest_maxact.errors import InputError
from pytest_maxact.record.file import load
from tests.support.doctored import Document, doctored, document_in
from tests.support.hostile import NAMES

MIXED = "\n".join(text for name, text in NAMES.items() if name not in ("surrogate", "long"))
"""All in one: every one of them begins a line."""
_OF_THE_MEASURED = re.compile(r"s?\d+|.*\W.*", re.DOTALL)
"""Keys that are names of samples, positions and sites."""
Field = tuple[str, ...]
_CHOOSING: list[Field] = [("provenance", "protocol"), ("provenance", "model_type"), ("provenance", "family")]
"""By what is not known of these, no limits are chosen and nothing is judged."""


def fields_of(source: Path) -> list[Field]:
    """Where a Record holds texts."""
    return sorted({field for field, _ in _texts(_unsealed(source))})


def with_texts(source: Path, target: Path, fields: list[Field]) -> Path:
    """A Record whose texts in these fields are hostile ones, each its own, wherever else they stand."""
    document = _unsealed(source)
    texts = sorted({text for field, text in _texts(document) if field in fields})
    return doctored(source, target, _swapped(document, {text: f"{text}{MIXED}{i}" for i, text in enumerate(texts)}))


def all_hostile(source: Path, folder: Path) -> Path:
    """One with hostile texts in every field that takes any, so that it can still be judged."""
    taking = []
    for field in fields_of(source):
        if field in _CHOOSING:
            continue
        with suppress(InputError):
            load(with_texts(source, folder / "one.safetensors", [field]))
            taking.append(field)
    return with_texts(source, folder / "all.safetensors", taking)


def _unsealed(source: Path) -> Document:
    return {key: value for key, value in document_in(source).items() if key != "sha256"}


def _texts(value: Any, at: Field = ()) -> Iterator[tuple[Field, str]]:
    """Every text below a value, by the fields that lead to it; a key that is a name of the measured stands for all."""
    if isinstance(value, dict):
        named = any(_OF_THE_MEASURED.fullmatch(key) for key in value)
        for key, below in value.items():
            yield from _texts(below, (*at, "{}" if named else key))
    elif isinstance(value, list):
        for index, below in enumerate(value):
            yield from _texts(below, (*at, str(index) if at[-1:] == ("*",) else "*"))
    elif isinstance(value, str) and value:
        yield at, value


def _swapped(value: Any, by: dict[str, str]) -> Any:
    if isinstance(value, dict):
        return {by.get(key, key): _swapped(below, by) for key, below in value.items()}
    if isinstance(value, list):
        return [_swapped(below, by) for below in value]
    return by.get(value, value) if isinstance(value, str) else value
