"""Records that keep what their samples had."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from pytest_maxact.numbers.maxima import SampleMaxima
from pytest_maxact.numbers.peaks import Around
from pytest_maxact.record.effect import Effect, SampleEffect
from pytest_maxact.record.record import Record
from tests.support.findings import HIDDEN
from tests.support.records import record


def having(*maxima: float) -> Record:
    """One site, of whose samples these are the largest entries; each has ten tokens."""
    plain = record({HIDDEN: [[max(maxima)]]})
    samples = tuple((f"s{i:03d}", "ab"[i % 2], ("calibration", "evaluation")[i % 2], 10) for i in range(len(maxima)))
    nothing = np.zeros(len(maxima), np.int32)
    kept = SampleMaxima(np.asarray(maxima, np.float32), nothing, nothing)
    sites = {
        name: replace(reading, held=replace(reading.held, maxima=kept))  # type: ignore[arg-type]
        for name, reading in plain.sites.items()
    }
    return replace(plain, sites=sites, provenance=replace(plain.provenance, samples=samples))


def with_effect(plain: Record, kl: Sequence[float], scheme: str = "W8A8", tokens: int = 10) -> Record:
    """The same with the effect of a scheme, whose samples have these mean divergences."""
    samples = tuple(
        SampleEffect(
            category="ab"[place % 2], tokens=tokens, predicted=tokens - 1, kl=tokens * one, stays=tokens - place % 3,
            nll=2.0 * tokens, nll_under=2.0 * tokens + one,
        )
        for place, one in enumerate(kl)
    )  # fmt: skip
    whole = tokens * len(kl)
    effect = Effect(
        scheme=scheme, samples=len(kl), tokens=whole, mean_kl=float(np.mean(kl)), kl_q99=max(kl),
        top1_agreement=sum(one.stays for one in samples) / whole, perplexity=9.0, perplexity_ratio=1.1,
        by_sample=samples,
    )  # fmt: skip
    return replace(plain, effects={**plain.effects, scheme: effect})


def having_around(record: Record, around: Around) -> Record:
    """The same, with this text around every entry."""
    sites = {
        name: replace(one, peaks=tuple(replace(peak, around=around) for peak in one.peaks))
        for name, one in record.sites.items()
    }
    return replace(record, sites=sites)
