"""A site map: what of a model is observed, in which module, and what is left out and why."""

import re
from collections.abc import Iterator

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from pytest_maxact.checkpoint.sites.anatomy import Anatomy, Tap
from pytest_maxact.numbers.sites import KINDS, ranges
from pytest_maxact.report.terminal.console import to_text

_NUMBER = re.compile(r"(?<=\.)\d+(?=\.|$)")


def render(anatomy: Anatomy, model_type: str, *, width: int, color: bool, encoding: str = "utf-8") -> str:
    """The map as text of at most `width` columns; layers that are built alike share a row."""
    return to_text(_parts(anatomy, model_type), width=width, color=color, encoding=encoding)


def _parts(anatomy: Anatomy, model_type: str) -> Iterator[RenderableType]:
    yield Text(
        f"{model_type}: {anatomy.layers} layers x {anatomy.hidden_size}, {len(anatomy.sites)} sites", style="bold"
    )
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    for name in ("site", "layers", "module", "what"):
        table.add_column(name, overflow="fold")
    for (kind, module, what), layers in _alike(anatomy).items():
        table.add_row(kind, ranges(layers), module, what)
    yield table
    if anatomy.left_out:
        yield Text("left out", style="bold")
        listed = Table.grid(padding=(0, 2, 0, 0))
        for entry in anatomy.left_out:
            listed.add_row(entry.what, entry.why)
        yield listed


def _alike(anatomy: Anatomy) -> dict[tuple[str, str, str], list[int]]:
    """Sites by kind, module path without its numbers, and what the module is: the layers that have it, in the order of
    kinds.
    """
    groups: dict[tuple[str, str, str], list[int]] = {}
    for tap in sorted(anatomy.taps, key=lambda tap: KINDS.index(tap.site.kind)):
        key = (tap.site.kind, _starred(tap), tap.site.detail)
        layers = groups.setdefault(key, [])
        if tap.site.layer is not None and tap.site.layer not in layers:
            layers.append(tap.site.layer)
    return groups


def _starred(tap: Tap) -> str:
    """A module's path with the number of its layer as `*`; where layers share modules that number is another, the
    first.
    """
    own = re.compile(rf"(?<=\.){tap.site.layer}(?=\.|$)")
    return (own if own.search(tap.site.module) else _NUMBER).sub("*", tap.site.module, count=1)
