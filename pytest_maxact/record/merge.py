"""Records of parts of one corpus, merged by addition, in any order, to the identical whole."""

import functools
from collections.abc import Iterable, Sequence
from dataclasses import replace

from pytest_maxact.errors import InputError, setting, shown
from pytest_maxact.record.comparability import part_differences
from pytest_maxact.record.deployed import joined_deployed
from pytest_maxact.record.predictions import Predictions
from pytest_maxact.record.provenance import corpus_digest, merged_context, merged_tokens
from pytest_maxact.record.reading import SiteReading
from pytest_maxact.record.record import Record
from pytest_maxact.record.scores import merged_scores


def _refuse_shared_texts(parts: Sequence[Record]) -> None:
    """Raise InputError for a text that two parts were measured on, whatever it is called in them."""
    seen: dict[str, str] = {}
    for part in parts:
        samples = zip(part.provenance.samples, part.provenance.sample_digests, strict=True)
        own = {digest: sample[0] for sample, digest in samples}
        if shared := next((digest for digest in own if digest in seen), None):
            raise InputError(
                f"these Records share texts, the first {shown(seen[shared])} in one and {shown(own[shared])} in "
                "another; merging them would count those twice\n"
                "  cut the corpus into parts that share none"
            )
        seen |= own


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
    pairs = sorted(
        (s, d) for part in parts for s, d in zip(part.provenance.samples, part.provenance.sample_digests, strict=True)
    )
    names = [sample[0] for sample, _ in pairs]
    if len(set(names)) != len(names):
        raise InputError("these Records share samples; merging them would count those twice")
    _refuse_shared_texts(parts)
    batching = {
        key: sum(p.provenance.batching[key] for p in parts)
        for key in first.provenance.batching
        if key != "batch_tokens"
    }
    digests = tuple(digest for _, digest in pairs)
    provenance = replace(
        first.provenance,
        samples=tuple(sample for sample, _ in pairs),
        sample_digests=digests,
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
