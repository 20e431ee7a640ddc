"""What a Record's JSON document holds: plain data in, the same as dataclasses out, or ValueError with the key and what
is wrong with it.

The dataclasses are the format, both ways: `document` builds them and writes what they hold, and what is read is held to
them by pydantic, key by key. What a value may be stands at its field (`numbers/checked.py`). Sizes have a bound here,
before anything is unpacked; whether figures agree with each other is asked afterwards (`sound/`).

A part of a Record that is new is a field here with the metadata `LATER`: Records without it still load.
"""

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from math import isfinite
from typing import Annotated, Any, ClassVar

from pydantic import ConfigDict, Discriminator, Field, Tag, TypeAdapter, ValidationError

from pytest_maxact.errors import cut, shown
from pytest_maxact.numbers.checked import LATER, Count, Figure, FigureAboveZero, Flag, Size, Whole, is_left_out
from pytest_maxact.numbers.histogram import BINS
from pytest_maxact.numbers.massive import Massive
from pytest_maxact.numbers.noise import Noise
from pytest_maxact.numbers.peaks import PEAKS_KEPT, Around, NonFinite, Peak
from pytest_maxact.numbers.probe import Probe
from pytest_maxact.numbers.scan import WeightScan
from pytest_maxact.numbers.sites import Site
from pytest_maxact.numbers.spread import Spread
from pytest_maxact.numbers.sums import SchemeSums
from pytest_maxact.numbers.weights import WeightDistortion
from pytest_maxact.record.effect import Effect
from pytest_maxact.record.held import Entries
from pytest_maxact.record.hunt import Hunted
from pytest_maxact.record.logits import LayerLogits
from pytest_maxact.record.predictions import Predictions
from pytest_maxact.record.provenance import Provenance
from pytest_maxact.record.scores import LayerScores
from pytest_maxact.record.source import AgainstSource
from pytest_maxact.record.static import HeldScale
from pytest_maxact.record.stress import Stress

SCHEMA = 3
_TAGS = ("seen", "summed up")


def _one_of(*words: str) -> Any:
    return Field(pattern=f"^({'|'.join(words)})$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bins:
    """How many bins of a split's histogram are not empty."""

    bins: Annotated[int, Whole(high=BINS)]


@dataclass(frozen=True, slots=True, kw_only=True)
class _StoredSite:
    """What stands of a site whatever is held of it."""

    site: Site
    dtype: Annotated[str, _one_of("bfloat16", "float16", "float32", "float64")]
    width: Size
    encoding: Annotated[str, _one_of("bfloat16", "float16")]
    peaks: Annotated[tuple[Peak, ...], Field(max_length=PEAKS_KEPT)]
    massive: Massive | None
    expert_tokens: tuple[Count, ...] | None
    first_nonfinite: NonFinite | None
    shared: dict[str, str]
    weights: dict[str, dict[str, WeightDistortion]]
    probe: Probe | None = field(default=None, metadata=LATER)
    as_deployed: FigureAboveZero | None = field(default=None, metadata=LATER)
    heads: Size | None = field(default=None, metadata=LATER)


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenSite(_StoredSite):
    """A site whose distributions lie in the tensors: `splits`, `channels` and `evaluated` say how much of these is its
    own.
    """

    splits: tuple[Bins, Bins]
    schemes: dict[str, SchemeSums]
    channels: dict[str, Size] | None
    evaluated: dict[str, Size] | None = field(default=None, metadata=LATER)
    spread: Spread | None = field(default=None, metadata=LATER)
    figures: Annotated[dict[str, Figure], Field(max_length=0)] = field(default_factory=dict)
    maxima: Flag = field(default=False, metadata=LATER)
    """Whether the largest entries of samples lie in the tensors."""
    sampled: Flag = field(default=False, metadata=LATER)
    """Whether sums of samples lie there, under each of the schemes."""
    int8: Flag = field(default=False, metadata=LATER)
    """Whether those of INT-8 do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SummedSite(_StoredSite):
    """A site of which figures were kept."""

    splits: tuple[Entries, Entries]
    schemes: tuple[str, ...]
    channels: Annotated[dict[str, Size], Field(max_length=0)] | None
    figures: Annotated[dict[str, Figure], Field(min_length=1)]


StoredSite = Annotated[
    Annotated[SeenSite, Tag(_TAGS[0])] | Annotated[SummedSite, Tag(_TAGS[1])],
    Discriminator(lambda value: _TAGS[bool(isinstance(value, Mapping) and value.get("figures"))]),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredRecord:
    """A Record's document, without its checksum."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    schema: int
    metric_version: Count
    provenance: Provenance
    sites: Annotated[tuple[StoredSite, ...], Field(min_length=1)]
    effects: dict[str, Effect]
    weights: WeightScan | None = field(default=None, metadata=LATER)
    predictions: Predictions | None = field(default=None, metadata=LATER)
    scores: tuple[LayerScores, ...] | None = field(default=None, metadata=LATER)
    logits: tuple[LayerLogits, ...] | None = field(default=None, metadata=LATER)
    noise: Noise | None = field(default=None, metadata=LATER)
    static: tuple[HeldScale, ...] | None = field(default=None, metadata=LATER)
    scaled: tuple[StoredSite, ...] = field(default=(), metadata=LATER)
    source: AgainstSource | None = field(default=None, metadata=LATER)
    stress: Stress | None = field(default=None, metadata=LATER)
    hunt: tuple[Hunted, ...] | None = field(default=None, metadata=LATER)
    untried: dict[Annotated[str, _one_of("stress", "hunt")], str] | None = field(default=None, metadata=LATER)
    token_texts: dict[str, str] | None = field(default=None, metadata=LATER)
    around: dict[str, dict[str, Around]] | None = field(default=None, metadata=LATER)
    """The text around the tokens of peaks and of what is not finite, by sample and position."""


def stored(document: Mapping[str, Any]) -> StoredRecord:
    """The document, every key and value of which is one that a Record may have. Raises ValueError that names the first
    that is not.
    """
    try:
        found = _adapter().validate_python(document)
    except ValidationError as error:
        raise ValueError(_explained(error)) from error
    seen: set[str] = set()
    for key, entries in (("sites", found.sites), ("scaled", found.scaled)):
        for place, entry in enumerate(entries):
            if entry.site.name in seen:
                raise ValueError(f"{key}.{place}.site: {shown(entry.site.name)} stands there twice")
            seen.add(entry.site.name)
    return found


def plain(value: Any) -> Any:
    """The reverse: a dataclass as JSON, without fields that say nothing new; what is no finite number is text, for JSON
    has none.
    """
    if is_dataclass(value):
        held = ((one, getattr(value, one.name)) for one in fields(value))
        return {one.name: plain(entry) for one, entry in held if not is_left_out(one, entry)}
    if isinstance(value, Mapping):
        return {name: plain(entry) for name, entry in value.items()}
    if isinstance(value, tuple | list):
        return [plain(entry) for entry in value]
    return str(value) if isinstance(value, float) and not isfinite(value) else value


@functools.cache
def _adapter() -> TypeAdapter[StoredRecord]:
    return TypeAdapter(StoredRecord)


def _explained(error: ValidationError) -> str:
    first, *others = error.errors(include_url=False)
    key = ".".join(shown(str(part)) for part in first["loc"] if part not in _TAGS) or "document"
    return f"{key}: {_message(first)}{f', and {len(others)} faults more' if others else ''}"


def _message(fault: Any) -> str:
    given, kind = fault["input"], fault["type"]
    if kind in ("unexpected_keyword_argument", "extra_forbidden"):
        return "unknown key"
    if kind == "string_pattern_mismatch":
        words = fault["ctx"]["pattern"].strip("^()$").split("|")
        return f"should be {' or '.join(words)}, not {_brief(given)}"
    if kind in ("missing", "missing_keyword_only_argument", "missing_argument"):
        return "missing"
    if kind in ("too_short", "too_long"):
        return (
            str(fault["msg"])
            .replace(" after validation", "")
            .replace("Tuple", "a list")
            .replace("Dictionary", "a mapping")
        )
    expected = _EXPECTED.get(kind) or str(fault["msg"]).removeprefix("Input should be ")
    return f"should be {expected}, not {_brief(given)}"


_EXPECTED = {
    "dict_type": "a mapping",
    "dataclass_type": "a mapping",
    "tuple_type": "a list",
    "string_type": "text",
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
}


def _brief(value: Any) -> str:
    """A value in a few words, whatever its size."""
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, list | tuple):
        return f"a list of {len(value)}"
    return shown(
        repr(cut(value, 40)) if isinstance(value, str) else repr(value) if _is_short(value) else "a huge number"
    )


def _is_short(value: Any) -> bool:
    return not isinstance(value, int) or value.bit_length() < 100
