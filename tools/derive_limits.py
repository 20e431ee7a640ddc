"""The published part of thresholds.yaml, derived from the paper's result tables: figures by layer, and the factors that
make limits of them.

    python -m tools.derive_limits FOLDER            # writes `margins:` and `families:`, and says what they let through
    python -m tools.derive_limits FOLDER --check    # says so only, and whether the file is what would be written

FOLDER holds `checkpoints.csv`, `layers.csv`, `int8.csv` and `bootstrap.csv` of "Measuring Maximum Activations in Open
Large Language Models", arXiv 2605.15572 (Chen et al., May 2026, CC BY 4.0); they are not part of this project. What
stands in thresholds.yaml above `margins:` is written by hand and stays. How factors are derived: `layer_margins`.
"""

import argparse
import statistics
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from decimal import ROUND_FLOOR, Context, Decimal
from pathlib import Path

from pytest_maxact.judge.limits.schema.runs import in_runs
from tools.layer_margins import (
    FLOOR,
    LIKE,
    NO_LAYERS,
    OTHER_TEXT,
    SMALL,
    Margins,
    evidence_of,
    exceeding,
    headroom_of,
    left_out,
    margins_of,
    smallest_layers,
)
from tools.published_figures import KINDS, Layers, PublishedShape, bootstrap_growth, read_shapes

THRESHOLDS = Path(__file__).parents[1] / "thresholds.yaml"
SOURCE = "arXiv 2605.15572, published result files"
BEGIN = "margins:"
WIDTH = 150
NOTES = {
    "qwen2": "Qwen2.5, base and instruct",
    "qwen2_5_vl": "Qwen2.5-VL, the text backbone",
    "qwen3_moe": "the published router figures are softmax probabilities, so there is no router limit",
    "qwen3_5_moe": "the published router figures are softmax probabilities, so there is no router limit",
    "gemma": 'published under "gemma2", but gemma-2b is a Gemma 1 model',
    "gpt_oss": "router: logits",
    "bailing_moe": "Ling; the published router figures mix logits and expert indices, so there is no router limit; "
    "gate is that of the dense first layer",
}
ALSO = {
    "qwen2_5_vl": "qwen2_5_vl_text",
    "qwen3_5": "qwen3_5_text",
    "qwen3_5_moe": "qwen3_5_moe_text",
    "gemma3": "gemma3_text",
}
"""model_types beside the published one."""
ORDER = (
    "qwen2",
    "qwen2_5_vl",
    "qwen3",
    "qwen3_moe",
    "qwen3_5",
    "qwen3_5_moe",
    "gemma",
    "gemma2",
    "gemma3",
    "gpt_oss",
    "bailing_moe",
)
ENVELOPE = 2.0


def written(text: str, shapes: Sequence[PublishedShape], growth: float) -> str:
    """The text of a limits file with `margins:` and all below it derived anew."""
    kept, found, _ = text.partition(f"\n{BEGIN}")
    if not found:
        raise SystemExit(f"the file has no line {BEGIN!r}, below which everything is derived")
    lines = [*_margins(shapes, growth), "", "families:", *_families(shapes)]
    return f"{kept.rstrip()}\n\n" + "\n".join(lines) + "\n"


def report(shapes: Sequence[PublishedShape], derived: Margins) -> Iterator[str]:
    """What limits let through, line by line: a table of how far they lie above published figures, by kind and by layer,
    and the alarms of leaving checkpoints out.
    """
    over = "largest of its kind over a layer's figure", "limit by kind over it", "limit by layer over it"
    yield f"| kind | layers | {' | '.join(over)} |"
    yield "|---|---|---|---|---|"
    for kind in KINDS:
        if kind not in NO_LAYERS and (rooms := list(_rooms(shapes, kind, derived))):
            yield f"| `{kind}` | {len(rooms)} | {' | '.join(_middle(column) for column in zip(*rooms, strict=True))} |"
    for singly, whose in ((False, "all others of its shape"), (True, "each other one alone")):
        cases = list(left_out(shapes, singly=singly))
        alarms = exceeding(cases, derived)
        yield f"limits from {whose}: {len(alarms)} of {len(cases)} figures exceed{_whose(alarms, cases)}"
    low = [case for case in left_out(shapes) if case.fall > derived.least[case.kind]]
    low += [case for case in left_out(shapes, medians=True) if case.fall > derived.least_median[case.kind]]
    yield f"from below, from all others of its shape: {len(low)} fall below"


def _rooms(shapes: Sequence[PublishedShape], kind: str, derived: Margins) -> Iterator[tuple[float, float, float]]:
    """For every layer of every checkpoint, over its published figure: the checkpoint's largest of the kind, the limit
    by kind, and the limit by layer.
    """
    for shape in shapes:
        maxima = shape.maxima(kind)
        for one in shape.checkpoints:
            own = one.maxima.get(kind, {})
            for layer, figure in own.items():
                largest = max(maxima.values())
                headroom = headroom_of(kind, maxima[layer] < SMALL * largest, derived)
                yield max(own.values()) / figure, FLOOR * largest / figure, maxima[layer] * headroom / figure


def _middle(rooms: Sequence[float]) -> str:
    """The median, and what nine in ten lie below."""
    return f"{statistics.median(rooms):.3g} ({sorted(rooms)[int(0.9 * len(rooms))]:.3g})"


def _whose(alarms: Sequence[object], cases: Sequence[object]) -> str:
    return f" ({100 * len(alarms) / len(cases):.1f} %)" if alarms else ""


def _margins(shapes: Sequence[PublishedShape], growth: float) -> Iterator[str]:
    evidence = evidence_of(shapes, growth)
    derived = margins_of(evidence, smallest_layers(shapes))
    together, alone = list(left_out(shapes)), list(left_out(shapes, singly=True))
    alarms = exceeding(alone, derived)
    yield f"{BEGIN}  # factors from figures to limits; written by tools/derive_limits.py, as `families` is"
    for note in _NOTES:
        yield from _comment(
            note.format(
                growth=growth,
                floor=FLOOR,
                like=", ".join(f"{kind} as {like}" for kind, like in LIKE.items()),
                together=len(together),
                exceed=len(exceeding(together, derived)),
                alone=len(alone),
                alarms=len(alarms),
                whose=", ".join(sorted({case.checkpoint.rpartition("-")[0] for case in alarms})) or "none",
                text=OTHER_TEXT["max_abs"],
                median_text=OTHER_TEXT["median"],
            )
        )
    yield '  source: "derived from arXiv 2605.15572, published result files"'
    yield "  evidence:  # the largest factors seen: no limits, what follows is derived from them"
    for field in fields(evidence):
        seen = getattr(evidence, field.name)
        yield f"    {field.name}: {_plain(seen) if isinstance(seen, float) else _flow(seen)}"
    yield f"  small: {SMALL:g}"
    for field in fields(derived):
        yield f"  {field.name}: {_flow(getattr(derived, field.name))}"


_NOTES = (
    "headroom: of the shapes with several checkpoints each one was left out and held, layer by layer, against the "
    "largest figures of the others: the factor that lets all pass, times {growth:.3f} for more text (bootstrap of M), "
    "rounded up, {floor} at least; {like}. small_headroom: the same of layers whose figure is below `small` of the "
    "largest of its kind.",
    "False alarms: {exceed} of {together} published figures exceed the limits that all others of their shape give, "
    "{alarms} of {alone} those that one other gives ({whose}, stages of one training run).",
    "least: the same downward, a maximum under its figure, times {text:g} for other and less text (ours); least_median:"
    " times {median_text:g}. envelope_least: a family's smallest layer under that of its other shapes, the widest of "
    "any kind. envelope_most: the median family's smallest layer, beyond which no family's counts.",
)


def _families(shapes: Sequence[PublishedShape]) -> Iterator[str]:
    for i, model_type in enumerate(sorted({shape.model_type for shape in shapes}, key=_place)):
        if i:
            yield ""
        note = f"  # {NOTES[model_type]}" if model_type in NOTES else ""
        types = [model_type, *([ALSO[model_type]] if model_type in ALSO else [])]
        yield f"  {model_type}:{note}"
        yield f"    model_types: [{', '.join(types)}]"
        yield f'    source: "{SOURCE}"'
        yield "    shapes:"
        for shape in shapes:
            if shape.model_type == model_type:
                yield from _shape(shape)
        yield f"    envelope: {{headroom: {ENVELOPE}}}"


def _place(model_type: str) -> tuple[int, str]:
    return (ORDER.index(model_type) if model_type in ORDER else len(ORDER), model_type)


def _shape(shape: PublishedShape) -> Iterator[str]:
    yield f"      - name: {shape.name}"
    stated = [f"{one.name}: {{max_abs: {_plain(one.max_abs)}, carrier: {one.carrier}}}" for one in shape.checkpoints]
    yield from (
        [f"        checkpoints: {{{stated[0]}}}"]
        if len(stated) == 1
        else ["        checkpoints:", *(f"          {line}" for line in stated)]
    )
    yield f"        layers: {shape.layers}"
    yield f"        hidden_size: {shape.hidden_size}"
    largest = {
        kind: max(one.largest[kind] for one in shape.checkpoints)
        for kind in KINDS
        if kind in shape.checkpoints[0].largest
    }
    yield f"        limits: {_flow(largest)}"
    yield "        by_layer:"
    for kind in KINDS:
        if kind not in NO_LAYERS and (maxima := shape.maxima(kind)):
            yield from _runs(kind, maxima)
    yield "        medians:"
    for kind in KINDS:
        medians = {layer: _rounded_down(figure) for layer, figure in shape.medians(kind).items()}
        if kind in NO_LAYERS and medians:
            yield f"          {kind}: {_plain(medians[0])}"
        elif medians:
            yield from _runs(kind, medians)
    if sqnr := [one.sqnr_db for one in shape.checkpoints if one.sqnr_db is not None]:
        yield f"        int8: {{site: carrier, policy: max_abs, sqnr_db: {_plain(min(sqnr))}}}"


def _runs(kind: str, figures: Layers) -> Iterator[str]:
    yield from textwrap.wrap(
        f"{kind}: {in_runs(figures)}",
        WIDTH,
        initial_indent=" " * 10,
        subsequent_indent=" " * 12,
        break_on_hyphens=False,
    )


def _comment(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent="  # ", subsequent_indent="  #   ", break_on_hyphens=False)


def _flow(stated: Mapping[str, float]) -> str:
    return "{" + ", ".join(f"{kind}: {_plain(figure)}" for kind, figure in stated.items()) + "}"


def _plain(figure: float) -> str:
    return str(int(figure)) if float(figure).is_integer() else repr(figure)


def _rounded_down(figure: float) -> float:
    """To two digits, never above: typical magnitudes that hardly differ then are one run."""
    return float(Context(prec=2, rounding=ROUND_FLOOR).plus(Decimal(figure)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="the paper's result tables")
    parser.add_argument("--limits", type=Path, default=THRESHOLDS, help="the limits file (default: thresholds.yaml)")
    parser.add_argument("--check", action="store_true", help="write nothing")
    given = parser.parse_args()
    shapes = read_shapes(given.folder)
    growth = bootstrap_growth(given.folder, shapes)
    before = given.limits.read_text(encoding="utf-8")
    after = written(before, shapes, growth)
    print("\n".join(report(shapes, margins_of(evidence_of(shapes, growth), smallest_layers(shapes)))))
    if not given.check:
        given.limits.write_text(after, encoding="utf-8")
    elif before != after:
        raise SystemExit(f"{given.limits} is not what the tables give; run without --check")


if __name__ == "__main__":
    main()
