"""Whether what a Record says of predictions and of layers agrees with its samples and histograms: ValueError with the
first contradiction.
"""

from itertools import pairwise

from pytest_maxact.errors import shown
from pytest_maxact.numbers.probe import SKETCHED
from pytest_maxact.record.held import Distributions
from pytest_maxact.record.record import Record

_CHANGED = frozenset({"layer", "attn_output", "mlp_output"})


def require_sound_predictions(record: Record) -> None:
    """Raise ValueError for predictions of more tokens than there are, or of none and no reason."""
    told = record.predictions
    if told is None:
        return
    if told.by_design and not told.unchecked:
        raise ValueError("predictions.unchecked: no reason why there are none by design")
    names = [one.category for one in told.categories]
    if names != sorted(set(names)) or (names and told.unchecked):
        raise ValueError("predictions.categories: not every category once, in the order of names")
    there: dict[str, int] = {}
    for _, category, split, tokens in record.provenance.samples:
        if split == "evaluation":
            there[category] = there.get(category, 0) + tokens - 1
    for place, one in enumerate(told.categories):
        if not one.nonfinite <= one.tokens <= there.get(one.category, 0):
            raise ValueError(
                f"predictions.categories.{place}.tokens: {one.tokens}, {one.nonfinite} of them not finite, where "
                f"{there.get(one.category, 0)} of category {shown(one.category)} were there to predict"
            )


def require_sound_probes(record: Record) -> None:
    """Raise ValueError for a probe of no sample, one that only some layers have, and a layer that is said to change the
    residual stream and leaves its distribution as it was.
    """
    lengths = {name: tokens for name, _, _, tokens in record.provenance.samples}
    layers = [reading for reading in record.sites.values() if reading.site.kind == "hidden"]
    if record.is_probed and (lacking := next((one for one in layers if not one.probe), None)):
        raise ValueError(f"{lacking.site.name}: probe: missing, where other layers have one")
    for name, reading in record.sites.items():
        if (probe := reading.probe) is None:
            continue
        if not 1 <= probe.tokens <= lengths.get(probe.sample, 0):
            raise ValueError(f"{name}: probe.tokens: {probe.tokens} of sample {shown(probe.sample)}")
        if len(probe.sketch) not in (0, SKETCHED) or not probe.changed.keys() <= _CHANGED:
            raise ValueError(f"{name}: probe: not what is told of a site")
    for before, after in pairwise(layers):
        if not (isinstance(before.held, Distributions) and isinstance(after.held, Distributions)):
            continue
        changed = after.probe.changed if after.probe else {}
        if changed and min(changed.values()) > 0 and before.held == after.held:
            raise ValueError(
                f"{after.site.name}: probe.changed: more than none, with the histogram of the layer before"
            )
