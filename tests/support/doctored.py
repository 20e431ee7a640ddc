"""Records whose headers somebody changed, with a checksum computed anew: a document in, a file that says so out."""

import copy
import json
import random
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

from safetensors.numpy import load_file, save

from pytest_maxact.record.file import checksum

Document = dict[str, Any]
ODD = (
    None,
    True,
    False,
    "",
    "x",
    "nan",
    -1,
    0,
    1,
    3.5,
    -0.0,
    1e308,
    10**12,
    10**40,
    [],
    {},
    [[]],
    {"a": []},
    "\x1b[31m",
)
"""What no field, or hardly one, may hold."""


def document_in(path: Path) -> Document:
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    document: Document = json.loads(json.loads(content[8 : 8 + length])["__metadata__"]["maxact"])
    return document


def doctored(source: Path, target: Path, document: Document) -> Path:
    """The Record at `source` with another document, and a checksum that fits."""
    tensors = load_file(source)
    document = {key: value for key, value in document.items() if key != "sha256"}
    try:
        document["sha256"] = checksum(document, tensors)
    except ValueError:  # a NaN, of which there is no checksum
        document["sha256"] = "0" * 64
    target.write_bytes(save(tensors, metadata={"maxact": json.dumps(document)}))
    return target


def changed(source: Path, target: Path, change: Callable[[Document], object]) -> Path:
    document = document_in(source)
    change(document)
    return doctored(source, target, document)


def mutated(document: Document, rng: random.Random) -> tuple[Document, str]:
    """The document after one random change, and what that was."""
    document = copy.deepcopy(document)
    parent, key = _somewhere(document, rng)
    kind = rng.choice(("delete", "retype", "repeat", "renumber", "rename"))
    old = parent[key]
    if kind == "delete":
        del parent[key]
    elif kind == "repeat" and isinstance(parent, list):
        parent.insert(key, copy.deepcopy(old))
    elif kind in ("repeat", "rename") and isinstance(parent, dict):
        parent[f"{key}x"] = parent[key] if kind == "repeat" else parent.pop(key)
    elif kind == "renumber" and isinstance(old, int | float) and not isinstance(old, bool):
        parent[key] = rng.choice((old + 1, -old, old * 2, old * 10**15, old / 2, float("nan"), float("inf")))
    else:
        parent[key] = rng.choice(ODD)
    return document, f"{kind} {key} = {str(old)[:60]!r}"


def _somewhere(document: Document, rng: random.Random) -> tuple[Any, Any]:
    """A container and a key of it, of all that there are; the top as often as all lists of figures below it."""
    places: list[tuple[Any, Any]] = []
    queue: list[Any] = [document]
    while queue:
        parent = queue.pop()
        keys = sorted(parent) if isinstance(parent, dict) else list(range(len(parent)))
        places += [(parent, key) for key in keys]
        queue += [parent[key] for key in keys if isinstance(parent[key], dict | list)]
    return rng.choice(places) if rng.random() < 0.9 else (document, rng.choice(sorted(document)))
