"""What changed from one Record to another: first where they part, then a row per layer. Fits 80 columns."""

import math
from collections.abc import Iterator, Sequence

from pytest_maxact.judge.compare.comparison import Comparison, Side, SiteChange
from pytest_maxact.judge.parting import Against, Parting
from pytest_maxact.numbers.counted import counted, counted_of
from pytest_maxact.numbers.sites import ATTENTION_KINDS, LINEAR_KINDS
from pytest_maxact.report.terminal.screen import Column, Grid, Part, Screen, Text, short, to_text

_WIDE = 80
"""Columns from which every kind of site has one."""
_LABELS = {"embedding": "embed", "final_norm": "norm"}
_MAIN = ("before", "after", "ratio", "shift", "dB", "massive")
_OTHERS = {"attn_output": "attn", "mlp_output": "mlp", "gate": "gate", "router": "router"}


def render_comparison(comparison: Comparison, screen: Screen) -> str:
    """As text of at most `screen.width` columns."""
    return to_text(_parts(comparison, screen.width), screen)


def against_grid(against: Against) -> Grid:
    """How a checkpoint stands to a baseline: M of both, what breaches, and the first layer where the two part; a row or
    a few, with a label.
    """
    before, after = against.before, against.after
    rows: list[tuple[str, str | Text]] = [
        ("against", f"{against.name}: {_maximum(before)}, now {short(after.m)}"),
        ("", against_words(against)),
    ]
    if before.model_type != after.model_type:
        rows.append(("", Text(f"it is a {before.model_type}, this a {after.model_type}", style="yellow")))
    if against.same_weights:
        rows.append(("", Text("it holds the same weights: compared with itself", style="yellow")))
    return Grid(columns=(Column(style="bold", width=8), Column(fold=True)), rows=rows, gap=2)


def parting_words(parting: Parting) -> Text:
    """Where a Record parts from what it breaches relative limits against."""
    first = parting.first
    if first is None:
        words = f"no site changed too much, the model as a whole did: {parting.metric} {parting.value:g}"
        return Text(words, style="red")
    where = f"layer {first.layer}" if first.layer is not None else first.kind.replace("_", " ")
    what = f"{counted_of(parting.changed, parting.sites, 'site')} changed too much, the first {first.name}"
    return Text(
        f"they part at {where}: {what} ({parting.metric} {parting.value:.4g}, limit {parting.bound:g})", style="red"
    )


def against_words(against: Against) -> Text:
    """Where a checkpoint parts from a baseline, else how far the two differ."""
    if against.parting:
        return parting_words(against.parting)
    return Text(_difference(against.comparison) if against.comparison else "")


def _maximum(side: Side) -> str:
    return f"M {short(side.m)} in {side.carrier}"


def _difference(comparison: Comparison) -> str:
    """Where two Records differ, in words, when nothing breaches."""
    parted, most = comparison.parted, comparison.most_shifted
    words = []
    if most:
        words.append(f"they differ most at {most.site}, whose distribution shifted by {most.shift:.2g}")
    if parted:
        words.append(
            f"the first maximum that differs by more than 5 % is that of {parted.site}, {short(parted.before)} to"
            f" {short(parted.after)}"
        )
    else:
        words.append("no maximum differs by more than 5 %")
    if comparison.slim:
        words.append("slim Records keep no distributions to compare")
    elif not most:
        words.append("no distribution shifted by more than 0.01")
    return "; ".join(words)


def _parts(comparison: Comparison, width: int) -> Iterator[Part]:
    of = {"before": comparison.before, "after": comparison.after}
    yield Grid(
        columns=(Column(), Column(fold=True)),
        rows=[(when, f"{record.model}: {_maximum(record)}") for when, record in of.items()],
        gap=2,
    )
    yield Text(_difference(comparison), style="bold")
    if comparison.jump_before != comparison.jump_after:
        yield Text(
            f"first jump layer: {_layer(comparison.jump_before)} before, {_layer(comparison.jump_after)} after",
            style="yellow",
        )
    for what, names in (("gone", comparison.gone), ("new", comparison.new)):
        if names:
            yield Text(f"{what}: {counted(len(names), 'site')}, the first {names[0]}", style="yellow")
    yield Text()
    yield _layers(comparison.changes, wide=width >= _WIDE)
    yield Text(
        "before, after, ratio, shift (Kolmogorov-Smirnov), INT-8 SQNR in dB and tokens that meet the massive-activation"
        " criterion are of the residual stream, or of the input of linear layers that the row names"
        f"{'; the other columns are ratios of the largest magnitude' if width >= _WIDE else ''}.",
        style="dim",
    )


def _layers(changes: Sequence[SiteChange], *, wide: bool) -> Grid:
    """A row per layer: its residual stream, and by how much its other sites changed where there is room; a row more for
    an input of linear layers that changed.
    """
    layers: dict[str, dict[str, SiteChange]] = {}
    for change in changes:
        label = _LABELS.get(change.kind, change.kind) if change.layer is None else str(change.layer)
        layers.setdefault(label, {})["hidden" if change.layer is None else change.kind] = change
    kinds = [kind for kind in _OTHERS if wide and any(kind in sites for sites in layers.values())]
    rows: list[tuple[str, ...]] = []
    for label, sites in layers.items():
        others = [_ratio(sites[kind]) if kind in sites else "" for kind in kinds]
        rows.append((label, *(_row(sites["hidden"]) if "hidden" in sites else [""] * len(_MAIN)), *others))
        rows += [
            (f"  {kind}", *_row(change))
            for kind, change in sites.items()
            if kind in (*LINEAR_KINDS, *ATTENTION_KINDS) and change.parted
        ]
    figures = (*_MAIN, *(_OTHERS[kind] for kind in kinds))
    return Grid(columns=(Column(name="layer"), *(Column(name=name, right=True) for name in figures)), rows=rows)


def _row(change: SiteChange) -> tuple[str, ...]:
    tokens = change.massive_before, change.massive_after
    massive = "" if None in tokens else str(tokens[0]) if tokens[0] == tokens[1] else f"{tokens[0]}>{tokens[1]}"
    lost = change.int8_after - change.int8_before
    return (
        short(change.before),
        short(change.after),
        _ratio(change),
        "-" if math.isnan(change.shift) else f"{change.shift:.3f}",
        f"{lost:+.1f}" if math.isfinite(lost) else "-",
        massive,
    )


def _ratio(change: SiteChange) -> str:
    """In five characters at most."""
    ratio = change.ratio
    return (
        "-" if math.isnan(ratio) else "0" if ratio == 0 else f"{ratio:.2f}" if 0.01 <= ratio < 100 else f"{ratio:.0e}"
    )


def _layer(layer: int | None) -> str:
    return "none" if layer is None else str(layer)
