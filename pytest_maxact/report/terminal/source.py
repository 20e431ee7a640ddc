"""The part of the report that answers whether an artifact is the source it was made from: its weights in a line each,
then predictions as a row per figure, with intervals and the noise floor, and by how sure the source is. Fits 80
columns.
"""

import math
from collections.abc import Iterator

from pytest_maxact.judge.trust.effects import MANY
from pytest_maxact.numbers.against import Weights
from pytest_maxact.numbers.counted import counted
from pytest_maxact.record.source import AgainstSource, Confidence, Departure, Estimate
from pytest_maxact.report.terminal.screen import Column, Grid, Part, Text

_NAMES = {
    "mean_kl": "KL from the source",
    "reverse_kl": "KL to the source",
    **{f"top{k}_agreement": f"top-{k} agreement" for k in range(1, 6)},
    "source_perplexity": "perplexity of the source",
    "perplexity": "perplexity",
    "perplexity_ratio": "perplexity over the source's",
}


def source_parts(found: AgainstSource) -> Iterator[Part]:
    yield Text()
    yield Text(f"Against its source {found.name}", style="bold")
    for line in _weight_lines(found.weights):
        yield Text(line)
    if found.predictions is None:
        yield Text(f"predictions not compared: {found.unpredicted}", style="yellow")
        return
    yield Text()
    yield _figures(found.predictions, found.noise)
    yield Text()
    yield _confidence(found.predictions)
    yield from (Text(note, style="dim") for note in _notes(found, found.predictions))


def _weight_lines(weights: Weights) -> Iterator[str]:
    if weights.lows:
        name, worst = max(weights.lows.items(), key=lambda one: _rank(one[1].loss_db))
        yield (
            f"weights: {weights.low} in low bits, {worst.form}; furthest from its rounded source {name} (SQNR "
            f"{worst.sqnr_db:.2f} dB, rounding gives {worst.expected_db:.2f})"
        )
    if weights.smoothed:
        yield f"weights: {weights.smoothed} scaled for their inputs, which norms and weights before them undo"
    changed = f", {len(weights.changed)} of them not the source's" if weights.changed else ", all of them the source's"
    yield f"weights: {weights.kept} in 16 bits{changed if weights.kept else ''}"
    if weights.unmatched:
        yield f"weights: {counted(len(weights.unmatched), 'tensor')} that one of the two lacks"


def _rank(figure: float) -> float:
    return math.inf if math.isnan(figure) else figure


def _figures(found: Departure, noise: Departure | None) -> Grid:
    return Grid(
        columns=(
            Column(name="predictions"),
            Column(name="found", right=True),
            Column(name="95 %", right=True),
            Column(name="noise", right=True),
        ),
        rows=[
            [
                words,
                _number(name, found.figures[name].value),
                _interval(name, found.figures[name]),
                _number(name, noise.figures[name].value) if noise else "-",
            ]
            for name, words in _NAMES.items()
            if name in found.figures
        ],
    )


def _confidence(found: Departure) -> Grid:
    return Grid(
        columns=(
            Column(name="source's top-1"),
            *(Column(name=name, right=True) for name in ("tokens", "KL", "95 %", "top-1", "95 %")),
        ),
        rows=[_row(one) for one in found.confidence if one.tokens],
    )


def _row(one: Confidence) -> list[str]:
    return [
        f"{one.low:.0%} to {one.high:.0%}",
        str(one.tokens),
        _number("mean_kl", one.mean_kl.value),
        _interval("mean_kl", one.mean_kl),
        _number("top1_agreement", one.top1_agreement.value),
        _interval("top1_agreement", one.top1_agreement),
    ]


def _number(name: str, value: float) -> str:
    if not math.isfinite(value):
        return str(value)
    return f"{value:.1%}" if name.endswith("agreement") else f"{value:.3g}" if "kl" in name else f"{value:.4g}"


def _interval(name: str, figure: Estimate) -> str:
    if math.isnan(figure.low):
        return "-"
    return f"{_number(name, figure.low)} to {_number(name, figure.high)}"


def _notes(found: AgainstSource, told: Departure) -> Iterator[str]:
    yield (
        f"{counted(told.tokens, 'token')} of {counted(told.samples, 'evaluation sample')}; KL in nats per token; "
        + ("95 %: samples drawn again, by category" if told.samples >= MANY else f"95 %: none of fewer than {MANY}")
    )
    yield (
        "noise: the source against itself, each sample alone"
        if found.noise
        else "no noise floor: each sample runs alone anyway"
    )
