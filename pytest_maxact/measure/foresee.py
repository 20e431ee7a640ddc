"""`maxact plan`: a checkpoint, or a config alone, and the devices that there are in; a plan as plain data out."""

from collections.abc import Sequence
from dataclasses import replace

from pytest_maxact import corpus
from pytest_maxact.checkpoint.device import forced_dtype
from pytest_maxact.checkpoint.files import WeightFiles
from pytest_maxact.checkpoint.load import skeleton
from pytest_maxact.checkpoint.locate import Checkpoint, locate, with_weights
from pytest_maxact.checkpoint.placement.need import Need
from pytest_maxact.checkpoint.placement.rooms import Room
from pytest_maxact.checkpoint.stated import dtype_of_files
from pytest_maxact.checkpoint.tokenizer import load_tokenizer
from pytest_maxact.errors import InputError
from pytest_maxact.measure.estimate import flops_of_a_token, seconds_of, speeds_of
from pytest_maxact.measure.low_bits import calls_of
from pytest_maxact.measure.planning import planned
from pytest_maxact.measure.prepare import encode, max_length, read_corpus, schemes_of
from pytest_maxact.measure.scaled import observed
from pytest_maxact.measure.shapes import refuse_shapes
from pytest_maxact.numbers.plan import ModelPlan, Way
from pytest_maxact.record.static import are_held
from pytest_maxact.settings.settings import Settings

BYTES_OF_A_TOKEN = 4
"""Of text, where there is no tokenizer to tell."""


def foreseen(settings: Settings, rooms: Sequence[Room], probe: bool = True) -> ModelPlan:
    """What a measurement would need here, or on stated devices. Raises InputError; nothing is loaded."""
    checkpoint = locate(settings, weights=False)
    built = skeleton(checkpoint)
    anatomy = observed(built.body, checkpoint, settings)
    refuse_shapes(built.body, anatomy, settings)
    files = _files(checkpoint, settings)
    stated = forced_dtype(settings.dtype) or dtype_of_files(checkpoint.config, files) or "bfloat16"
    dtype = str(stated).removeprefix("torch.")
    lengths, about = _lengths(checkpoint, anatomy, settings)
    schemes = schemes_of(checkpoint, settings)
    longest = max(lengths)
    static = are_held(calls_of(checkpoint), anatomy.sites)
    placement, batch = planned(
        built.whole, anatomy, dtype, settings, longest, schemes, files, rooms, static=static
    )  # fmt: skip
    assert placement.need is not None
    flops = flops_of_a_token(built.whole, sum(length * length for length in lengths) // max(1, sum(lengths)))
    speeds = speeds_of(built.whole, dtype, settings.arithmetic, placement.device, files if probe else None)
    tokens = sum(lengths)
    return ModelPlan(
        model=checkpoint.name,
        model_type=checkpoint.config.model_type,
        dtype=dtype,
        parameters=sum(parameter.numel() for parameter in built.whole.parameters()),
        layers=anatomy.layers,
        parts=_parts(placement.need),
        rooms=tuple((room.device, room.free, room.total) for room in rooms),
        batch_tokens=batch,
        tokens=tokens,
        about=about,
        flops_per_token=flops,
        speeds=speeds,
        ways=tuple(
            Way(
                how=option.how, device=option.device, takes=tuple(option.takes.items()), against=option.against,
                on_disk=option.on_disk, seconds=seconds_of(option, placement, speeds, flops, tokens, batch),
            )
            for option in placement.options
        ),
        chosen="" if placement.against else placement.line,
        against=placement.against,
    )  # fmt: skip


def _files(checkpoint: Checkpoint, settings: Settings) -> WeightFiles | None:
    """The weight files; None of a config alone, and of a hub id whose weights are not here."""
    if not any(checkpoint.folder.glob("*.safetensors")) or (settings.model or "").endswith(".json"):
        return None
    return with_weights(checkpoint, settings)


def _lengths(checkpoint: Checkpoint, anatomy: object, settings: Settings) -> tuple[list[int], bool]:
    """Tokens of every sample of the corpus, and whether they are estimated, for want of a tokenizer."""
    most = max_length(settings, checkpoint.config.get_text_config())
    samples = read_corpus(settings)
    try:
        tokenizer = load_tokenizer(checkpoint.folder, checkpoint.trust_remote_code, config=checkpoint.config)
        text = corpus.decode(samples, None)
        sequences = encode(text, tokenizer, anatomy, checkpoint.config, settings)  # type: ignore[arg-type]
        if settings.max_tokens is not None:
            sequences = list(corpus.within_token_budget(sequences, settings.max_tokens, settings.seed))
        return [len(sequence) for sequence in sequences], False
    except InputError:
        guessed = [min(most, max(1, len(str(sample.text).encode()) // BYTES_OF_A_TOKEN)) for sample in samples]
        return guessed, True


def _parts(need: Need) -> tuple[tuple[str, int], ...]:
    whole = replace(need, copies=0)
    return (
        ("weights", need.weights),
        ("of them one layer at most", need.largest),
        ("activations of a batch", need.activations),
        ("activations of the longest sample alone", need.alone),
        ("histograms and sums", need.accumulators),
        ("logits", need.head),
        ("copies of weights under schemes", need.copies),
        ("margin", whole.whole - whole.weights - whole.beside),
    )
