"""What changed from one Record to another: first where they part, then a row per layer. Fits 80 columns."""

import io
import math
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from pytest_maxact.compare import Comparison, SiteChange
from pytest_maxact.record import Record


def as_data(comparison: Comparison) -> dict[str, Any]:
    """For a program; what is no finite number is null."""
    parted = comparison.parted
    return {
        "parted_at": parted.site if parted else None,
        "first_jump_layer": {"before": comparison.jump_before, "after": comparison.jump_after},
        "gone": list(comparison.gone),
        "new": list(comparison.new),
        "sites": {change.site: _plain(change) for change in comparison.changes},
    }


def render(comparison: Comparison, before: Record, after: Record, *, width: int, color: bool, encoding: str = "utf-8") -> str:
    """As text of at most `width` columns."""
    stream = io.StringIO()
    console = Console(
        file=stream, width=max(width, 60), force_terminal=color, no_color=not color, highlight=False, markup=False, emoji=False
    )
    console.print(Group(*_parts(comparison, before, after)))
    return stream.getvalue().rstrip("\n").encode(encoding, "replace").decode(encoding)


def _parts(comparison: Comparison, before: Record, after: Record) -> Iterator[RenderableType]:
    yield Text(f"before  {before.provenance.model}: M {_short(before.carrier.max_abs)} in {before.carrier.site.name}")
    yield Text(f"after   {after.provenance.model}: M {_short(after.carrier.max_abs)} in {after.carrier.site.name}")
    parted = comparison.parted
    words = (
        f"they part at {parted.site}: {_short(parted.before)} to {_short(parted.after)}"
        if parted
        else "no maximum differs by more than 5 %"
    )
    yield Text(words, style="bold")
    if comparison.jump_before != comparison.jump_after:
        yield Text(f"first jump layer: {_layer(comparison.jump_before)} before, {_layer(comparison.jump_after)} after", style="yellow")
    for what, names in (("gone", comparison.gone), ("new", comparison.new)):
        if names:
            yield Text(f"{what}: {len(names)} sites, the first {names[0]}", style="yellow")
    yield Text()
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    table.add_column("site")
    for name in ("before", "after", "ratio", "INT-8 dB", "massive"):
        table.add_column(name, justify="right")
    for change in comparison.changes:
        if change.site in ("embedding", "final_norm") or change.site.endswith(".hidden") or change is parted:
            table.add_row(*_row(change))
    yield table


def _row(change: SiteChange) -> tuple[str, ...]:
    massive = "" if change.massive_after is None else f"{change.massive_before} > {change.massive_after}"
    lost = change.int8_after - change.int8_before
    return (
        change.site, _short(change.before), _short(change.after), "-" if math.isnan(change.ratio) else f"{change.ratio:.3f}",
        f"{lost:+.1f}" if math.isfinite(lost) else "-", massive,
    )  # fmt: skip


def _layer(layer: int | None) -> str:
    return "none" if layer is None else str(layer)


def _short(value: float) -> str:
    return f"{value:.5g}" if math.isfinite(value) else "not finite"


def _plain(change: SiteChange) -> dict[str, Any]:
    return {name: None if isinstance(value, float) and not math.isfinite(value) else value for name, value in asdict(change).items()}
