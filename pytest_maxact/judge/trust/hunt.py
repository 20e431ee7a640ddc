"""What a search found beside the corpus: a Record's finds in, a line out."""

import math
from collections.abc import Sequence

from pytest_maxact.numbers.ratio import ratio
from pytest_maxact.record.hunt import Hunted


def hunt_line(found: Sequence[Hunted]) -> str:
    """In one line: how far above the corpus each site came, and by what."""
    return f"{'; '.join(map(_words, found))}; after {found[0].evaluations} evaluations"


def _words(one: Hunted) -> str:
    if not math.isfinite(one.found):
        return f"{one.site} NaN or infinite by {one.how}"
    return f"{one.site} {one.found:.6g} by {one.how}, {ratio(one.corpus, one.found):.2f} x the corpus"
