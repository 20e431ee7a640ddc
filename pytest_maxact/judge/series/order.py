"""A pattern to the checkpoints, or Records, of a series, in the order of training. No torch.

The step of a checkpoint is the number in its name: `checkpoint-1500`. Names that are built otherwise than most of the
series (`final`) have no step, and come last. Where it cannot be told which number is the step, there is no order to
compare in, and the series is refused.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from glob import has_magic
from itertools import pairwise
from pathlib import Path

from pytest_maxact.errors import InputError

RECORD_SUFFIXES = (".maxact.safetensors", ".record.safetensors", ".safetensors")
_NUMBER = re.compile(r"(\d+)")
_CALLED_STEP = re.compile(r"(steps?|checkpoint|ckpt|iter|iterations?)[^a-z0-9]*$", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One checkpoint of a series: its short name, where it lies, and its training step, None where the name does not
    tell.
    """

    name: str
    path: str
    step: int | None


def is_pattern(value: str) -> bool:
    """Whether a path is meant as a pattern: it has `*`, `?` or `[` in it, and nothing is called exactly that."""
    return has_magic(value) and not Path(value).exists()


def in_order(paths: Sequence[Path], whence: str) -> list[Member]:
    """Checkpoints or Records in the order of their steps, those without one last. Raises InputError where two have one
    name.
    """
    names = [short_name(path) for path in paths]
    if repeated := [name for name, count in Counter(names).items() if count > 1]:
        same = [str(path) for path, name in zip(paths, names, strict=True) if name == repeated[0]]
        raise InputError(
            f"{' and '.join(same[:2])} are both called {repeated[0]}\n  a series is one run; narrow {whence} to it"
        )
    steps = steps_of(names)
    members = [
        Member(name=name, path=str(path), step=step) for name, path, step in zip(names, paths, steps, strict=True)
    ]
    return sorted(
        members,
        key=lambda member: (
            member.step is None,
            member.step or 0,
            not _NUMBER.search(member.name),
            _natural(member.name),
        ),
    )


def short_name(path: Path) -> str:
    """What a checkpoint's folder or a Record's file is called, suffixes of Records left off."""
    return next((path.name.removesuffix(suffix) for suffix in RECORD_SUFFIXES if path.name.endswith(suffix)), path.name)


def steps_of(names: Sequence[str]) -> list[int | None]:
    """The training step in every name: of the numbers that differ in names built alike, the one after `step` or
    `checkpoint`, else the last.

    `["qwen3-step-500", "qwen3-step-1000", "final"]` -> `[500, 1000, None]`. None for all where several names have
    numbers and none are built alike. Raises InputError where several numbers differ, none is called a step, and they
    put the series in different orders.
    """
    parts = [_NUMBER.split(name) for name in names]
    built = [tuple(part[::2]) for part in parts]
    numbered = Counter(skeleton for skeleton in built if len(skeleton) > 1)
    usual, count = max(numbered.items(), key=lambda item: item[1], default=((), 0))
    if count <= 1 < len(numbered) or not numbered:
        return [None] * len(names)
    numbers = [
        [int(number) for number in part[1::2]] for part, skeleton in zip(parts, built, strict=True) if skeleton == usual
    ]
    differing = [place for place, values in enumerate(zip(*numbers, strict=True)) if len(set(values)) > 1]
    places = differing or list(range(len(usual) - 1))
    called = [place for place in places if _CALLED_STEP.search(usual[place])]
    place = (called or places)[-1]
    if not called and not _is_in_one_order(numbers, differing):
        one, other, *_ = (name for name, skeleton in zip(names, built, strict=True) if skeleton == usual)
        raise InputError(
            f"which number in {one}, {other} is the training step cannot be told: they put the series in different "
            "orders\n"
            "  name the checkpoints by one number, as in checkpoint-500, or narrow the pattern"
        )
    return [int(part[1::2][place]) if skeleton == usual else None for part, skeleton in zip(parts, built, strict=True)]


def _is_in_one_order(numbers: Sequence[Sequence[int]], places: Sequence[int]) -> bool:
    """Whether no two of these places rank two of the names the other way round."""
    ranked = sorted([entry[place] for place in places] for entry in numbers)
    return all(a <= b for one, other in pairwise(ranked) for a, b in zip(one, other, strict=True))


def _natural(name: str) -> list[tuple[str, int]]:
    parts = _NUMBER.split(name)
    return [(text, int(number)) for text, number in zip(parts[::2], [*parts[1::2], "0"], strict=True)]
