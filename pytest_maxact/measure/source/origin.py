"""The source that an artifact was made from, as a checkpoint: settings in, where it lies and how it is loaded out, once
it is known to be the same model in 16 bits.

Guards that nothing is loaded to be compared with another architecture, vocabulary or tokenizer, and that what is
quantized itself stands for no source.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from pytest_maxact import corpus
from pytest_maxact.checkpoint.digest import weights_digest
from pytest_maxact.checkpoint.formats.quantizers import usual_form
from pytest_maxact.checkpoint.locate import Checkpoint, locate, with_weights
from pytest_maxact.checkpoint.tokenizer import load_tokenizer
from pytest_maxact.corpus.tokens import tokenizer_digest
from pytest_maxact.errors import InputError, setting
from pytest_maxact.measure.prepared import Prepared
from pytest_maxact.numbers.ways import PARALLEL
from pytest_maxact.record.source import Compared
from pytest_maxact.settings.places import expanded
from pytest_maxact.settings.settings import Settings

_SHOWN = 4
_SHAPE = ("model_type", "num_hidden_layers", "hidden_size", "vocab_size", "num_attention_heads", "intermediate_size")
_IN_GGUF = {"mistral": "llama"}
"""Types of model that llama.cpp writes as another one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """A source as it is `located`, and the `settings` that load it."""

    checkpoint: Checkpoint
    settings: Settings

    @property
    def digest(self) -> str:
        return weights_digest(with_weights(self.checkpoint, self.settings))


def origin_of(settings: Settings) -> Origin | None:
    """None where there is no source, or it is given as a Record. Raises InputError."""
    if settings.source is None or expanded(settings.source).is_file():
        return None
    model, revision = settings.source, None
    if not expanded(model).exists() and "@" in model:
        model, _, revision = model.partition("@")
    own = replace(settings, model=model, revision=revision, weights=None, source=None)
    return Origin(checkpoint=locate(own), settings=own)


def refuse_record(settings: Settings) -> None:
    """Raise InputError for a source that is a Record, where nothing is judged: there is nothing to measure against."""
    if settings.source and expanded(settings.source).is_file():
        raise InputError(
            f"{setting('source')} {settings.source}: is a file, and what is measured is held against the checkpoint\n"
            "  give that, or give the Record where the artifact's is judged"
        )


def require_origin(checkpoint: Checkpoint, tokenizer: Any, settings: Settings) -> Any:
    """The tokenizer of the source, where it is not known yet to be the artifact's: a format may hold it in other words,
    and only the corpus tells. None for one that is, and for no source.

    Raises InputError, with both values, for a source that is another model than the artifact, or in low bits itself,
    and for one that cannot be read.
    """
    origin = origin_of(settings)
    if origin is None:
        return None
    where = f"{setting('source')} {settings.source}"
    if settings.shard:
        raise InputError(
            f"{setting('shard')}: what an artifact is against its source does not add up over parts of a corpus\n"
            f"  leave out {setting('source')} here, and compare it on the whole"
        )
    with_weights(origin.checkpoint, origin.settings)
    if origin.checkpoint.quantized:
        raise InputError(
            f"{where}: its weights are quantized themselves ({origin.checkpoint.quantized.words})\n"
            "  give the checkpoint in 16 bits that the artifact was made from"
        )
    own, other = _shape(checkpoint), _shape(origin.checkpoint)
    if checkpoint.gguf:
        other["model_type"] = _IN_GGUF.get(str(other["model_type"]), other["model_type"])
    told = load_tokenizer(
        origin.checkpoint.folder, origin.checkpoint.trust_remote_code, config=origin.checkpoint.config
    )
    own["token"], other["token"] = _first_other(tokenizer, told)
    if differing := [f"{name} ({other[name]} there, {own[name]} here)" for name in own if own[name] != other[name]]:
        raise _another(checkpoint, settings, ", ".join(differing))
    return told if tokenizer_digest(tokenizer) != tokenizer_digest(told) else None


def require_same_ids(
    checkpoint: Checkpoint, settings: Settings, own: Sequence[corpus.Sequence], other: Sequence[corpus.Sequence]
) -> None:
    """Raise InputError, with both values, where the corpus in the tokens of a source, the `other`, is not what it is in
    those of the artifact.
    """
    theirs = {sequence.sample.id: sequence.ids for sequence in other}
    for sequence in own:
        here, there = sequence.ids, theirs[sequence.sample.id]
        if here == there:
            continue
        place = next((at for at, (a, b) in enumerate(zip(here, there, strict=False)) if a != b), len(there))
        place = min(place, len(here))
        said = [" ".join(map(str, ids[place : place + _SHOWN])) or "no more" for ids in (there, here)]
        words = f"the token ids of sample {sequence.sample.called} from {place} on ({said[0]} there, {said[1]} here)"
        raise _another(checkpoint, settings, words)


def _another(checkpoint: Checkpoint, settings: Settings, differing: str) -> InputError:
    return InputError(
        f"{setting('source')} {settings.source} is not what {checkpoint.name} was made from: they differ in "
        f"{differing}\n"
        "  give the checkpoint in 16 bits that the artifact was made from"
    )


def _first_other(own: Any, other: Any) -> tuple[str, str]:
    """The first id that stands for different tokens in two vocabularies, in words of each; empty where there is none.
    One may hold ids that the other lacks, as GGUF fills a vocabulary up.
    """
    here, there = ({place: token.replace("▁", " ") for token, place in one.get_vocab().items()} for one in (own, other))
    first = next((place for place in sorted(here) if there.get(place, here[place]) != here[place]), None)
    return ("", "") if first is None else (f"{first} is {here[first]!r}", f"{first} is {there[first]!r}")


def foreseen(prepared: Prepared, settings: Settings) -> Compared | None:
    """What will be compared with a source, as far as that is known before anything is loaded; None for nothing."""
    if origin_of(settings) is None:
        return None
    files = with_weights(prepared.checkpoint, settings)
    form = usual_form(files.packing) if files.packing else ""
    return Compared(form=form, predicted=not unpredicted(prepared))


def unpredicted(prepared: Prepared) -> str:
    """Why predictions are not compared, as far as that is known before; empty where they are."""
    if not prepared.predicts:
        return prepared.unpredicted or "its architecture has no next-token distribution"
    if prepared.placement and prepared.placement.how == PARALLEL:
        return "ranks hold the model together, and compare none"
    return prepared.unpredicted


def _shape(checkpoint: Checkpoint) -> dict[str, Any]:
    text = checkpoint.config.get_text_config()
    return {name: getattr(checkpoint.config if name == "model_type" else text, name, None) for name in _SHAPE}
