"""Records of parts of one corpus, merged by addition, in any order, to the identical whole."""

import functools
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from pytest_maxact.errors import InputError, setting, shown
from pytest_maxact.record.comparability import part_differences
from pytest_maxact.record.deployed import joined_deployed
from pytest_maxact.record.predictions import Predictions
from pytest_maxact.record.provenance import Provenance, corpus_digest, merged_context, merged_tokens
from pytest_maxact.record.reading import SiteReading
from pytest_maxact.record.record import Record
from pytest_maxact.record.scores import merged_scores

_Sample = tuple[str, str, str, int]


def _texts_of(provenance: Provenance) -> Iterator[tuple[_Sample, str, str | None]]:
    """Every sample with its digest and that of its text, None in a Record of an earlier version."""
    texts = provenance.text_digests or [None] * len(provenance.samples)
    return zip(provenance.samples, provenance.sample_digests, texts, strict=True)


def _refuse_shared_texts(parts: Sequence[Record]) -> None:
    """Raise InputError for a text that two parts were measured on, whatever it is called in them, and as far as both
    say so under whatever category.
    """
    seen: dict[str, str] = {}
    for part in parts:
        names = [name for name, *_ in part.provenance.samples]
        own = dict(zip(part.provenance.sample_digests, names, strict=True))
        own |= dict(zip(part.provenance.text_digests, names, strict=bool(part.provenance.text_digests)))
        if shared := next((digest for digest in own if digest in seen), None):
            raise InputError(
                f"these Records share texts, the first {shown(seen[shared])} in one and {shown(own[shared])} in "
                "another; merging them would count those twice\n"
                "  cut the corpus into parts that share none"
            )
        seen |= own


def _refuse_shared_names(parts: Sequence[Record]) -> None:
    """Raise InputError for an id that two parts give to different texts."""
    times = Counter(sample[0] for part in parts for sample in part.provenance.samples)
    if shared := next((name for name in times if times[name] > 1), None):
        raise InputError(
            f"these Records call different texts by one id, the first {shown(shared)}; the whole could not tell them "
            "apart\n  give every line of the corpus an id of its own, or none; an earlier version counted lines without"
        )


def merge(records: Iterable[Record]) -> Record:
    """The Record of the union of several parts of one corpus, whatever their order.

    Raises InputError where the parts differ in anything but their samples, share a sample, or are slim.
    """
    first, *rest = records
    if any(part.is_summary for part in (first, *rest)):
        raise InputError(
            "a slim Record holds no histograms that add up\n"
            f"  merge Records that were measured without {setting('slim')}"
        )
    for other in rest:
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
    parts = [first, *rest]
    _refuse_shared_texts(parts)
    _refuse_shared_names(parts)
    ordered = sorted((entry for part in parts for entry in _texts_of(part.provenance)), key=lambda entry: entry[0])
    batching = {
        key: sum(p.provenance.batching[key] for p in parts)
        for key in first.provenance.batching
        if key != "batch_tokens"
    }
    digests = tuple(digest for _, digest, _ in ordered)
    texts = tuple(text for *_, text in ordered if text is not None)
    provenance = replace(
        first.provenance,
        samples=tuple(sample for sample, *_ in ordered),
        sample_digests=digests,
        text_digests=texts if len(texts) == len(digests) else (),
        corpus_sha256=corpus_digest(digests),
        files=first.provenance.files if len({part.provenance.files for part in parts}) == 1 else (),
        tokens_sha256=merged_tokens(part.provenance.tokens_sha256 for part in parts),
        context=merged_context(part.provenance.context for part in parts),
        deployed=joined_deployed(part.provenance.deployed for part in parts),
        batching={"batch_tokens": first.provenance.batching["batch_tokens"], **batching},
    )
    readings = {
        name: functools.reduce(SiteReading.__add__, [part.sites[name] for part in parts]) for name in first.sites
    }
    told = [part.predictions for part in parts if part.predictions]
    return Record(
        provenance=provenance,
        sites=readings,
        weights=first.weights,
        predictions=functools.reduce(Predictions.__add__, told) if len(told) == len(parts) else None,
        scores=merged_scores(part.scores for part in parts),
    )
