"""Where a Record comes from: what was measured, on what, and how."""

import functools
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from pytest_maxact.numbers.checked import LATER, Count, Flag, Size
from pytest_maxact.record.deployed import AsDeployed
from pytest_maxact.record.low_bits import LowBits


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """How the text fits the model: samples that were `cut`, `distinct` tokens among all, tokens of the `longest`
    sample, and the `positions` that the model's config states, None where it states none.
    """

    cut: Count
    distinct: Size
    longest: Size
    positions: Size | None

    def __add__(self, other: "Context") -> "Context":
        """Of parts together; of distinct tokens as many as are known to be there."""
        return Context(
            cut=self.cut + other.cut,
            distinct=max(self.distinct, other.distinct),
            longest=max(self.longest, other.longest),
            positions=self.positions,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopped:
    """Of a pass that was to end once no site rose for `asked` tokens: the tokens after which one last rose, which
    `site` that was, and how large the text is of which it may have run no more than the samples of the Record.
    `watched`: the sites whose rises counted, those that limits bind, `carrier` for M; empty where all did.
    """

    asked: Size
    last_rose: Count
    site: str
    of_tokens: Size
    of_samples: Size
    watched: tuple[str, ...] = field(default=(), metadata=LATER)


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """What a Record was measured from and how; the fields that decide whether two Records may be compared."""

    model: str
    revision: str | None
    weights_sha256: str
    model_type: str
    architecture: str
    family: str | None
    layers: Size
    hidden_size: Size
    config_sha256: str
    left_out: tuple[str, ...]
    tokenizer_sha256: str
    remote_code: Flag
    protocol: str
    corpus: str
    corpus_sha256: str
    samples: tuple[tuple[str, str, str, Count], ...]
    """Every sample's (id, category, split, tokens), in id order."""
    max_seq_len: Size
    dtype: str
    device: str
    attention: str
    experts: str | None
    batching: Mapping[str, Count]
    """`batch_tokens` asked for, `batches` run, `padded_tokens` excluded, `out_of_memory` halvings, sequences run
    `alone` because the model lets a token see its batch, or computes its rotary table from their length.
    """
    versions: Mapping[str, str]
    sample_digests: tuple[str, ...] = ()
    schemes: tuple[str, ...] = ()
    """Schemes that the inputs of linear layers were quantized with."""
    predicts: Flag = True
    """Whether it has a next-token distribution, on which the effect of a scheme can be measured."""
    sampling: Size = 1
    """One evaluation token in so many was quantized."""
    tokens_sha256: str | None = field(default=None, metadata=LATER)
    """Digest of all samples' texts and token ids, which adds up over parts; None in a Record of an earlier version."""
    template_date: str | None = field(default=None, metadata=LATER)
    """The day that the chat template was given; None where there is none, and in a Record of an earlier version."""
    context: Context | None = field(default=None, metadata=LATER)
    """How the text fits the model; None in a Record of an earlier version."""
    deployed: AsDeployed | None = field(default=None, metadata=LATER)
    """What deployment adds to the text, and what was measured of that; None in a Record of an earlier version."""

    text_digests: tuple[str, ...] = field(default=(), metadata=LATER)
    """Every sample's text alone, whatever its category; empty in a Record of an earlier version."""
    arithmetic: str | None = field(default=None, metadata=LATER)
    """`native`, or `float32-accumulate`: products of 16-bit numbers computed in float32 and rounded; None in a Record
    of an earlier version.
    """
    remarks: tuple[str, ...] = field(default=(), metadata=LATER)
    """What was found of the files that makes loaders differ; empty in a Record of an earlier version."""
    stored: str = field(default="", metadata=LATER)
    """How most weights lie in the files, where that is not `dtype`; empty in a Record of an earlier version."""
    low_bits: LowBits | None = field(default=None, metadata=LATER)
    """Of weights in low bits; None of others, and in a Record of an earlier version."""

    placement: str = field(default="", metadata=LATER)
    """How the model lived, where that was not whole on one device: `split`, `offload`, `streamed`; empty in a Record of
    an earlier version.
    """
    shard: str | None = field(default=None, metadata=LATER)
    """`K/N` of the K-th of N parts of the batches; None of a whole."""
    files: tuple[tuple[str, str], ...] = field(default=(), metadata=LATER)
    """Name and SHA-256 of every file of the artifact; empty of a live model, and in a Record of an earlier version."""

    stopped: Stopped | None = field(default=None, metadata=LATER)
    """Of a pass that may end early; None of one that runs all of its text."""

    @property
    def tokens(self) -> int:
        return sum(count for *_, count in self.samples)

    @property
    def splits_sha256(self) -> str | None:
        """Which text calibrates and which evaluates; None where an earlier version kept no digests of its samples."""
        splits = (split for _, _, split, _ in self.samples)
        return splits_digest(zip(self.sample_digests, splits, strict=True)) if self.sample_digests else None


def merged_tokens(digests: Iterable[str | None]) -> str | None:
    """The tokens' digest of parts together; None where that of one is not known."""
    known = list(digests)
    total = sum(int(digest, 16) for digest in known if digest is not None)
    return None if None in known else f"{total % 2**256:064x}"


def merged_context(contexts: Iterable[Context | None]) -> Context | None:
    """That of parts together; None where that of one is not known."""
    known = list(contexts)
    whole = [context for context in known if context is not None]
    return None if len(whole) < len(known) or not whole else functools.reduce(Context.__add__, whole)


def splits_digest(split_of: Iterable[tuple[str, str]]) -> str:
    """Of the digest and split of every sample, whatever their order."""
    return corpus_digest(f"{split}:{digest}" for digest, split in split_of)


def corpus_digest(sample_digests: Iterable[str]) -> str:
    """Identity of a corpus: SHA-256 over its samples' digests in sorted order, so that it does not depend on their
    order.
    """
    return hashlib.sha256("\n".join(sorted(sample_digests)).encode()).hexdigest()
