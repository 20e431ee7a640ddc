"""Where a Record comes from: everything that decides whether it may be compared with another."""

import hashlib
import json
import platform
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_maxact import corpus
from pytest_maxact.corpus.tokens import tokenizer_digest
from pytest_maxact.model import LoadedModel
from pytest_maxact.observe import Observer
from pytest_maxact.record import Provenance, corpus_digest
from pytest_maxact.settings import Settings
from pytest_maxact.sites import Anatomy

if TYPE_CHECKING:
    from pytest_maxact.measure import Prepared


def provenance_of(
    prepared: "Prepared", settings: Settings, loaded: LoadedModel, anatomy: Anatomy,
    observer: Observer, family: str | None, weights: str, max_seq_len: int,
) -> Provenance:  # fmt: skip
    """Of one finished pass; `weights` is the digest of the files, `max_seq_len` the tokens after which samples were cut."""
    checkpoint, config = prepared.checkpoint, prepared.checkpoint.config
    splits = corpus.assign_splits([sequence.sample for sequence in prepared.sequences])
    ordered = sorted(prepared.sequences, key=lambda sequence: sequence.sample.id)
    digests = tuple(sequence.sample.digest for sequence in ordered)
    text = config.get_text_config()
    return Provenance(
        model=checkpoint.name,
        revision=checkpoint.revision,
        weights_sha256=weights,
        model_type=prepared.identity.model_type,
        architecture=type(loaded.decoder).__name__,
        family=family,
        layers=prepared.identity.layers,
        hidden_size=prepared.identity.hidden_size,
        config_sha256=hashlib.sha256(json.dumps(config.to_diff_dict(), sort_keys=True, default=str).encode()).hexdigest(),
        left_out=tuple(dict.fromkeys((*loaded.left_out, *map(str, anatomy.left_out)))),
        tokenizer_sha256=tokenizer_digest(prepared.tokenizer),
        remote_code=checkpoint.trust_remote_code,
        protocol=settings.protocol,
        corpus=Path(settings.corpus).name if settings.corpus else "builtin",
        corpus_sha256=corpus_digest(digests),
        samples=tuple((s.sample.id, s.sample.category, splits[s.sample.id], len(s)) for s in ordered),
        sample_digests=digests,
        max_seq_len=max_seq_len,
        dtype=loaded.dtype,
        device=str(loaded.device),
        attention=str(getattr(text, "_attn_implementation", None)),
        experts=getattr(text, "_experts_implementation", None) if anatomy.experts else None,
        batching={
            "batch_tokens": settings.batch_tokens,
            "batches": observer.batches,
            "padded_tokens": observer.padded_tokens,
            "out_of_memory": observer.out_of_memory,
            "alone": observer.batches if observer.alone else 0,
        },
        schemes=tuple(scheme.name for scheme in prepared.schemes),
        sampling=observer.stride,
        predicts=prepared.predicts,
        versions={"python": platform.python_version(), **{name: version(name) for name in ("pytest-maxact", "torch", "transformers")}},
    )
