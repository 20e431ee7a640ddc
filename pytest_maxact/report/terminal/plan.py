"""A plan: what a model needs, what there is, the ways to run it and the one that is taken."""

from collections.abc import Iterator, Sequence

from pytest_maxact.numbers.counted import counted
from pytest_maxact.numbers.plan import ModelPlan, Way
from pytest_maxact.report.terminal.screen import Column, Grid, Part, Screen, Text, grouped, to_text

_GIB = 1 << 30


def render_plan(plan: ModelPlan, screen: Screen) -> str:
    """The plan as text of at most `screen.width` columns."""
    return to_text(_parts(plan), screen)


def _parts(plan: ModelPlan) -> Iterator[Part]:
    yield Text(
        f"{plan.model}: {plan.model_type}, {plan.parameters / 1e9:.3g} billion parameters in"
        f" {counted(plan.layers, 'layer')}, {plan.dtype}",
        style="bold",
    )
    if plan.chosen:
        yield Text(f"device: {plan.chosen}", style="bold")
    else:
        yield Text(f"fits nowhere as asked: {plan.against}", style="bold red")
    needs = [(name, _gib(size)) for name, size in plan.parts if size]
    yield Grid(columns=(Column(name="needs"), Column(name="GiB", right=True)), rows=needs, gap=2)
    rows = [(device, _gib(free), _gib(total)) for device, free, total in plan.rooms]
    yield Grid(
        columns=(Column(name="device"), Column(name="free GiB", right=True), Column(name="of GiB", right=True)),
        rows=rows, gap=2,
    )  # fmt: skip
    yield Grid(
        columns=(
            Column(name="way"), Column(name="on"), Column(name="GiB", right=True),
            Column(name="time", right=True), Column(name="fits", fold=True),
        ),
        rows=[_row(ways) for ways in _alike(plan.ways)], gap=2,
    )  # fmt: skip
    yield Text("; ".join(_speeds(plan)))


def _alike(ways: Sequence[Way]) -> list[list[Way]]:
    """Devices that are alike together."""
    found: dict[object, list[Way]] = {}
    for way in ways:
        alike = (way.how, way.device == "cpu", _gib(way.takes[0][1]), way.against.replace(way.device, ""))
        found.setdefault(alike, []).append(way)
    return list(found.values())


def _row(ways: Sequence[Way]) -> tuple[str, str, str, str, str]:
    way = ways[0]
    takes = sorted({_gib(size) for _, size in way.takes}, key=float)
    where = way.device if len(ways) == 1 else f"each of {len(ways)}"
    gpus = sum(device != "cpu" for device, _ in way.takes)
    if gpus > 1:
        where = f"{gpus} GPUs"
    fits = way.against or ("yes" + (f", {_gib(way.on_disk)} GiB of it read from disk" if way.on_disk else ""))
    return way.how, where, " + ".join(reversed(takes)), _duration(way.seconds), fits


def _speeds(plan: ModelPlan) -> Iterator[str]:
    about = "about " if plan.about else ""
    yield f"corpus: {about}{grouped(plan.tokens)} tokens in batches of {grouped(plan.batch_tokens)}"
    yield f"{plan.flops_per_token / 1e9:.3g} GFLOP a token"
    if plan.speeds.flops:
        each = plan.flops_per_token / plan.speeds.flops
        yield f"products at {plan.speeds.flops / 1e9:.3g} GFLOP/s here, {each * 1000:.3g} ms a token and pass"
    if plan.speeds.disk:
        yield f"files at {plan.speeds.disk / 1e9:.3g} GB/s"
    if plan.speeds.unprobed:
        yield plan.speeds.unprobed


def _gib(size: int) -> str:
    number = size / _GIB
    return f"{number:.2f}" if number < 100 else f"{number:.0f}"


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "?"
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
