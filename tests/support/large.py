"""A Record as large as that of a deep model over a real corpus."""

import math
from dataclasses import replace

import numpy as np

from pytest_maxact.numbers.histogram import INFINITY_BIN, Histogram, magnitudes
from pytest_maxact.numbers.massive import Massive
from pytest_maxact.numbers.peaks import PEAKS_KEPT, Peak
from pytest_maxact.record.held import Distributions
from pytest_maxact.record.reading import SiteReading
from pytest_maxact.record.record import Record
from tests.support import records
from tests.support.records import site


def noisy(encoding: str, entries: float, scale: float, rng: np.random.Generator) -> Histogram:
    """Counts as of so many entries of a site: normals of channels whose scales spread, one in a thousand 200 times as
    large, Poisson noise in every bin.

    Of float16 every finite bin is filled, of bfloat16 those from 2^-30 up.
    """
    values = magnitudes(encoding)[: INFINITY_BIN[encoding]]
    edges = np.concatenate([[0.0], (values[1:] + values[:-1]) / 2, values[-1:]])
    erf = np.vectorize(math.erf)
    spread = np.linspace(-2, 2, 7)
    weights = np.exp(-(spread**2)) / np.exp(-(spread**2)).sum()
    share = sum(
        weight * np.diff(erf(edges / (scale * math.exp(z) * math.sqrt(2))))
        for weight, z in zip(weights, spread, strict=True)
    )
    share = 0.999 * share + 0.001 * np.diff(erf(edges / (200 * scale * math.sqrt(2))))
    counts = rng.poisson(entries * share + 20.0 * (values > (0.0 if encoding == "float16" else 2.0**-30)))
    (bins,) = np.nonzero(counts)
    return Histogram(encoding, bins.astype(np.uint16), counts[bins])


def large_record(
    encoding: str, kinds: tuple[str, ...], layers: int = 64, tokens: float = 16e6, width: int = 5120
) -> Record:
    """The sites of a deep model over a real corpus: every split with noise of its own, ten peaks with places, 4 000
    samples.
    """
    rng = np.random.default_rng(0)
    peaks = tuple(
        Peak(
            value=-17664.0 - i,
            sample=f"minority-scripts-{i:03d}",
            position=4095,
            token="Ġinternational",
            token_id=151_000,
            channel=4095,
        )
        for i in range(PEAKS_KEPT)
    )
    everything = [
        site("embedding"),
        *(site(f"layers.{i}.{kind}") for i in range(layers) for kind in kinds),
        site("final_norm"),
    ]
    scales = (0.02, 0.2, 2.0)
    expected = {scale: noisy(encoding, tokens * width / 3, scale, rng) for scale in scales}
    samples = tuple((f"minority-scripts-{i:04d}", "minority_scripts", "evaluation", 4096) for i in range(4000))

    def drawn(scale: float, times: int) -> Histogram:
        like = expected[scale]
        return Histogram(encoding, like.bins, np.maximum(rng.poisson(like.counts * times), 1))

    return Record(
        provenance=replace(
            records.provenance(), samples=samples, sample_digests=tuple(f"{i:064d}" for i in range(4000))
        ),
        sites={
            s.name: SiteReading(
                site=s,
                dtype=encoding,
                width=width,
                held=Distributions(calibration=drawn(scales[i % 3], 1), evaluation=drawn(scales[i % 3], 2)),
                peaks=peaks,
                massive=Massive(tokens=1, entries=2, max_ratio=10_000.0),
            )
            for i, s in enumerate(everything)
        },
    )
