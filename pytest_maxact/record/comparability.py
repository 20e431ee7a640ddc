"""Whether two measurements were made alike: the one place that says which fields decide it, for comparing and for
merging.
"""

from dataclasses import dataclass, fields
from typing import Any, Protocol

from pytest_maxact.errors import InputError
from pytest_maxact.numbers.counted import counted
from pytest_maxact.record.provenance import Provenance
from pytest_maxact.record.record import Record


@dataclass(frozen=True, slots=True, kw_only=True)
class Footing:
    """What two measurements share whose figures may be compared. `dtype` is None before a model is loaded, where its
    config states none; `tokens_sha256`, `splits_sha256` and `arithmetic` in a Record of an earlier version. The splits
    of a text follow from it, but for that of a pass that ended early: they are those of all that was to run.
    """

    corpus_sha256: str
    tokenizer_sha256: str
    protocol: str
    dtype: str | None
    max_seq_len: int
    tokens_sha256: str | None = None
    arithmetic: str | None = None
    splits_sha256: str | None = None


_DECIDE_TOKENS = ("corpus_sha256", "tokenizer_sha256", "protocol", "max_seq_len")
"""What the token ids follow from: where one of these differs already, other ids say no more."""
_WHY = {"splits_sha256": ": other samples calibrate, as after a pass that ended early"}
_OF_PARTS = (
    "weights_sha256",
    "config_sha256",
    "tokenizer_sha256",
    "protocol",
    "dtype",
    "arithmetic",
    "max_seq_len",
    "template_date",
    "attention",
    "experts",
    "left_out",
    "low_bits",
    "schemes",
    "sampling",
)
"""What two parts of one measurement share."""


def footing_of(provenance: Provenance) -> Footing:
    return Footing(**{field.name: getattr(provenance, field.name) for field in fields(Footing)})


def differences(there: Footing, here: Footing, *, by_ids: bool = False) -> list[str]:
    """The fields in which two footings differ, each with both values, as in `dtype (bfloat16 there, float32 here)`.

    None, what only loading can tell or an earlier version did not note, differs from nothing. `by_ids`: of an artifact
    and its source, where equal token ids say that the tokenizers are one, which a format holds in words of its own.
    """
    pairs = {field.name: (getattr(there, field.name), getattr(here, field.name)) for field in fields(Footing)}
    differing = {name: (a, b) for name, (a, b) in pairs.items() if a is not None and b is not None and a != b}
    if by_ids and there.tokens_sha256 is not None and there.tokens_sha256 == here.tokens_sha256:
        differing.pop("tokenizer_sha256", None)
    if any(name in differing for name in _DECIDE_TOKENS):
        differing.pop("tokens_sha256", None)
    if "corpus_sha256" in differing:
        differing.pop("splits_sha256", None)
    return [
        f"{name} ({_brief(one)} there, {_brief(other)} here{_WHY.get(name, '')})"
        for name, (one, other) in differing.items()
    ]


def record_differences(there: Record, here: Record) -> list[str]:
    """Of Records whose sites stand beside each other: the differences of their footings, versions of metrics and
    sites.
    """
    found = differences(footing_of(there.provenance), footing_of(here.provenance))
    found += ["metric_version"] if there.metric_version != here.metric_version else []
    return found + (["sites"] if there.sites.keys() != here.sites.keys() else [])


def part_differences(one: Provenance, other: Provenance) -> list[str]:
    """The fields that two parts of one measurement must share and these do not."""
    return [name for name in _OF_PARTS if getattr(one, name) != getattr(other, name)]


class Stated(Protocol):
    """What figures of a limits file were measured on."""

    @property
    def corpus(self) -> str: ...
    @property
    def sha256(self) -> str: ...
    @property
    def tokens(self) -> int: ...
    @property
    def dtype(self) -> str: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """The same of a Record: the corpus by name and the beginning of its digest, its tokens, and the dtype of the model,
    as limits files have them.
    """

    corpus: str
    sha256: str
    tokens: int
    dtype: str


def origin_of(provenance: Provenance) -> Origin:
    return Origin(
        corpus=provenance.corpus,
        sha256=provenance.corpus_sha256[:12],
        tokens=provenance.tokens,
        dtype=provenance.dtype,
    )


def is_same_origin(stated: Stated, seen: Origin) -> bool:
    """Whether figures were measured on the same text and in the same dtype, whatever the text is called. A cut leaves
    the digest as it is, and shows in the tokens.
    """
    digits = min(len(stated.sha256), len(seen.sha256))
    same_text = stated.sha256[:digits] == seen.sha256[:digits] and stated.tokens == seen.tokens
    return same_text and stated.dtype == seen.dtype


def require_alike(before: Record, after: Record, *, is_source: bool = False) -> None:
    """Raise InputError for Records whose figures are not of the same measurement on different weights. `is_source`: the
    one before was named as what the other was made from.
    """
    footings = footing_of(before.provenance), footing_of(after.provenance)
    if differing := differences(*footings, by_ids=is_source or _may_be_made_of(before, after)):
        raise InputError(
            f"{before.provenance.model} (there) and {after.provenance.model} (here) were not measured alike; they "
            f"differ in {', '.join(differing)}"
            f"{sample_counts(len(before.provenance.samples), len(after.provenance.samples))}\n"
            "  measure both on the same corpus, with the same tokenizer, protocol, dtype, arithmetic and cut"
        )


def _may_be_made_of(before: Record, after: Record) -> bool:
    """Whether one is the source that the other was compared with, or holds in 16 bits what the other has in low
    bits.
    """
    if after.source is not None:
        return after.source.weights_sha256 == before.provenance.weights_sha256
    return after.provenance.low_bits is not None and before.provenance.low_bits is None


def sample_counts(there: int, here: int) -> str:
    """What explains two corpora that differ, where their sizes do; empty where these are equal."""
    return f"; {counted(there, 'sample')} there, {here} here" if there != here else ""


def _brief(value: Any) -> str:
    """A value in words; of a SHA-256 its beginning."""
    text = str(value)
    return text[:12] if len(text) == 64 else text
