"""What schemes do to weights: a row per layer with the lowest SQNR of its linear layers, and the worst weight under
each scheme.
"""

import math
import re
from collections.abc import Iterator, Mapping, Sequence

from rich.text import Text

from pytest_maxact.numbers.weights import WeightDistortion
from pytest_maxact.report.terminal.screen import Column, Grid, Part, Screen, to_text

Errors = Mapping[str, Mapping[str, Mapping[str, WeightDistortion]]]
"""By site, weight and scheme."""
_LAYER = re.compile(r"layers\.(\d+)\.")


def render_weights(errors: Errors, schemes: Sequence[str], screen: Screen) -> str:
    """As text of at most `screen.width` columns."""
    return to_text(_parts(errors, schemes), screen)


def _parts(errors: Errors, schemes: Sequence[str]) -> Iterator[Part]:
    worst: dict[str, tuple[str, WeightDistortion]] = {}
    emptied: dict[str, tuple[str, WeightDistortion]] = {}
    rows: dict[int, dict[str, WeightDistortion]] = {}
    for site, weights in errors.items():
        found = _LAYER.match(site)
        row = rows.setdefault(int(found[1]) if found else -1, {})
        for weight, by_scheme in weights.items():
            for scheme, error in by_scheme.items():
                row[scheme] = min(row.get(scheme, error), error, key=_badness)
                here = (weight, error)
                worst[scheme] = min(worst.get(scheme, here), here, key=lambda entry: _badness(entry[1]))
                emptied[scheme] = max(emptied.get(scheme, here), here, key=lambda entry: entry[1].flushed or 0.0)
    yield Grid(
        columns=(Column(name="layer"), *(Column(name=scheme, right=True) for scheme in schemes)),
        rows=[
            (str(layer), *(_decibel(row[scheme]) if scheme in row else "-" for scheme in schemes))
            for layer, row in sorted(rows.items())
        ],
        gap=2,
        title="lowest SQNR of a weight, dB",
    )
    for scheme, (weight, error) in worst.items():
        reason = (
            f" ({error.refused})"
            if error.refused
            else f", {error.flush_to_zero:.1%} of its non-zero entries become zero"
        )
        yield Text(f"{scheme}: worst is {weight}, {_decibel(error)} dB{reason}")
        most, zeroed = emptied[scheme]
        if most != weight and zeroed.flushed:
            yield Text(f"{scheme}: most become zero of {most}, {zeroed.flushed:.1%} at {_decibel(zeroed)} dB")


def _badness(error: WeightDistortion) -> tuple[bool, float]:
    return not math.isnan(error.lowest_db), error.lowest_db


def _decibel(error: WeightDistortion) -> str:
    return (
        "none" if math.isnan(error.lowest_db) else "exact" if error.lowest_db == math.inf else f"{error.lowest_db:.1f}"
    )
