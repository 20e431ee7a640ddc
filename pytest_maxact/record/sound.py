"""Whether what a Record says agrees with itself: a Record in, nothing out, or ValueError with the first contradiction.

Guard: a file whose checksum was computed anew passes no limit by figures that its own histograms do not bear out.
"""

from pytest_maxact.record.record import Record


def require_sound(record: Record) -> None:
    """Raise ValueError that names the key and what it contradicts."""
    provenance = record.provenance
    if not provenance.samples or not provenance.tokens:
        raise ValueError("provenance.samples: no tokens were measured, so nothing can be judged")
