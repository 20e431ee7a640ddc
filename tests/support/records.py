"""Records built by hand from raw arrays, the slow and plain way: no model, no hooks, no torch. The reference that tests
compare with.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from pytest_maxact.numbers.histogram import Histogram
from pytest_maxact.numbers.massive import Massive
from pytest_maxact.numbers.peaks import PEAKS_KEPT, NonFinite, Peak
from pytest_maxact.numbers.scan import TensorScan, WeightScan
from pytest_maxact.numbers.sites import Site
from pytest_maxact.record.held import Distributions
from pytest_maxact.record.provenance import Provenance, corpus_digest, merged_tokens
from pytest_maxact.record.reading import SiteReading, distributions_of
from pytest_maxact.record.record import Record

Floats = npt.NDArray[np.float64]


def bf16(values: npt.ArrayLike) -> Floats:
    """Values cut to bfloat16 (towards zero), as float64."""
    single = np.asarray(values, np.float32)
    return (single.view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32).astype(np.float64)


SOUND = WeightScan(
    files=("model.safetensors",),
    tensors=20,
    elements=1000,
    largest="model.norm.weight",
    named={
        "model.norm.weight": TensorScan(file="model.safetensors", dtype="BF16", shape=(4,), elements=4, largest=1.5)
    },
)
"""What is found of weights in which there is nothing wrong."""


def histogram(values: npt.ArrayLike, encoding: str = "bfloat16") -> Histogram:
    """Histogram of values that the encoding holds exactly."""
    return Histogram.from_values(encoding, np.asarray(values, np.float64))


def site(name: str) -> Site:
    """`layers.3.hidden` or `embedding` as a Site."""
    prefix, _, kind = name.rpartition(".")
    return Site(kind=kind, layer=int(prefix.removeprefix("layers.")) if prefix else None, module=f"model.{name}")


def sites(layers: int, kinds: Iterable[str] = ("hidden", "attn_output", "mlp_output", "gate")) -> list[Site]:
    """The sites of a decoder in depth order: embedding, `kinds` of every layer, final norm."""
    return [
        site("embedding"),
        *(site(f"layers.{i}.{kind}") for i in range(layers) for kind in kinds),
        site("final_norm"),
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One sample and the activations it gave: site name -> [tokens, width], bfloat16 values."""

    id: str
    category: str = "math"
    split: str = "evaluation"
    values: Mapping[str, npt.ArrayLike]

    def array(self, name: str) -> Floats:
        array = np.atleast_2d(np.asarray(self.values[name], np.float64))
        assert np.array_equal(array, bf16(array), equal_nan=True), "values that bfloat16 cannot hold"
        return array

    @property
    def tokens(self) -> int:
        return len(self.array(next(iter(self.values))))


def record_of(samples: Sequence[Measured], **changes: Any) -> Record:
    """The Record of these samples; keyword arguments replace fields of its provenance."""
    names = sorted(samples[0].values, key=lambda name: site(name).order)
    layers = sum(site(name).kind == "hidden" for name in names) or 2
    return Record(
        provenance=provenance(samples, **({"layers": layers} | changes)),
        sites={name: _reading(name, samples) for name in names},
        weights=SOUND,
    )


def record(values: Mapping[str, npt.ArrayLike], **changes: Any) -> Record:
    """A Record of two samples that gave the same activations, one in each split."""
    return record_of(
        [Measured(id="s0", split="calibration", values=values), Measured(id="s1", values=values)], **changes
    )


def reading(calibration: npt.ArrayLike, evaluation: npt.ArrayLike, name: str = "layers.0.hidden") -> SiteReading:
    """One site's reading from the raw values of both splits."""
    parts = (("s0", "calibration", calibration), ("s1", "evaluation", evaluation))
    return _reading(
        name, [Measured(id=i, split=split, values={name: np.atleast_2d(bf16(values))}) for i, split, values in parts]
    )


def holding(reading: SiteReading, **changes: Any) -> SiteReading:
    """The reading with other distributions: keyword arguments replace `calibration`, `evaluation`, `schemes` or
    `channels`.
    """
    return replace(reading, held=replace(distributions_of(reading), **changes))


def provenance(samples: Sequence[Measured] = (), **changes: Any) -> Provenance:
    """Provenance of a made-up two-layer Qwen3 measured on `samples`."""
    ordered = sorted(samples, key=lambda sample: sample.id)
    digests = tuple(digest_of(sample.id) for sample in ordered)
    fields: dict[str, Any] = {
        "model": "somebody/model",
        "revision": "0123abc",
        "weights_sha256": "w" * 64,
        "model_type": "qwen3",
        "architecture": "Qwen3ForCausalLM",
        "family": "qwen3",
        "layers": 2,
        "hidden_size": 4,
        "config_sha256": "c" * 64,
        "left_out": (),
        "tokenizer_sha256": "t" * 64,
        "remote_code": False,
        "protocol": "paper",
        "corpus": "built-in",
        "corpus_sha256": corpus_digest(digests),
        "samples": tuple((s.id, s.category, s.split, s.tokens) for s in ordered),
        "max_seq_len": 4096,
        "dtype": "bfloat16",
        "device": "cpu",
        "attention": "sdpa",
        "experts": None,
        "batching": {"batch_tokens": 8192, "batches": len(ordered), "padded_tokens": 0, "out_of_memory": 0},
        "versions": {"torch": "2.13.0", "transformers": "5.1.0"},
        "sample_digests": digests,
        "tokens_sha256": merged_tokens(digests),
    }
    return Provenance(**(fields | changes))


def digest_of(sample: str) -> str:
    """The content digest that a sample of this id is given here."""
    return hashlib.sha256(sample.encode("utf-8", "surrogatepass")).hexdigest()


def _reading(name: str, samples: Sequence[Measured]) -> SiteReading:
    arrays = {sample.id: sample.array(name) for sample in samples}
    peaks, broken = [], []
    for sample in samples:
        array = arrays[sample.id]
        for (position, channel), value in np.ndenumerate(array):
            if np.isfinite(value):
                place = {"sample": sample.id, "position": position, "channel": channel}
                peaks.append(Peak(value=float(value), token=f"t{position}", token_id=100 + position, **place))
            else:
                broken.append(NonFinite(sample=sample.id, position=position, token=f"t{position}", channel=channel))
    return SiteReading(
        site=site(name),
        dtype="bfloat16",
        width=arrays[samples[0].id].shape[1],
        held=Distributions(
            calibration=_histogram(arrays[s.id] for s in samples if s.split == "calibration"),
            evaluation=_histogram(arrays[s.id] for s in samples if s.split == "evaluation"),
        ),
        peaks=tuple(
            sorted(peaks, key=lambda peak: (-abs(peak.value), peak.sample, peak.position, peak.channel))[:PEAKS_KEPT]
        ),
        massive=_massive(list(arrays.values())) if name.endswith("hidden") else None,
        first_nonfinite=min(broken, key=lambda place: (place.sample, place.position, place.channel), default=None),
    )


def _histogram(arrays: Iterable[Floats]) -> Histogram:
    return histogram(np.concatenate([np.zeros(0), *(array.ravel() for array in arrays)]))


def _massive(arrays: Sequence[Floats]) -> Massive:
    tokens, entries, ratios = 0, 0, []
    for row in (np.abs(row[np.isfinite(row)]) for array in arrays for row in array):
        if row.size and row.max() > 100.0:
            median = max(float(np.sort(row)[(row.size - 1) // 2]), 2.0**-133)
            found = int(((row > 100.0) & (row > 1000.0 * median)).sum())
            tokens, entries = tokens + bool(found), entries + found
            ratios.append(float(row.max()) / median)
    return Massive(tokens=tokens, entries=entries, max_ratio=max(ratios, default=None))


CALM = {
    "embedding": [[1.0, -2.0, 0.5, 0.25]],
    "layers.0.hidden": [[4.0, 1.0, 2.0, -8.0]],
    "layers.0.mlp_output": [[3.0, 1.0, 1.0, 1.0]],
    "layers.1.hidden": [[16.0, 1.0, 2.0, 8.0]],
    "final_norm": [[1.0, 1.0, 1.0, 2.0]],
}


def with_values(**changes: list[list[float]]) -> Record:
    return record({**CALM, **{name.replace("__", "."): value for name, value in changes.items()}})


def seen(hidden: float = 8.0, *, first: float = 2.0, kind: str = "gate", **changes: Any) -> Record:
    """A Record of two layers whose residual maxima are `first` and `hidden`."""
    values = {
        "embedding": [[1.0, 0.375]],
        "layers.0.hidden": [[first, 0.375]],
        f"layers.0.{kind}": [[2.0, 0.375]],
        "layers.1.hidden": [[hidden, 0.375]],
        f"layers.1.{kind}": [[-2.5, 0.375]],
        "final_norm": [[3.0, 0.375]],
    }
    return record(values, **changes)
