"""Where a Record comes from: everything that decides whether it may be compared with another."""

import hashlib
import json
import platform
from collections.abc import Iterable
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from pytest_maxact import corpus
from pytest_maxact.checkpoint.device import forced_dtype, pick_device
from pytest_maxact.checkpoint.load import LoadedModel
from pytest_maxact.checkpoint.locate import Checkpoint
from pytest_maxact.checkpoint.quantized import stored_as
from pytest_maxact.checkpoint.seal import Seal
from pytest_maxact.checkpoint.sites.anatomy import Anatomy, vocabulary
from pytest_maxact.checkpoint.stated import dtype_of_files, rowless
from pytest_maxact.corpus.tokens import template_date, tokenizer_digest, tokens_digest
from pytest_maxact.measure.arithmetic import accumulated, arithmetic_of
from pytest_maxact.measure.context import context_of
from pytest_maxact.measure.low_bits import low_bits_of
from pytest_maxact.measure.observe.observer import Observer
from pytest_maxact.measure.source.origin import origin_of
from pytest_maxact.record.comparability import Footing
from pytest_maxact.record.provenance import Provenance, Stopped, corpus_digest, splits_digest
from pytest_maxact.record.record import METRIC_VERSION
from pytest_maxact.settings.settings import Settings

if TYPE_CHECKING:
    from pytest_maxact.measure.prepared import Prepared


def provenance_of(
    prepared: "Prepared", settings: Settings, loaded: LoadedModel, anatomy: Anatomy,
    observer: Observer, family: str | None, weights: str, stopped: Stopped | None = None,
) -> Provenance:  # fmt: skip
    """Of one finished pass; `weights` is the digest of the files; `stopped`: whether it ended before all ran."""
    checkpoint, config = prepared.checkpoint, prepared.checkpoint.config
    splits = corpus.assign_splits([sequence.sample for sequence in prepared.whole])
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
        config_sha256=_config_digest(checkpoint),
        left_out=_left_out(prepared, loaded, anatomy),
        tokenizer_sha256=tokenizer_digest(prepared.tokenizer),
        remote_code=checkpoint.trust_remote_code,
        protocol=settings.protocol,
        corpus=_corpus_name(settings),
        corpus_sha256=corpus_digest(digests),
        samples=tuple((s.sample.id, s.sample.category, splits[s.sample.id], len(s)) for s in ordered),
        sample_digests=digests,
        text_digests=tuple(sequence.sample.text_digest for sequence in ordered),
        max_seq_len=prepared.max_seq_len,
        dtype=loaded.dtype,
        remarks=prepared.remarks,
        stored=stored_as(loaded.files, loaded.dtype) if loaded.files else "",
        low_bits=low_bits_of(loaded.files),
        device=str(loaded.device),
        arithmetic=_arithmetic(prepared, settings, loaded.device, loaded.dtype),
        attention=str(getattr(text, "_attn_implementation", None)),
        experts=getattr(text, "_experts_implementation", None) if anatomy.experts else None,
        batching={
            "batch_tokens": prepared.batch_tokens or settings.batch_tokens,
            "batches": observer.batches,
            "padded_tokens": observer.padded_tokens,
            "out_of_memory": observer.out_of_memory,
            "alone": observer.kept_apart,
        },
        schemes=tuple(scheme.name for scheme in prepared.schemes),
        sampling=observer.stride,
        predicts=prepared.predicts,
        deployed=prepared.deployed,
        tokens_sha256=tokens_digest(prepared.sequences),
        template_date=template_date(prepared.tokenizer, settings.protocol),
        context=context_of(prepared.sequences if stopped else prepared.whole, text),
        stopped=stopped,
        placement=prepared.placement.stated if prepared.placement else "",
        shard=settings.shard,
        versions=_versions(),
    )


def expected_footing(prepared: "Prepared", settings: Settings) -> Footing:
    """What a measurement will stand on, as far as that is known before the model is loaded."""
    dtype = _expected_dtype(prepared, settings)
    device = _device(prepared, settings)
    return Footing(
        corpus_sha256=corpus_digest(sequence.sample.digest for sequence in prepared.sequences),
        tokenizer_sha256=tokenizer_digest(prepared.tokenizer),
        protocol=settings.protocol,
        dtype=dtype,
        arithmetic=None if dtype is None else _arithmetic(prepared, settings, device, dtype),
        max_seq_len=prepared.max_seq_len,
        tokens_sha256=tokens_digest(prepared.sequences),
        splits_sha256=_splits_digest(prepared),
    )


def content_of(
    prepared: "Prepared", settings: Settings, weights: str, bounds: Iterable[tuple[str, float]]
) -> dict[str, Any]:
    """Everything that decides a Record's figures, as plain data: two measurements of equal content give equal Records.

    `weights`: the digest of the files. `bounds`: those of the schemes whose effect is measured, which decide what is
    kept in 16 bits then.
    """
    ids = hashlib.sha256()
    for sequence in sorted(prepared.sequences, key=lambda sequence: sequence.sample.id):
        ids.update(
            json.dumps([sequence.sample.id, sequence.sample.category, sequence.sample.digest, sequence.ids]).encode()
        )
    device, text = _device(prepared, settings), prepared.checkpoint.config.get_text_config()
    return {
        **asdict(expected_footing(prepared, settings)),
        "metric_version": METRIC_VERSION,
        "weights_scanned": True,
        "weights_sha256": weights,
        "config_sha256": _config_digest(prepared.checkpoint),
        "index": _file_digest(prepared.checkpoint.folder / "model.safetensors.index.json"),
        # what the digest of a config leaves out
        "attention": str(getattr(text, "_attn_implementation", None)),
        "experts": str(getattr(text, "_experts_implementation", None)),
        "remote_code": prepared.checkpoint.trust_remote_code,
        "corpus": _corpus_name(settings),
        "sequences_sha256": ids.hexdigest(),
        "shard": settings.shard,
        "template_date": template_date(prepared.tokenizer, settings.protocol),
        "batch_tokens": prepared.batch_tokens or settings.batch_tokens,
        "dtype_asked": settings.dtype,
        "accumulated": sorted(map(str, accumulated(settings.arithmetic, device))),
        "device": str(device) if device.type == "cpu" else f"{device} {torch.cuda.get_device_name(device)}",
        "linear_inputs": settings.linear_inputs,
        "attention_sites": settings.attention,
        **({"scaled": True} if prepared.anatomy.scaled else {}),
        "schemes": [scheme.name for scheme in prepared.schemes],
        "effects": list(settings.effects_measured),
        "repeat": settings.repeat,
        **(
            {"until_saturated": [settings.until_saturated, settings.seed, *prepared.watched]}
            if settings.until_saturated
            else {}
        ),
        **({"stress": [True, settings.seed]} if settings.stress else {}),
        **({"hunt": [*settings.hunt, settings.hunt_seconds, settings.seed]} if settings.hunt else {}),
        "bounds": sorted([name, bound] for name, bound in bounds) if settings.effects_measured else [],
        "versions": _versions(),
        **({"source": origin.digest} if (origin := origin_of(settings)) else {}),
    }


def content_of_pass(prepared: "Prepared", settings: Settings, weights: str, seal: Seal | None) -> dict[str, Any]:
    """Everything that decides what a pass gathers, bit for bit, as plain data: the digest of its weights, or, where
    that is not known yet, its files as they lie there now; the corpus of which a part may run, the samples as they are
    deployed, and the threads and the kind of processor over which sums are spread.
    """
    return {
        **content_of(prepared, replace(settings, source=None), weights, ()),
        "files": [] if weights or seal is None else seal.known_by,
        "whole": tokens_digest(prepared.whole),
        "beside": tokens_digest(prepared.beside),
        "processor": [torch.backends.cpu.get_cpu_capability(), torch.get_num_threads()],
    }


def _arithmetic(prepared: "Prepared", settings: Settings, device: torch.device, dtype: str) -> str:
    """What decides the last bits of products: those that ranks add up are rounded once on each."""
    how = arithmetic_of(settings.arithmetic, device, dtype)
    placement = prepared.placement
    return f"{how}, {placement.stated}" if placement and placement.ranks > 1 else how


def _splits_digest(prepared: "Prepared") -> str:
    """The splits of what runs, as they are drawn of the whole text."""
    splits = corpus.assign_splits([sequence.sample for sequence in prepared.whole])
    return splits_digest((one.sample.digest, splits[one.sample.id]) for one in prepared.sequences)


def _device(prepared: "Prepared", settings: Settings) -> torch.device:
    """The device that computes."""
    return torch.device(prepared.placement.device) if prepared.placement else pick_device(settings.device)


def _left_out(prepared: "Prepared", loaded: LoadedModel, anatomy: Anatomy) -> tuple[str, ...]:
    told = (*loaded.left_out, *map(str, anatomy.left_out), *rowless(prepared.tokenizer, vocabulary(anatomy)))
    return tuple(dict.fromkeys(told))


def _expected_dtype(prepared: "Prepared", settings: Settings) -> str | None:
    if forced := forced_dtype(settings.dtype):
        return str(forced).removeprefix("torch.")
    return prepared.dtype or dtype_of_files(prepared.checkpoint.config, None)


def _file_digest(path: Path) -> str | None:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None


def _config_digest(checkpoint: Checkpoint) -> str:
    said = dict(checkpoint.config.to_diff_dict())
    if checkpoint.quantized:
        said["quantization_config"] = dict(checkpoint.quantized.entries)
    return hashlib.sha256(json.dumps(said, sort_keys=True, default=str).encode()).hexdigest()


def _corpus_name(settings: Settings) -> str:
    return Path(settings.corpus).name if settings.corpus else "builtin"


def _versions() -> dict[str, str]:
    return {
        "python": platform.python_version(),
        **{name: version(name) for name in ("pytest-maxact", "torch", "transformers")},
    }
