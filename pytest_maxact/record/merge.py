"""Records of parts of one corpus, merged by addition, in any order, to the identical whole."""

import functools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from pytest_maxact.errors import InputError, setting, shown
from pytest_maxact.record.comparability import part_differences
from pytest_maxact.record.deployed import joined_deployed
from pytest_maxact.record.predictions import Predictions
from pytest_maxact.record.provenance import Provenance, corpus_digest, merged_context, merged_tokens
from pytest_maxact.record.reading import SiteReading
from pytest_maxact.record.record import Record
from pytest_maxact.record.scores import LayerScores, merged_scores

_Sample = tuple[str, str, str, int]


def _texts_of(provenance: Provenance) -> Iterator[tuple[_Sample, str, str | None]]:
    """Every sample with its digest and that of its text, None in a Record of an earlier version."""
    texts = provenance.text_digests or [None] * len(provenance.samples)
    return zip(provenance.samples, provenance.sample_digests, texts, strict=True)


def merge(records: Iterable[Record]) -> Record:
    """The Record of the union of several parts of one corpus, whatever their order. One part is held at a time, beside
    the sum.

    Raises InputError where the parts differ in anything but their samples, share a sample, are slim, or are not all of
    the parts that a measurement was cut into.
    """
    whole = Sum()
    for record in records:
        whole.add(record)
    return whole.record()


class Sum:
    """Parts of one measurement added up: `add` each, then ask for the `record` of the whole."""

    def __init__(self) -> None:
        self._first: Record | None = None
        self._sites: dict[str, SiteReading] = {}
        self._parts: list[Provenance] = []
        self._texts: dict[str, str] = {}
        self._names: set[str] = set()
        self._predictions: list[Predictions | None] = []
        self._scores: list[tuple[LayerScores, ...] | None] = []

    def add(self, part: Record) -> None:
        """Raises InputError for what is no part of the same measurement, or holds what another part holds."""
        if part.is_summary:
            raise InputError(
                "a slim Record holds no histograms that add up\n"
                f"  merge Records that were measured without {setting('slim')}"
            )
        if self._first is None:
            self._first, self._sites = part, dict(part.sites)
        else:
            _require_alike(self._first, part, self._parts)
            self._sites = {name: reading + part.sites[name] for name, reading in self._sites.items()}
        self._refuse_shared_texts(part.provenance)
        self._refuse_shared_names(part.provenance)
        self._parts.append(part.provenance)
        self._predictions.append(part.predictions)
        self._scores.append(part.scores)

    def record(self) -> Record:
        """The whole. Raises InputError where a part of it is missing."""
        if self._first is None:
            raise InputError("there is no Record to merge\n  name the Records of the parts")
        _refuse_missing(self._parts)
        told = [part for part in self._predictions if part]
        return Record(
            provenance=_joined(self._parts),
            sites=self._sites,
            weights=self._first.weights,
            predictions=functools.reduce(Predictions.__add__, told) if len(told) == len(self._parts) else None,
            scores=merged_scores(self._scores),
        )

    def _refuse_shared_texts(self, part: Provenance) -> None:
        """Raise InputError for a text that two parts were measured on, whatever it is called in them, and as far as
        both say so under whatever category.
        """
        names = [name for name, *_ in part.samples]
        own = dict(zip(part.sample_digests, names, strict=True))
        own |= dict(zip(part.text_digests, names, strict=bool(part.text_digests)))
        if shared := next((digest for digest in own if digest in self._texts), None):
            raise InputError(
                f"these Records share texts, the first {shown(self._texts[shared])} in one and {shown(own[shared])} in "
                "another; merging them would count those twice\n"
                "  cut the corpus into parts that share none"
            )
        self._texts |= own

    def _refuse_shared_names(self, part: Provenance) -> None:
        """Raise InputError for an id that two parts give to different texts."""
        names = [name for name, *_ in part.samples]
        if shared := next((name for name in names if name in self._names), None):
            raise InputError(
                f"these Records call different texts by one id, the first {shown(shared)}; the whole could not tell "
                "them apart\n"
                "  give every line of the corpus an id of its own, or none; an earlier version counted lines without"
            )
        self._names.update(names)


def _require_alike(first: Record, other: Record, before: Sequence[Provenance]) -> None:
    """Raise InputError for a Record that is no part of the measurement that `first` is of."""
    if first.sites.keys() != other.sites.keys():
        raise InputError("these Records are not parts of one measurement; they observed different sites")
    if first.effects or other.effects:
        raise InputError(
            "the effect of a scheme on predictions does not add up over parts of a corpus; measure it on the whole"
        )
    if differing := part_differences(first.provenance, other.provenance):
        raise InputError(f"these Records are not parts of one measurement; they differ in {', '.join(differing)}")
    if first.weights != other.weights:
        raise InputError("these Records are not parts of one measurement; they differ in what their weights hold")
    one, another = first.provenance.shard, other.provenance.shard
    if (one or "/").split("/")[1] != (another or "/").split("/")[1]:
        raise InputError(
            f"these Records are not parts of one measurement: one is {_part_words(one)}, another {_part_words(another)}"
            "\n  merge the parts of one cut"
        )
    if another and any(part.shard == another for part in before):
        raise InputError(f"{_part_words(another)} is given twice\n  give every part once")


def _refuse_missing(parts: Sequence[Provenance]) -> None:
    """Raise InputError for a cut of which a part is not there, with its number."""
    if (shard := parts[0].shard) is None:
        return
    given = {int(part.shard.split("/")[0]) for part in parts if part.shard}
    count = int(shard.split("/")[1])
    if missing := [number for number in range(1, count + 1) if number not in given]:
        more = f" and {len(missing) - 8} more" if len(missing) > 8 else ""
        named = ", ".join(map(str, missing[:8]))
        raise InputError(
            f"of {count} parts {len(missing)} are missing: {named}{more}\n"
            f"  measure them with {setting('shard')} {missing[0]}/{count}, and merge all"
        )


def _part_words(shard: str | None) -> str:
    return "part {} of {}".format(*shard.split("/")) if shard else "a whole"


def _joined(parts: Sequence[Provenance]) -> Provenance:
    """Where the whole comes from. Of a measurement that was cut, every part knows how the whole text fits the model."""
    first, cut = parts[0], parts[0].shard is not None
    ordered = sorted((entry for part in parts for entry in _texts_of(part)), key=lambda entry: entry[0])
    batching = {key: sum(part.batching[key] for part in parts) for key in first.batching if key != "batch_tokens"}
    digests = tuple(digest for _, digest, _ in ordered)
    texts = tuple(text for *_, text in ordered if text is not None)
    return replace(
        first,
        samples=tuple(sample for sample, *_ in ordered),
        sample_digests=digests,
        text_digests=texts if len(texts) == len(digests) else (),
        corpus_sha256=corpus_digest(digests),
        files=first.files if len({part.files for part in parts}) == 1 else (),
        tokens_sha256=merged_tokens(part.tokens_sha256 for part in parts),
        context=first.context if cut else merged_context(part.context for part in parts),
        deployed=first.deployed if cut else joined_deployed(part.deployed for part in parts),
        shard=None,
        batching={"batch_tokens": first.batching["batch_tokens"], **batching},
    )
