"""Whether what a Record says of static scales agrees with its artifact and its histograms: a Record in, nothing out, or
ValueError with the first contradiction.

Guards that an edited file does not pass by scales that are not those of the artifact, or cost more than it says.
"""

from math import isclose

from pytest_maxact.errors import shown
from pytest_maxact.numbers.counted import counted
from pytest_maxact.record.record import Record
from pytest_maxact.record.static import HeldScale, held_of


def require_sound_scales(record: Record) -> None:
    """Raise ValueError that names the key and what it contradicts."""
    if record.is_summary:
        _require_known(record)
        return
    expected = held_of(record.provenance.low_bits, record.observed)
    if (record.static is None) != (expected is None):
        raise ValueError(
            "static: what the artifact calls for was held, or not, otherwise than provenance.low_bits says"
        )
    given, wanted = record.static or (), expected or ()
    if len(given) != len(wanted):
        raise ValueError(f"static: {counted(len(given), 'scale')}, where the sites have {len(wanted)}")
    for one, other in zip(given, wanted, strict=True):
        if not _same(one, other):
            raise ValueError(f"static: {shown(one.tensor)} is not held as the histogram of {other.site} bears out")


def _require_known(record: Record) -> None:
    """Of a summary, which holds no histograms: every scale is one of the artifact's."""
    low_bits = record.provenance.low_bits
    known = {scale.tensor: scale.reach for scale in low_bits.static} if low_bits else {}
    for held in record.static or ():
        if known.get(held.tensor) != held.reach or held.site not in record.observed:
            raise ValueError(f"static: {shown(held.tensor)} is no scale of provenance.low_bits, or reaches otherwise")


def _same(one: HeldScale, other: HeldScale) -> bool:
    """An earlier version told no `fair_db`, without which a scale is held to more."""
    if (one.tensor, one.site, one.number, one.scales) != (other.tensor, other.site, other.number, other.scales):
        return False
    figures = ("stated", "reach", "least", "most", "sqnr_db", "clip_rate", "flush_to_zero", "best_db")
    fair = one.fair_db is None or (other.fair_db is not None and _close(one.fair_db, other.fair_db))
    return fair and all(_close(getattr(one, name), getattr(other, name)) for name in figures)


def _close(one: float, other: float) -> bool:
    return isclose(one, other, rel_tol=1e-6, abs_tol=1e-9) or (one != one and other != other)
