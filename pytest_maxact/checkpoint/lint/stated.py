"""What config.json and the files beside it say of quantization: how each module is meant to lie in the files.

Ignored modules are matched as each method matches them, and leniently where loaders differ: a name that one of them
would take for ignored is not held against a checkpoint.
"""

import fnmatch
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """How a module is said to be quantized: the `forms` in which it may lie, bits, `strategy` of its scales (tensor,
    channel, group, block, or empty where nothing is said), size of a group or block; whether it is symmetric, and has
    a static scale of inputs, of which `inputs` is the number format (empty where it is not known).
    """

    forms: tuple[str, ...]
    bits: int = 0
    strategy: str = ""
    group: int = 0
    block: tuple[int, int] = (0, 0)
    symmetric: bool | None = None
    static_inputs: bool = False
    inputs: str = ""
    signed: bool = False
    """Whether scales may lie below zero, as AutoRound's of symmetric weights do."""
    codes: str = ""
    """The dtype of codes in FP8, empty where none is said."""
    reordered: bool | None = None
    """Whether rows were taken in another order (desc_act, actorder); None where nothing is said."""
    version: int = 0
    """Of GPTQ: 2 where zero points are stored as they are; 0 where nothing is said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stated:
    """The `method`, in words, and where it is said; what it says of a module, None for one in 16 bits; the name or
    pattern by which a module is ignored; whether any has a static scale of inputs; whether the KV cache has static
    scales, its number format, as of inputs, the strategy of its scales (tensor, attn_head, or empty where nothing
    is said), and what else is said of it that no runtime takes, in words.
    """

    method: str
    where: str
    spec: Callable[[str], Spec | None]
    ignored: Callable[[str], str]
    static: bool = False
    cache: bool = False
    cached: str = ""
    cache_strategy: str = ""
    cache_unserved: str = ""
    known: bool = True
    exhaustive: bool = False
    """Whether a module of which nothing is said is served in 16 bits, for every runtime."""
    head: bool = False
    """Whether the head is said to be quantized too."""
    status: str | None = None
    """What a config of compressed-tensors says of how far it came, empty for nothing; None of another method."""
    unreadable: str = ""
    """Why what is stated could not be read, empty where it could."""


def names(patterns: Sequence[Any] | None, *, substrings: bool = False) -> Callable[[str], str]:
    """The first of several names or patterns that a module answers to, empty for none: `re:` and a regular expression,
    a name with `*`, or a name, of the module or of what it lies in. `substrings`: also a piece of a name, as some
    loaders take it.
    """
    given = tuple(str(pattern) for pattern in patterns or () if str(pattern))

    @cache
    def answers(name: str) -> str:
        spellings = {name, name.removeprefix("model."), f"model.{name}", name.replace("language_model.", "")}
        return next((one for one in given if any(_answers(one, spelling) for spelling in spellings)), "") or (
            next((one for one in given if one in name), "") if substrings else ""
        )

    return answers


def _answers(pattern: str, name: str) -> bool:
    if pattern.startswith("re:"):
        try:
            return re.match(pattern[3:], name) is not None
        except re.error:
            return False
    if any(mark in pattern for mark in "*?["):
        return fnmatch.fnmatchcase(name, pattern) or fnmatch.fnmatchcase(name, f"{pattern}.*")
    return f".{pattern.strip('.')}." in f".{name}."
