"""From settings to a Record: the live half of the program, and the only road through model, sites, corpus and
observer.
"""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from pytest_maxact import corpus
from pytest_maxact.checkpoint import Checkpoint, locate, weights_digest
from pytest_maxact.corpus.tokens import tokenizer_digest
from pytest_maxact.effect import has_head, is_encoder, measure_effects, require_head
from pytest_maxact.errors import InputError, MeasureError
from pytest_maxact.families import Identity
from pytest_maxact.histogram import Histogram
from pytest_maxact.model import LoadedModel, load, load_tokenizer, pick_device, skeleton
from pytest_maxact.names import Site
from pytest_maxact.observe import Observer, Progress
from pytest_maxact.provenance import provenance_of
from pytest_maxact.reading import Channels, NonFinite, SiteReading
from pytest_maxact.record import KEPT, Effect, Record
from pytest_maxact.schemes.sums import SchemeSums
from pytest_maxact.schemes.table import SCHEMES, Scheme
from pytest_maxact.settings import Settings
from pytest_maxact.sites import Anatomy, resolve
from pytest_maxact.sites.modules import is_linear, sizes
from pytest_maxact.weights import weight_errors

Failing = Callable[[Record], Mapping[str, Sequence[str]]]
"""A Record without effects -> per scheme, the names of the linear inputs at which it fails."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A measurement that has been checked as far as that goes without weights: what `--co` needs, and what a bad
    request fails on.
    """

    checkpoint: Checkpoint
    identity: Identity
    anatomy: Anatomy
    tokenizer: Any
    sequences: tuple[corpus.Sequence, ...]
    max_seq_len: int
    """Tokens after which samples are cut."""

    schemes: tuple[Scheme, ...] = ()
    predicts: bool = True
    """Whether the model has a next-token distribution."""

    @property
    def sites(self) -> list[Site]:
        return self.anatomy.sites


def prepare(settings: Settings, like: Prepared | None = None) -> Prepared:
    """Find the checkpoint, resolve its sites on the meta device, read, choose and encode the corpus. Raises InputError.

    `like`: one prepared under the same settings, whose encoded corpus is taken over where the tokenizer is the same.
    """
    checkpoint = locate(settings)
    pick_device(settings.device)
    source = load_tokenizer(settings.corpus_tokenizer, trust_remote_code=False) if settings.corpus_tokenizer else None
    tokenizer = load_tokenizer(checkpoint.folder, checkpoint.trust_remote_code)
    model = skeleton(checkpoint)
    anatomy = resolve(model, checkpoint.config, settings.linear_inputs)
    schemes = tuple(SCHEMES[name] for name in settings.schemes_measured)
    if settings.effect or (settings.deploy and not is_encoder(checkpoint)):
        require_head(checkpoint)
    if schemes:
        _refuse_quantized(checkpoint)
    _refuse_widths(anatomy, settings)
    _refuse_unread(anatomy, settings)
    sequences = _taken_over(like, tokenizer, anatomy, max_length(settings, checkpoint.config.get_text_config()))
    if sequences is None:
        encoded = encode(corpus.decode(read_corpus(settings), source), tokenizer, anatomy, checkpoint.config, settings)
        budget = settings.max_tokens
        sequences = tuple(corpus.within_token_budget(encoded, budget, settings.seed) if budget is not None else encoded)
    return Prepared(
        checkpoint=checkpoint,
        identity=Identity(
            model_type=checkpoint.config.model_type, layers=anatomy.layers, hidden_size=anatomy.hidden_size
        ),
        anatomy=anatomy,
        tokenizer=tokenizer,
        sequences=sequences,
        max_seq_len=max_length(settings, checkpoint.config.get_text_config()),
        schemes=schemes,
        predicts=has_head(checkpoint),
    )


def _taken_over(
    like: Prepared | None, tokenizer: Any, anatomy: Anatomy, max_seq_len: int
) -> tuple[corpus.Sequence, ...] | None:
    """The encoded corpus of a checkpoint prepared before, where this one's would be the same."""
    if (
        like is None
        or like.checkpoint.trust_remote_code
        or like.max_seq_len != max_seq_len
        or tokenizer_digest(like.tokenizer) != tokenizer_digest(tokenizer)
    ):
        return None
    rows = _vocabulary(anatomy)
    return like.sequences if all(max(sequence.ids) < rows for sequence in like.sequences) else None


def encode(
    samples: Sequence[corpus.Sample], tokenizer: Any, anatomy: Anatomy, config: Any, settings: Settings
) -> list[corpus.Sequence]:  # fmt: skip
    """Samples, as text, in the tokens of a model. Raises InputError for a tokenizer that is not this model's."""
    return corpus.encode(
        samples,
        tokenizer,
        protocol=settings.protocol,
        max_seq_len=max_length(settings, config.get_text_config()),
        vocab_size=_vocabulary(anatomy),
    )


def _vocabulary(anatomy: Anatomy) -> int:
    """Rows of the token embedding."""
    embedding = next(tap.module for tap in anatomy.taps if tap.site.kind == "embedding")
    return int(embedding.weight.shape[0])  # type: ignore[index]


def _refuse_quantized(checkpoint: Checkpoint) -> None:
    """Raise InputError where schemes were asked for and the checkpoint's weights are in low bits already."""
    stated = getattr(checkpoint.config, "quantization_config", None)
    if stated:
        method = stated.get("quant_method") if isinstance(stated, dict) else getattr(stated, "quant_method", None)
        raise InputError(
            f"{checkpoint.name}: its weights are quantized already ({getattr(method, 'value', method)}), so it cannot "
            "be told what a scheme would cost\n"
            "  give the checkpoint in 16 bits, or measure this one without schemes and without --maxact-sites deploy"
        )


def _refuse_widths(anatomy: Anatomy, settings: Settings) -> None:
    """Raise InputError for a scheme that is to be gated, or to run, and cannot quantize a linear layer of this
    model.
    """
    for name in settings.effects_measured:
        for how in (SCHEMES[name].activations, SCHEMES[name].weights):
            for tap in anatomy.linears if how else ():
                if is_linear(tap.module) and how and (reason := how.refuses(sizes(tap.module)[1])):
                    raise InputError(
                        f"{name} cannot quantize {tap.site.module} ({tap.site.name}): {reason}\n"
                        "  choose another scheme; --maxact-schemes reports one without gating or running it"
                    )


def _refuse_unread(anatomy: Anatomy, settings: Settings) -> None:
    """Raise InputError where a scheme is to be gated and matrices as large as a linear layer's are none, and would pass
    unseen.
    """
    unread = [entry for entry in anatomy.left_out if entry.elements >= anatomy.hidden_size**2]
    if unread and any(not SCHEMES[name].cast for name in settings.deploy):
        raise InputError(
            f"--maxact-deploy: {unread[0].what} is {unread[0].why}, so fitness of this architecture cannot be told\n"
            "  --maxact-schemes and --maxact-effect report what is read"
        )


def read_corpus(settings: Settings) -> list[corpus.Sample]:
    """The samples that were asked for: all of a corpus, or its category-proportional subset. Raises InputError."""
    samples = corpus.read_jsonl(Path(settings.corpus)) if settings.corpus else corpus.builtin_samples()
    if settings.max_samples is not None:
        samples = corpus.subset(samples, settings.max_samples, settings.seed)
    corpus.assign_splits(samples)
    return samples


def measure(
    prepared: Prepared,
    settings: Settings,
    family: str | None,
    progress: Progress | None = None,
    failing: Failing = lambda record: {},
    digest: str | None = None,
) -> Record:
    """Load the weights, run one hooked pass over the corpus, and return its Record; then what schemes do to
    predictions, where that was asked for.

    `failing` tells, of what was measured so far, at which sites each scheme fails: the effect is measured once more
    with these in 16 bits. `digest`: that of the weight files, where it is known already. Raises InputError or
    MeasureError; a partial measurement is never returned.
    """
    with ThreadPoolExecutor(1) as background:
        loaded = load(prepared.checkpoint, settings)
        known = background.submit(weights_digest, loaded.folder) if digest is None else None
        record = measure_loaded(
            prepared, settings, loaded, family, lambda: known.result() if known else digest or "", progress
        )
    del loaded
    return replace(record, effects=_effects(prepared, settings, record, failing(record)))


def measure_loaded(
    prepared: Prepared, settings: Settings, loaded: LoadedModel, family: str | None, identify: Callable[[], str],
    progress: Progress | None = None,
) -> Record:  # fmt: skip
    """The Record of a model whose weights are in memory, without effects; `identify` gives what its weights are known
    by.

    Raises InputError or MeasureError; a partial measurement is never returned.
    """
    checkpoint = prepared.checkpoint
    anatomy = resolve(loaded.model, checkpoint.config, settings.linear_inputs, loaded.adapters)
    if anatomy.outline != prepared.anatomy.outline:
        raise _changed(checkpoint, prepared.anatomy, anatomy)
    observer = observe(loaded, anatomy, prepared.sequences, settings.batch_tokens, progress, prepared.schemes)
    seen = readings(observer, prepared.tokenizer)
    if not any(reading.nonfinite for reading in seen.values()):
        _refuse_broken_weights(loaded, anatomy)
    errors = weight_errors(loaded.folder, loaded.model, anatomy.linears, prepared.schemes) if prepared.schemes else {}
    seen = {name: replace(reading, weights=errors.get(name, {})) for name, reading in seen.items()}
    return Record(
        provenance=provenance_of(prepared, settings, loaded, anatomy, observer, family, identify()), sites=seen
    )


def _effects(
    prepared: Prepared, settings: Settings, record: Record, failing: Mapping[str, Sequence[str]]
) -> dict[str, Effect]:
    """What schemes do to predictions, and, as `W8A8 kept`, what they do with the sites at which they fail in 16
    bits.
    """
    if (
        not prepared.predicts
        or not settings.effects_measured
        or any(reading.nonfinite for reading in record.sites.values())
    ):
        return {}
    schemes = [SCHEMES[name] for name in settings.effects_measured]
    common = (prepared.checkpoint, settings)
    alone = record.provenance.batching["alone"] > 0
    found = measure_effects(*common, schemes, record.sites, prepared.sequences, alone=alone)
    mended = [scheme for scheme in schemes if scheme.name in failing]
    if mended:
        again = measure_effects(*common, mended, record.sites, prepared.sequences, kept=failing, alone=alone)
        found |= {name + KEPT: effect for name, effect in again.items()}
    return found


def _refuse_broken_weights(loaded: LoadedModel, anatomy: Anatomy) -> None:
    """Raise MeasureError for a NaN or an infinity in a layer's weights that no token of the corpus met, as in an expert
    none was routed to.

    Rows of the token embedding are left alone: those of tokens that do not occur may never have been trained.
    """
    modules = {tap.site.module: tap.module for tap in anatomy.taps if tap.site.kind in ("hidden", "final_norm")}
    tensors = {
        f"{path}.{name}": tensor for path, module in modules.items() for name, tensor in module.state_dict().items()
    }
    for name, tensor in tensors.items():
        if not tensor.is_floating_point() or not tensor.numel():
            continue
        low, high = (tensor.float() if tensor.itemsize == 1 else tensor).aminmax()
        if not (torch.isfinite(low) and torch.isfinite(high)):
            raise MeasureError(
                f"{name} holds a NaN or an infinity, which no token of the corpus met\n"
                "  the checkpoint is broken where this corpus does not lead; train or export it again"
            )


def _changed(checkpoint: Checkpoint, built: Anatomy, loaded: Anatomy) -> MeasureError:
    differing = sorted(set(built.outline) ^ set(loaded.outline))
    return MeasureError(
        f"{checkpoint.name}: loading its weights changed the modules that are observed, the first {differing[0]}\n"
        "  weights packed by a quantization library cannot be measured; give the checkpoint before it was quantized"
    )


def observe(
    loaded: LoadedModel,
    anatomy: Anatomy,
    sequences: Sequence[corpus.Sequence],
    batch_tokens: int,
    progress: Progress | None = None,
    schemes: Sequence[Scheme] = (),
) -> Observer:
    """One hooked pass over encoded samples, finished and checked."""
    splits = corpus.assign_splits([sequence.sample for sequence in sequences])
    observer = Observer(loaded.decoder, anatomy, schemes)
    with observer.attached():
        observer.run(corpus.plan_batches(sequences, splits, batch_tokens), loaded.device, progress)
    observer.finish()
    return observer


def readings(observer: Observer, tokenizer: Any) -> dict[str, SiteReading]:
    """What a finished observer saw, site by site in depth order, tokens as text."""
    sums = observer.fidelity.sums
    return {
        site.name: _reading(
            site, observer, tokenizer, {name: found for (where, name), found in sums.items() if where == site.name}
        )
        for site in observer.anatomy.sites
    }


def _reading(site: Site, observer: Observer, tokenizer: Any, schemes: Mapping[str, SchemeSums]) -> SiteReading:
    seen = observer.accumulators[site.name]
    traffic = observer.traffic.get(site.name)

    def text(token_id: int) -> str:
        return str(tokenizer.decode([token_id])) if token_id >= 0 else ""

    first = seen.first_nonfinite
    reading = SiteReading(
        site=site,
        dtype=seen.dtype,
        width=max(seen.widths.values()),
        calibration=Histogram.from_dense(seen.encoding, seen.dense_counts("calibration")),
        evaluation=Histogram.from_dense(seen.encoding, seen.dense_counts("evaluation")),
        peaks=tuple(replace(peak, token=text(peak.token_id)) for peak in seen.peaks),
        massive=seen.massive if seen.tests_massive else None,
        first_nonfinite=(
            NonFinite(sample=first.sample, position=first.position, token=text(first.token_id), channel=first.channel)
            if first
            else None
        ),
        schemes=schemes,
        channels=Channels(parts) if (parts := _channels(site, observer)) else None,
        shared={
            weight.removesuffix(".weight"): observer.shared.get((site.name, tap.part), tap.part)
            for tap in observer.anatomy.linears
            if tap.site.name == site.name
            for weight in tap.weights
        },
        expert_tokens=tuple(torch.stack(list(traffic.values())).sum(0).tolist()) if traffic else None,
    )
    binned = torch.tensor(reading.finite_max).to(getattr(torch, seen.encoding)).item()
    if not reading.nonfinite and binned != reading.histogram.max_abs:
        raise MeasureError(
            f"{site.name}: its largest entry {reading.finite_max} is not its histogram's {reading.histogram.max_abs}\n"
            "  please report the model_type"
        )
    return reading


def _channels(site: Site, observer: Observer) -> dict[str, Any]:
    found = observer.fidelity.channels.items()
    return {part: amax.float().cpu().numpy() for (where, part), amax in found if where == site.name}


def max_length(settings: Settings, text_config: Any) -> int:
    """Tokens after which a sample is cut: what was asked for, at most what the model has positions for."""
    positions = getattr(text_config, "max_position_embeddings", None)
    return (
        min(settings.max_seq_len, positions) if isinstance(positions, int) and positions > 0 else settings.max_seq_len
    )
