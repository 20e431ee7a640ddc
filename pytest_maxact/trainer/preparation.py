"""All that is found out of a training run before its first step: whether it can be measured, on which samples, by which
limits.
"""

import copy
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pytest_maxact import corpus
from pytest_maxact.checkpoint.heads import has_head, no_head_of
from pytest_maxact.checkpoint.locate import Checkpoint
from pytest_maxact.checkpoint.sites.resolve import resolve
from pytest_maxact.checkpoint.tokenizer import load_tokenizer
from pytest_maxact.corpus.tokens import tokenizer_digest, tokens_digest
from pytest_maxact.errors import InputError, MeasureError
from pytest_maxact.judge.limits.attention import with_attention
from pytest_maxact.judge.limits.behaviour import with_behaviour
from pytest_maxact.judge.limits.file import LimitsFile, load_limits
from pytest_maxact.judge.limits.rules import Ruleset, require_protocol, select_rules, with_baseline
from pytest_maxact.measure.arithmetic import arithmetic_of
from pytest_maxact.measure.effect.headed import Headed
from pytest_maxact.measure.predict import head_of
from pytest_maxact.measure.prepare import encode, max_length, read_corpus
from pytest_maxact.measure.prepared import Prepared
from pytest_maxact.numbers.sites import Site
from pytest_maxact.record.comparability import Footing, differences, footing_of
from pytest_maxact.record.file import RECORD, load
from pytest_maxact.record.identity import Identity
from pytest_maxact.record.output import require_place
from pytest_maxact.record.provenance import corpus_digest, splits_digest
from pytest_maxact.record.record import Record
from pytest_maxact.settings.settings import Settings
from pytest_maxact.trainer.live import as_loaded, is_remote, refuse_attention, undisturbed, unwrapped
from pytest_maxact.trainer.logged import SECONDS, is_of, logged_by
from pytest_maxact.trainer.sample import samples_of

FIRST = "the first measurement of this run"
_RECORD = re.compile(r"checkpoint-(\d+)\.maxact\.safetensors")


@dataclass(frozen=True, slots=True, kw_only=True)
class Preparation:
    """`prepared` holds the samples that were asked for, or, where `chosen`, those that an earlier Record was measured
    on.

    `headed`: what its predictions are told by, None where that is not known. `limits`: those of the family; `changes`:
    these and the relative ones, None where no limits file states any. `reference`: what they refer to by the name
    `against`, None where that is yet to be measured. `first`: the run's first Record, where it was resumed. `seconds`:
    what encoding took.
    """

    settings: Settings
    prepared: Prepared
    headed: Headed | None
    chosen: bool
    limits: Ruleset
    changes: Ruleset | None
    against: str
    reference: Record | None
    first: Record | None
    seconds: float


def prepare_run(trainer: Any, settings: Settings, baseline: Path | None, state: Any) -> Preparation:
    """Check a training run before its first step. Raises InputError for whatever would keep it from being measured or
    judged.
    """
    folder = Path(trainer.args.output_dir)
    require_place(record_path(folder, 0), RECORD, own=folder)
    for place in filter(lambda place: _RECORD.fullmatch(place.name), sorted(folder.iterdir())):
        require_place(place, RECORD, own=folder)
    against = f"baseline {baseline}" if baseline else FIRST
    reference = _baseline(baseline, folder, state) if baseline else None
    earlier = _first_of(state, folder)
    beside = earlier or _beside(state, folder) or ("", None)
    fixed = {name: record for name, record in ((against, reference), beside) if record is not None}
    model = unwrapped(trainer)
    loaded = as_loaded(model)
    refuse_attention(model, loaded.dtype)
    anatomy = resolve(loaded.model, model.config, adapters=loaded.adapters)
    checkpoint = _checkpoint(folder, model)
    identity = Identity(model_type=model.config.model_type, layers=anatomy.layers, hidden_size=anatomy.hidden_size)
    files = load_limits(Path(settings.limits) if settings.limits else None)
    limits = _limits(files, identity, anatomy.sites, settings)
    wanted = baseline is not None or any(file.document.regression for file in files)
    tokenizer = _tokenizer(trainer)
    start = time.perf_counter()
    samples = _samples(settings, fixed, tokenizer)
    sequences = encode(samples, tokenizer, anatomy, model.config, settings)
    splits = corpus.assign_splits(samples)
    seconds = time.perf_counter() - start
    headed, untold = _head(model, checkpoint, sequences)
    limits = with_behaviour(limits, files, anatomy.sites, predicted=not untold, probed=True)
    limits = with_attention(limits, files, anatomy.sites)
    here = Footing(
        corpus_sha256=corpus_digest(sample.digest for sample in samples),
        tokenizer_sha256=tokenizer_digest(tokenizer),
        protocol=settings.protocol,
        dtype=loaded.dtype,
        arithmetic=arithmetic_of(settings.arithmetic, loaded.device, loaded.dtype),
        max_seq_len=max_length(settings, model.config.get_text_config()),
        tokens_sha256=tokens_digest(sequences),
        splits_sha256=splits_digest((sample.digest, splits[sample.id]) for sample in samples),
    )
    for name, record in fixed.items():
        _require_comparable(name, record, here, anatomy.sites)
    prepared = Prepared(
        checkpoint=checkpoint, identity=identity, anatomy=anatomy, tokenizer=tokenizer, sequences=tuple(sequences),
        whole=tuple(sequences), max_seq_len=max_length(settings, model.config.get_text_config()),
        predicts=has_head(checkpoint), unpredicted=untold,
    )  # fmt: skip
    return Preparation(
        settings=settings,
        prepared=prepared,
        headed=headed,
        chosen=bool(fixed),
        limits=limits,
        changes=_changes(limits, files, anatomy.sites, against, reference) if wanted else None,
        against=against,
        reference=reference,
        first=earlier[1] if earlier else None,
        seconds=seconds,
    )


def _checkpoint(folder: Path, model: Any) -> Checkpoint:
    return Checkpoint(
        name=folder.name,
        folder=folder,
        revision=None,
        config=model.config,
        trust_remote_code=is_remote(model),
        is_hub=False,
    )


def _head(model: Any, checkpoint: Checkpoint, sequences: Sequence[corpus.Sequence]) -> tuple[Headed | None, str]:
    """What predictions are told by while the model trains; None, and why, where nothing does. A model whose forward
    pass fails has to show that in a measurement.
    """
    if why := no_head_of(model, checkpoint):
        return None, why
    loaded = as_loaded(model)
    try:
        with undisturbed(loaded):
            return head_of(loaded, sequences)
    except MeasureError:
        return None, ""


def _limits(files: Sequence[LimitsFile], identity: Identity, sites: Sequence[Site], settings: Settings) -> Ruleset:
    limits = select_rules(files, identity, sites, settings.family)
    require_protocol(settings.protocol, limits)
    return limits


def _changes(
    limits: Ruleset, files: Sequence[LimitsFile], sites: Sequence[Site], against: str, reference: Record | None
) -> Ruleset:
    """The limits with those on what changes; a reference that is yet to be measured will tell all of it."""
    return with_baseline(
        limits,
        files,
        sites,
        (),
        against,
        probed=reference is None or reference.is_probed,
        slim=reference is not None and reference.is_summary,
    )


def step_name(step: int) -> str:
    """What the model at a step is called, as the folder is that the Trainer saves it to."""
    return f"checkpoint-{step}"


def record_path(folder: Path, step: int) -> Path:
    """Where the Record of a step lies: beside the checkpoint's folder, inside which it would be taken for weights."""
    return folder / f"{step_name(step)}.maxact.safetensors"


def _first_of(state: Any, folder: Path) -> tuple[str, Record] | None:
    """The earliest Record of a run that was resumed, of those still there, by the run's own log: what it says of the
    step is what the Record holds.
    """
    for step, entry in logged_by(state).items():
        path = record_path(folder, step)
        if SECONDS in entry and path.is_file() and is_of(record := load(path), entry):
            return f"the Record {path}", record
    return None


def _beside(state: Any, folder: Path) -> tuple[str, Record] | None:
    """What lies beside the checkpoint that a run is resumed from, whose own measurement its log does not have: it says
    which samples to read, and nothing of the weights.
    """
    path = record_path(folder, state.global_step)
    return (f"the Record {path}", load(path)) if state.global_step and path.is_file() else None


def _baseline(path: Path, folder: Path, state: Any) -> Record:
    """The Record at `path`. Raises InputError for one that the run would write over."""
    named, last = _RECORD.fullmatch(path.name), max(logged_by(state), default=0)
    if named and int(named[1]) > last and path.resolve().parent == folder.resolve():
        raise InputError(
            f"the baseline {path} lies where this run writes its own Record of step {named[1]}\n"
            "  copy it to another folder"
        )
    return load(path)


def _samples(settings: Settings, fixed: Mapping[str, Record], tokenizer: Any) -> list[corpus.Sample]:
    """The samples of the Records that the run is to be compared with; without any, those that were asked for."""
    source = load_tokenizer(settings.corpus_tokenizer, trust_remote_code=False) if settings.corpus_tokenizer else None
    asked = read_corpus(replace(settings, max_samples=None) if fixed else settings)
    samples = corpus.decode(asked, source, tokenizer_digest(tokenizer))
    for name, record in fixed.items():
        return samples_of(record, name, samples)
    return samples


def _tokenizer(trainer: Any) -> Any:
    """A copy of the run's tokenizer: its own is set to truncate and to pad by whoever used it last, which would be
    taken for another tokenizer.
    """
    given = trainer.processing_class
    tokenizer = given if hasattr(given, "get_vocab") else getattr(given, "tokenizer", None)
    if not hasattr(tokenizer, "get_vocab"):
        what = (
            f"{type(given).__name__} as its processing_class, which is no tokenizer"
            if given is not None
            else "no processing_class"
        )
        raise InputError(
            f"the Trainer has {what}, so no text can be measured\n"
            "  give it the model's: Trainer(..., processing_class=tokenizer)"
        )
    return copy.deepcopy(tokenizer)


def _require_comparable(name: str, record: Record, here: Footing, sites: Sequence[Site]) -> None:
    """Raise InputError where a Record was not measured as this run will be."""
    if differing := differences(footing_of(record.provenance), here):
        raise InputError(
            f"{name} was not measured as this run would be; they differ in {', '.join(differing)}\n"
            "  measure it again as this run would be, or do without it"
        )
    lacking = [site.name for site in sites if site.name not in record.sites]
    if lacking:
        raise InputError(
            f"{name} is of another model: it has no site {lacking[0]}\n  give a Record of this architecture"
        )
