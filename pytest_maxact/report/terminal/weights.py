"""What schemes do to weights: a row per layer with the lowest SQNR of its linear layers, and of each scheme the worst
weight and those that it does not fit, which have no figure.
"""

import math
import re
from collections.abc import Iterator, Mapping, Sequence

from pytest_maxact.numbers.weights import WeightDistortion
from pytest_maxact.report.terminal.screen import Column, Grid, Part, Screen, Text, to_text

Errors = Mapping[str, Mapping[str, Mapping[str, WeightDistortion]]]
"""By site, weight and scheme."""
_LAYER = re.compile(r"layers\.(\d+)\.")


def render_weights(errors: Errors, schemes: Sequence[str], screen: Screen) -> str:
    """As text of at most `screen.width` columns."""
    return to_text(_parts(errors, schemes), screen)


def _parts(errors: Errors, schemes: Sequence[str]) -> Iterator[Part]:
    rows: dict[int, dict[str, list[tuple[str, WeightDistortion]]]] = {}
    for site, weights in errors.items():
        found = _LAYER.match(site)
        row = rows.setdefault(int(found[1]) if found else -1, {})
        for weight, by_scheme in weights.items():
            for scheme, error in by_scheme.items():
                row.setdefault(scheme, []).append((weight, error))
    yield Grid(
        columns=(Column(name="layer"), *(Column(name=scheme, right=True) for scheme in schemes)),
        rows=[
            (str(layer), *(_lowest(row[scheme]) if scheme in row else "-" for scheme in schemes))
            for layer, row in sorted(rows.items())
        ],
        gap=2,
        title="lowest SQNR of a weight, dB",
    )
    if any(error.refused for row in rows.values() for pairs in row.values() for _, error in pairs):
        yield Text("*: without weights that the scheme does not fit")
    for scheme in dict.fromkeys(scheme for row in rows.values() for scheme in row):
        for line in _sentences([pair for row in rows.values() for pair in row.get(scheme, [])]):
            yield Text(f"{scheme}: {line}")


def _sentences(pairs: Sequence[tuple[str, WeightDistortion]]) -> Iterator[str]:
    """Of all weights under one scheme: the worst, the one that most becomes zero of, and what the scheme does not
    fit.
    """
    refused, scored = _parted(pairs)
    if scored:
        weight, error = min(scored, key=lambda pair: _badness(pair[1]))
        figures = f", {error.flush_to_zero:.1%} of its non-zero entries become zero"
        unit = " dB" if math.isfinite(error.lowest_db) else ""
        yield f"worst is {weight}, {_decibel(error)}{unit}{'' if math.isnan(error.lowest_db) else figures}"
        most, zeroed = max(scored, key=lambda pair: pair[1].flushed or 0.0)
        if most != weight and zeroed.flushed:
            yield f"most become zero of {most}, {zeroed.flushed:.1%} at {_decibel(zeroed)} dB"
    for reason in dict.fromkeys(error.refused for _, error in refused):
        names = [weight for weight, error in refused if error.refused == reason]
        yield f"does not fit {len(names)} of {len(pairs)} weights, the first {names[0]}: {reason}"


def _parted(
    pairs: Sequence[tuple[str, WeightDistortion]],
) -> tuple[list[tuple[str, WeightDistortion]], list[tuple[str, WeightDistortion]]]:
    """Weights that a scheme does not fit, and the others."""
    return [pair for pair in pairs if pair[1].refused], [pair for pair in pairs if not pair[1].refused]


def _lowest(pairs: Sequence[tuple[str, WeightDistortion]]) -> str:
    refused, scored = _parted(pairs)
    lowest = _decibel(min((error for _, error in scored), key=_badness)) if scored else "none"
    return f"{lowest}*" if refused else lowest


def _badness(error: WeightDistortion) -> tuple[bool, float]:
    return not math.isnan(error.lowest_db), error.lowest_db


def _decibel(error: WeightDistortion) -> str:
    if math.isnan(error.lowest_db):
        return "not finite"
    return "exact" if error.lowest_db == math.inf else f"{error.lowest_db:.1f}"
