"""What changed from one Record to another: first where they part, then a row per layer. Fits 80 columns."""

import math
from collections.abc import Iterator, Sequence

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from pytest_maxact.judge.compare.comparison import Comparison, SiteChange, compare
from pytest_maxact.judge.verdict.finding import Finding
from pytest_maxact.numbers.sites import LINEAR_KINDS, Site
from pytest_maxact.record.record import Record
from pytest_maxact.report.terminal.console import short, to_text

_WIDE = 80
"""Columns from which every kind of site has one."""
_LABELS = {"embedding": "embed", "final_norm": "norm"}
_MAIN = ("before", "after", "ratio", "shift", "dB", "massive")
_OTHERS = (("attn_output", "attn"), ("mlp_output", "mlp"), ("gate", "gate"), ("router", "router"))


def render(
    comparison: Comparison, before: Record, after: Record, *, width: int, color: bool, encoding: str = "utf-8"
) -> str:
    """As text of at most `width` columns."""
    return to_text(_parts(comparison, before, after, width), width=width, color=color, encoding=encoding)


def baseline_words(name: str, before: Record, after: Record, findings: Sequence[Finding]) -> RenderableType:
    """How a checkpoint stands to a baseline: M of both, what breaches, and the first layer where the two part; a row or
    a few, with a label.
    """
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True, width=8)
    table.add_column(overflow="fold")
    table.add_row(
        "against",
        f"{name}: M {short(before.carrier.max_abs)} in {before.carrier.site.name}, now {short(after.carrier.max_abs)}",
    )
    table.add_row("", parting_words(before, after, findings))
    if before.provenance.model_type != after.provenance.model_type:
        table.add_row(
            "", Text(f"it is a {before.provenance.model_type}, this a {after.provenance.model_type}", style="yellow")
        )
    if before.provenance.weights_sha256 == after.provenance.weights_sha256:
        table.add_row("", Text("it holds the same weights: compared with itself", style="yellow"))
    return table


def parting_words(before: Record, after: Record, findings: Sequence[Finding]) -> Text:
    """Where two Records part: the first site, in the order in which values arise, that breaches a relative limit, else
    that differs at all.
    """
    breaches = [finding for finding in findings if not finding.passed]
    return breach_words(after, breaches) if breaches else Text(_difference(compare(before, after)))


def breach_words(after: Record, breaches: Sequence[Finding]) -> Text:
    """Where a Record parts from what it breaches relative limits against; at least one breach."""
    sites = sorted((finding.reading.site for finding in breaches if finding.reading), key=lambda site: site.flow)
    if sites:
        count = len({site.name for site in sites})
        first = next(finding for finding in breaches if finding.site == sites[0].name)
        what = f"{count} of {len(after.sites)} sites changed too much, the first {sites[0].name}"
        return Text(
            f"they part at {layer_of(sites[0])}: {what} ({first.limit.metric} {first.value:.4g}, limit"
            f" {first.limit.bound:g})",
            style="red",
        )
    return Text(
        f"no site changed too much, the model as a whole did: {breaches[0].limit.metric} {breaches[0].value:g}",
        style="red",
    )


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


def layer_of(site: Site) -> str:
    """Where a site lies, in words: `layer 3`, `embedding`."""
    return f"layer {site.layer}" if site.layer is not None else site.kind.replace("_", " ")


def _parts(comparison: Comparison, before: Record, after: Record, width: int) -> Iterator[RenderableType]:
    yield Text(f"before  {before.provenance.model}: M {short(before.carrier.max_abs)} in {before.carrier.site.name}")
    yield Text(f"after   {after.provenance.model}: M {short(after.carrier.max_abs)} in {after.carrier.site.name}")
    yield Text(_difference(comparison), style="bold")
    if comparison.jump_before != comparison.jump_after:
        yield Text(
            f"first jump layer: {_layer(comparison.jump_before)} before, {_layer(comparison.jump_after)} after",
            style="yellow",
        )
    for what, names in (("gone", comparison.gone), ("new", comparison.new)):
        if names:
            yield Text(f"{what}: {len(names)} sites, the first {names[0]}", style="yellow")
    yield Text()
    yield _layers(comparison.changes, wide=width >= _WIDE)
    yield Text(
        "before, after, ratio, shift (Kolmogorov-Smirnov), INT-8 SQNR in dB and tokens that meet the massive-activation"
        " criterion are of the residual stream, or of the input of linear layers that the row names; the other columns"
        " are ratios of the largest magnitude.",
        style="dim",
    )


def _layers(changes: Sequence[SiteChange], *, wide: bool) -> Table:
    """A row per layer: its residual stream, and by how much its other sites changed where there is room; a row more for
    an input of linear layers that changed.
    """
    rows: dict[str, dict[str, SiteChange]] = {}
    for change in changes:
        layer, _, kind = change.site.removeprefix("layers.").rpartition(".")
        rows.setdefault(layer or kind, {})[kind if layer else "hidden"] = change
    kinds = [kind for kind, _ in _OTHERS if wide and any(kind in row for row in rows.values())]
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="bold")
    table.add_column("layer", no_wrap=True)
    for name in (*_MAIN, *(dict(_OTHERS)[kind] for kind in kinds)):
        table.add_column(name, justify="right", no_wrap=True)
    for label, row in rows.items():
        others = [_ratio(row[kind]) if kind in row else "" for kind in kinds]
        table.add_row(
            _LABELS.get(label, label), *(_row(row["hidden"]) if "hidden" in row else [""] * len(_MAIN)), *others
        )
        for kind, change in row.items():
            if kind in LINEAR_KINDS and change.parted:
                table.add_row(f"  {kind}", *_row(change))
    return table


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
