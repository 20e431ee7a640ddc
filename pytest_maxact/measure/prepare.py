"""From settings to a measurement that can be made: checkpoint, sites and encoded corpus, before any weights load."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pytest_maxact import corpus
from pytest_maxact.checkpoint.device import forced_dtype, pick_device
from pytest_maxact.checkpoint.fit import refuse_unfit
from pytest_maxact.checkpoint.heads import has_head, is_encoder
from pytest_maxact.checkpoint.load import skeleton
from pytest_maxact.checkpoint.locate import Checkpoint, locate, weights_are_here, with_weights
from pytest_maxact.checkpoint.sites.anatomy import Anatomy, vocabulary
from pytest_maxact.checkpoint.stated import dtype_of_files, remarks_of
from pytest_maxact.checkpoint.tokenizer import load_tokenizer
from pytest_maxact.corpus.batches import batches_of
from pytest_maxact.corpus.tokens import tokenizer_digest
from pytest_maxact.errors import InputError, setting
from pytest_maxact.measure.arithmetic import accumulated
from pytest_maxact.measure.context import positions_of, require_context
from pytest_maxact.measure.deployed import beside
from pytest_maxact.measure.effect.effects import require_head
from pytest_maxact.measure.low_bits import calls_of
from pytest_maxact.measure.planning import is_quantized, planned, refuse_auto_parts, refuse_unparallel
from pytest_maxact.measure.prepared import Prepared
from pytest_maxact.measure.ranks.place import place_of
from pytest_maxact.measure.ranks.room import rooms_for
from pytest_maxact.measure.ranks.widths import whole_widths
from pytest_maxact.measure.saturating import refuse_saturating
from pytest_maxact.measure.scaled import observed
from pytest_maxact.measure.shapes import refuse_shapes
from pytest_maxact.measure.source.origin import require_origin, require_same_ids
from pytest_maxact.measure.stream.refused import refuse_asked
from pytest_maxact.measure.trials import refuse_trials
from pytest_maxact.numbers.schemes import SCHEMES, Scheme
from pytest_maxact.numbers.ways import PARALLEL
from pytest_maxact.record.identity import Identity
from pytest_maxact.record.static import are_held
from pytest_maxact.settings.settings import Settings


def prepare(settings: Settings, like: Prepared | None = None) -> Prepared:
    """Find the checkpoint, resolve its sites on the meta device, read, choose and encode the corpus. Raises InputError.

    `like`: one prepared under the same settings, whose encoded corpus is taken over where the tokenizer is the same.
    """
    checkpoint = locate(settings)
    accumulated(settings.arithmetic, pick_device(settings.device))
    here = place_of()
    refuse_auto_parts(settings, here is not None)
    refuse_asked(checkpoint.quantized is not None, settings)
    source = load_tokenizer(settings.corpus_tokenizer, trust_remote_code=False) if settings.corpus_tokenizer else None
    tokenizer = load_tokenizer(
        checkpoint.folder, checkpoint.trust_remote_code, config=checkpoint.config, gguf=checkpoint.gguf
    )
    other = require_origin(checkpoint, tokenizer, settings)
    built = skeleton(checkpoint)
    files = with_weights(checkpoint, settings) if weights_are_here(checkpoint) else None
    if files:
        refuse_unfit(built.whole, files)
    refuse_unparallel(built.whole, settings, here, is_quantized(built.whole, files))
    anatomy = observed(built.body, checkpoint, settings)
    refuse_trials(settings, anatomy.asked, here is not None)
    schemes = schemes_of(checkpoint, settings)
    refuse_saturating(settings, here is not None, schemes)
    if settings.effect or (settings.deploy and not is_encoder(checkpoint)):
        require_head(checkpoint)
    _refuse_what_schemes_cannot(built.body, anatomy, settings)
    sequences = _taken_over(like, tokenizer, anatomy, max_length(settings, checkpoint.config.get_text_config()))
    if sequences is None:
        samples = corpus.decode(read_corpus(settings), source, tokenizer_digest(tokenizer))
        sequences = _within_budget(encode(samples, tokenizer, anatomy, checkpoint.config, settings), settings)
    _require_same_ids(other, sequences, checkpoint, anatomy, settings)
    dtype = dtype_of_files(checkpoint.config, files)
    static, widened = (are_held(calls_of(checkpoint), one.sites) for one in (anatomy, anatomy.asked))
    placement, batch_tokens = planned(
        built.whole, anatomy, _dtype(settings, dtype), settings, max(map(len, sequences), default=1), schemes, files,
        rooms_for(settings.device, here), here, static,
    )  # fmt: skip
    settings = replace(settings, batch_tokens=batch_tokens)
    longest = max_length(settings, checkpoint.config.get_text_config())
    deployed, extra = beside(sequences, tokenizer, settings.protocol, longest, vocabulary(anatomy))
    return Prepared(
        checkpoint=checkpoint,
        identity=_identity(checkpoint, anatomy, static),
        anatomy=anatomy,
        tokenizer=tokenizer,
        sequences=of_part(sequences, settings, schemes),
        whole=sequences,
        max_seq_len=longest,
        schemes=schemes,
        deployed=deployed if schemes or widened else replace(deployed, samples=0, tokens=0),
        beside=extra if schemes or static else (),
        predicts=has_head(checkpoint),
        dtype=dtype,
        remarks=tuple(remarks_of(built.whole, files)) if files else (),
        unpredicted=built.unpredicted,
        placement=placement,
        batch_tokens=batch_tokens,
        widths=whole_widths(checkpoint, settings, sequences[0]) if settings.device == PARALLEL else {},
    )


def _require_same_ids(
    other: Any, sequences: Sequence[corpus.Sequence], checkpoint: Checkpoint, anatomy: Anatomy, settings: Settings
) -> None:  # fmt: skip
    """Raise InputError where another tokenizer, of the source, makes other ids of the corpus; None makes the same."""
    if other is not None:
        theirs = encode([one.sample for one in sequences], other, anatomy, checkpoint.config, settings)
        require_same_ids(checkpoint, settings, sequences, theirs)


def _within_budget(encoded: list[corpus.Sequence], settings: Settings) -> tuple[corpus.Sequence, ...]:
    budget = settings.max_tokens
    return tuple(corpus.within_token_budget(encoded, budget, settings.seed) if budget is not None else encoded)


def _dtype(settings: Settings, of_files: str | None) -> str:
    """The dtype that will be measured in; where nothing states one, the one that transformers loads in."""
    return str(forced_dtype(settings.dtype) or of_files or "float32").removeprefix("torch.")


def _identity(checkpoint: Checkpoint, anatomy: Anatomy, static: bool) -> Identity:
    return Identity(
        model_type=checkpoint.config.model_type, layers=anatomy.layers, hidden_size=anatomy.hidden_size,
        quantized=checkpoint.quantized is not None, static=static,
    )  # fmt: skip


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
    rows = vocabulary(anatomy)
    return like.whole if all(max(sequence.ids) < rows for sequence in like.whole) else None


def of_part(
    whole: tuple[corpus.Sequence, ...], settings: Settings, schemes: Sequence[Scheme] = ()
) -> tuple[corpus.Sequence, ...]:  # fmt: skip
    """The sequences of the batches that are measured here, all where no part was asked for. Raises InputError for more
    parts than there are batches.
    """
    if settings.shard is None:
        return whole
    if settings.effects_measured:
        raise InputError(
            f"{setting('shard')}: the effect of a scheme on predictions does not add up over parts of a corpus\n"
            f"  leave out {setting('effect')} and {setting('deploy')} here, and measure it on the whole"
        )
    if static := [scheme.name for scheme in schemes if scheme.needs_calibration]:
        raise InputError(
            f"{setting('shard')}: {', '.join(static)} takes its scales from the calibration samples of all parts\n"
            f"  name schemes without with {setting('schemes')}, or measure all of the corpus at once"
        )
    plan = corpus.plan_batches(
        whole, corpus.assign_splits([sequence.sample for sequence in whole]), settings.batch_tokens
    )
    mine = batches_of(plan, settings.shard)
    if not mine:
        raise InputError(
            f"{setting('shard')} {settings.shard}: this corpus makes {len(plan)} batches of "
            f"{settings.batch_tokens} tokens, so it has {len(plan)} parts at most\n"
            f"  ask for fewer parts, or lower {setting('batch_tokens')}"
        )
    return tuple(sequence for batch in mine for sequence in batch.sequences)


def encode(
    samples: Sequence[corpus.Sample], tokenizer: Any, anatomy: Anatomy, config: Any, settings: Settings
) -> list[corpus.Sequence]:  # fmt: skip
    """Samples, as text, in the tokens of a model. Raises InputError for a tokenizer that is not this model's."""
    text = config.get_text_config()
    sequences = corpus.encode(
        samples,
        tokenizer,
        protocol=settings.protocol,
        max_seq_len=max_length(settings, text),
        vocab_size=vocabulary(anatomy),
    )
    require_context(sequences, text, tokenizer)
    return sequences


def schemes_of(checkpoint: Checkpoint, settings: Settings) -> tuple[Scheme, ...]:
    """The schemes that the pass quantizes with: of a checkpoint whose weights are in low bits already those of the
    cache alone. Raises InputError where another was asked for there.
    """
    if checkpoint.quantized and any(SCHEMES[name].is_of_linears for name in settings.schemes_named):
        raise InputError(
            f"{checkpoint.name}: its weights are quantized already ({checkpoint.quantized.method}), so it cannot be "
            "told what a scheme would cost\n"
            "  give the checkpoint in 16 bits, or measure this one without schemes"
        )
    schemes = tuple(SCHEMES[name] for name in settings.schemes_measured)
    return tuple(scheme for scheme in schemes if not (checkpoint.quantized and scheme.is_of_linears))


def _refuse_what_schemes_cannot(model: Any, anatomy: Anatomy, settings: Settings) -> None:
    refuse_shapes(model, anatomy, settings)
    _refuse_unread(anatomy, settings)


def _refuse_unread(anatomy: Anatomy, settings: Settings) -> None:
    """Raise InputError where a scheme is to be gated and matrices as large as a linear layer's are none, and would pass
    unseen.
    """
    unread = [entry for entry in anatomy.left_out if entry.elements >= anatomy.hidden_size**2]
    if unread and any(not SCHEMES[name].cast for name in settings.deploy):
        raise InputError(
            f"{setting('deploy')}: {unread[0].what} is {unread[0].why}, so fitness of this architecture "
            "cannot be told\n"
            f"  {setting('schemes')} and {setting('effect')} report what is read"
        )


def read_corpus(settings: Settings) -> list[corpus.Sample]:
    """The samples that were asked for: all of a corpus, or its category-proportional subset. Raises InputError."""
    samples = corpus.read_jsonl(Path(settings.corpus)) if settings.corpus else corpus.builtin_samples()
    if settings.max_samples is not None:
        samples = corpus.subset(samples, settings.max_samples, settings.seed)
    corpus.assign_splits(samples)
    return samples


def max_length(settings: Settings, text_config: Any) -> int:
    """Tokens after which a sample is cut: what was asked for, at most what the model has positions for."""
    return min(settings.max_seq_len, positions_of(text_config) or settings.max_seq_len)
