"""What one pass saw, to its Record: the same whether the model was in memory as a whole or layer by layer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from pytest_maxact import corpus
from pytest_maxact.checkpoint.artifact import artifact_digests
from pytest_maxact.checkpoint.digest import file_digest
from pytest_maxact.checkpoint.files import WeightFiles
from pytest_maxact.checkpoint.load import LoadedModel
from pytest_maxact.checkpoint.locate import Checkpoint
from pytest_maxact.checkpoint.sites.anatomy import Anatomy
from pytest_maxact.errors import MeasureError
from pytest_maxact.measure.around import with_surroundings
from pytest_maxact.measure.low_bits import low_bits_of
from pytest_maxact.measure.named import names_of_attention
from pytest_maxact.measure.observe.layers import TOKENS
from pytest_maxact.measure.observe.observer import Observer
from pytest_maxact.measure.observe.scores import Scores
from pytest_maxact.measure.predict import Predicting
from pytest_maxact.measure.prepared import Prepared
from pytest_maxact.measure.provenance import provenance_of
from pytest_maxact.measure.readings import logits, readings
from pytest_maxact.measure.scaled import narrowed, observed
from pytest_maxact.measure.spoken import with_tokens
from pytest_maxact.numbers.noise import Noise
from pytest_maxact.numbers.probe import Probe
from pytest_maxact.numbers.scan import WeightScan
from pytest_maxact.numbers.weights import WeightDistortion
from pytest_maxact.record.predictions import Predictions
from pytest_maxact.record.provenance import Stopped
from pytest_maxact.record.record import Record
from pytest_maxact.record.static import held_of
from pytest_maxact.record.units import in_units
from pytest_maxact.settings.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Passed:
    """A finished pass. `deployed`: that over samples as they are deployed, where there are any. `told`: what its
    predictions were told to, None where they were not, as `why` says.
    """

    loaded: LoadedModel
    anatomy: Anatomy
    observer: Observer
    deployed: Observer | None
    told: Predicting | None
    why: str
    probes: Mapping[str, Probe]
    distortions: Mapping[str, Mapping[str, Mapping[str, WeightDistortion]]]
    noise: Noise | None = None
    stopped: Stopped | None = None


def anatomy_of(prepared: Prepared, settings: Settings, loaded: LoadedModel) -> Anatomy:
    """Of the loaded model, whose files say which static scales there are. Raises MeasureError where loading changed
    what is observed.
    """
    checkpoint = prepared.checkpoint
    anatomy = observed(loaded.model, checkpoint, settings, loaded.adapters)
    if anatomy.outline != prepared.anatomy.outline:
        raise _changed(checkpoint, prepared.anatomy, anatomy)
    low_bits = low_bits_of(loaded.files) if anatomy.scaled else None
    return narrowed(anatomy, low_bits.static) if low_bits else anatomy


def scores_of(prepared: Prepared) -> Scores | None:
    """What attention scores are noted in, where a scheme asks for them."""
    return Scores() if any(scheme.cast == "float16" for scheme in prepared.schemes) else None


def probed(prepared: Prepared) -> corpus.Sequence:
    """The sequence on which layers are probed."""
    sequences: Sequence[corpus.Sequence] = prepared.sequences
    return min(sequences, key=lambda sequence: (-min(len(sequence), TOKENS), sequence.sample.id))


def record_of(
    passed: Passed, prepared: Prepared, settings: Settings, family: str | None, weights: str, scan: WeightScan
) -> Record:
    """`weights`: the digest of the files; `scan`: what every tensor of them holds."""
    scaled = passed.anatomy.scaled
    found = readings(passed.observer, prepared.tokenizer)
    seen, texts = with_tokens(
        {name: reading for name, reading in found.items() if name not in scaled}, prepared.sequences, prepared.tokenizer
    )
    seen = with_surroundings(seen, prepared.sequences, prepared.tokenizer)
    names = names_of_attention(passed.anatomy.taps, passed.loaded)
    widest = readings(passed.deployed, prepared.tokenizer) if passed.deployed else {}
    widened = bool(prepared.deployed and prepared.deployed.samples)
    whole = {
        name: replace(
            reading, weights=passed.distortions.get(name, {}), probe=passed.probes.get(name),
            as_deployed=widest[name].max_abs if widest and (widened or name in scaled) else None,
            shared=names.get(name, reading.shared),
        )
        for name, reading in {**found, **seen}.items()
    }  # fmt: skip
    seen = {name: reading for name, reading in whole.items() if name not in scaled}
    unpredicted = Predictions(unchecked=passed.why, by_design=bool(prepared.unpredicted))
    provenance = provenance_of(
        prepared, settings, passed.loaded, passed.anatomy, passed.observer, family, weights, passed.stopped
    )
    return Record(
        provenance=provenance,
        sites=in_units(seen, provenance),
        weights=scan,
        predictions=passed.told.result() if passed.told else unpredicted,
        scores=passed.observer.scores.layers if passed.observer.scores else None,
        logits=logits(passed.observer, prepared.tokenizer),
        noise=passed.noise,
        static=held_of(provenance.low_bits, whole),
        scaled={name: reading for name, reading in whole.items() if name in scaled},
        token_texts=texts,
    )


def with_files(record: Record, files: WeightFiles) -> Record:
    """A Record that says what it was measured from, file by file."""
    if files.is_gguf:
        digests = {files.name(file): file_digest(file) for file in files.loaded}
    else:
        digests = artifact_digests(files.folder, files.read)
    return replace(record, provenance=replace(record.provenance, files=tuple(digests.items())))


def _changed(checkpoint: Checkpoint, built: Anatomy, loaded: Anatomy) -> MeasureError:
    differing = sorted(set(built.outline) ^ set(loaded.outline))
    return MeasureError(
        f"{checkpoint.name}: loading its weights changed the modules that are observed, the first {differing[0]}\n"
        "  weights packed by a quantization library cannot be measured; give the checkpoint before it was quantized"
    )
