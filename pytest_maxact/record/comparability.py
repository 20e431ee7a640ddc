"""Whether two measurements were made alike: the one place that says which fields decide it."""

from collections.abc import Mapping
from typing import Any

from pytest_maxact.errors import InputError
from pytest_maxact.record.provenance import Provenance
from pytest_maxact.record.record import Record


def incomparable(one: Provenance, other: Provenance) -> list[str]:
    """The fields that two parts of one measurement must share and these do not."""
    names = (
        "weights_sha256",
        "config_sha256",
        "tokenizer_sha256",
        "protocol",
        "dtype",
        "max_seq_len",
        "attention",
        "experts",
        "left_out",
        "schemes",
        "sampling",
    )
    return [name for name in names if getattr(one, name) != getattr(other, name)]


COMPARABLE = ("corpus_sha256", "tokenizer_sha256", "protocol", "dtype", "max_seq_len")
"""What two measurements share whose figures may be compared."""


def footing_of(provenance: Provenance) -> dict[str, Any]:
    """The fields of `COMPARABLE`, by name."""
    return {name: getattr(provenance, name) for name in COMPARABLE}


def differences(there: Mapping[str, Any], here: Mapping[str, Any]) -> list[str]:
    """The fields of `COMPARABLE` in which two footings differ, each with both values, as in `dtype (bfloat16 there,
    float32 here)`.

    None, what only loading can tell, differs from nothing.
    """
    return [
        f"{name} ({_brief(there[name])} there, {_brief(here[name])} here)"
        for name in COMPARABLE
        if there[name] is not None and here[name] is not None and there[name] != here[name]
    ]


def _brief(value: Any) -> str:
    """A value in words; of a SHA-256 its beginning."""
    text = str(value)
    return text[:12] if len(text) == 64 else text


def require_alike(before: Record, after: Record) -> None:
    """Raise InputError for Records whose figures are not of the same measurement on different weights."""
    if differing := differences(footing_of(before.provenance), footing_of(after.provenance)):
        samples = [len(record.provenance.samples) for record in (before, after)]
        counts = f"; {samples[0]} samples there, {samples[1]} here" if samples[0] != samples[1] else ""
        raise InputError(
            f"{before.provenance.model} (there) and {after.provenance.model} (here) were not measured alike; they "
            f"differ in {', '.join(differing)}{counts}\n"
            "  measure both on the same corpus, with the same tokenizer, protocol, dtype and cut"
        )
