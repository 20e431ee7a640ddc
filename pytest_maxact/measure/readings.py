"""What a finished observer saw, as readings of a Record."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from pytest_maxact.errors import MeasureError
from pytest_maxact.measure.observe.by_sample import SIGNAL, Floats
from pytest_maxact.measure.observe.observer import Observer
from pytest_maxact.numbers.channels import Channels
from pytest_maxact.numbers.energies import SampleSums, codes_of
from pytest_maxact.numbers.histogram import Histogram
from pytest_maxact.numbers.maxima import SampleMaxima
from pytest_maxact.numbers.peaks import NonFinite
from pytest_maxact.numbers.sites import Site
from pytest_maxact.numbers.spread import Spread
from pytest_maxact.numbers.sums import SchemeSums
from pytest_maxact.record.held import Distributions
from pytest_maxact.record.logits import LayerLogits
from pytest_maxact.record.reading import SiteReading


def readings(observer: Observer, tokenizer: Any) -> dict[str, SiteReading]:
    """What a finished observer saw, site by site in depth order, tokens as text."""
    sums = observer.fidelity.sums
    return {
        site.name: _reading(
            site, observer, tokenizer, {name: found for (where, name), found in sums.items() if where == site.name}
        )
        for site in observer.anatomy.sites
    }


def logits(observer: Observer, tokenizer: Any) -> tuple[LayerLogits, ...] | None:
    """The attention logits that a finished observer saw, tokens as text; None where it looked for none."""
    if observer.logits is None:
        return None
    return tuple(
        replace(
            found,
            query_token=str(tokenizer.decode([found.query_id])),
            key_token=str(tokenizer.decode([found.key_id])),
        )
        for found in observer.logits.layers
    )


def _reading(site: Site, observer: Observer, tokenizer: Any, schemes: Mapping[str, SchemeSums]) -> SiteReading:
    seen = observer.accumulators[site.name]
    traffic = observer.traffic.get(site.name)

    def text(token_id: int) -> str:
        return str(tokenizer.decode([token_id])) if token_id >= 0 else ""

    first = seen.first_nonfinite
    calibration = Histogram.from_dense(seen.encoding, seen.dense_counts("calibration"))
    reading = SiteReading(
        site=site,
        dtype=seen.dtype,
        width=max(seen.widths.values()),
        heads=seen.heads,
        held=Distributions(
            calibration=calibration,
            evaluation=Histogram.from_dense(seen.encoding, seen.dense_counts("evaluation")),
            schemes=schemes,
            channels=_channels(site, observer.fidelity.channels),
            maxima=_maxima(site, observer),
            evaluated=_channels(site, observer.fidelity.cached.channels),
            spread=_spread(site, observer),
            sampled=_sampled(site, observer, schemes),
            int8=_int8(site, observer, calibration),
        ),
        peaks=tuple(replace(peak, token=text(peak.token_id)) for peak in seen.peaks),
        massive=seen.massive if seen.tests_massive else None,
        first_nonfinite=(
            NonFinite(sample=first.sample, position=first.position, token=text(first.token_id), channel=first.channel)
            if first
            else None
        ),
        shared={
            weight.removesuffix(".weight"): observer.shared.get((site.name, tap.part), tap.part)
            for tap in observer.anatomy.linears
            if tap.site.name == site.name
            for weight in tap.weights
        },
        tokens_per_expert=tuple(torch.stack(list(traffic.values())).sum(0).tolist()) if traffic else None,
    )
    binned = torch.tensor(reading.finite_max).to(getattr(torch, seen.encoding)).item()
    if not reading.nonfinite and binned != reading.histogram.max_abs:
        raise MeasureError(
            f"{site.name}: its largest entry {reading.finite_max} is not its histogram's {reading.histogram.max_abs}\n"
            "  please report the model_type"
        )
    return reading


def _maxima(site: Site, observer: Observer) -> SampleMaxima | None:
    """Of every sample, in the order of ids; None where routing hides which sample a row is of, and where none were
    looked for.
    """
    found = observer.maxima.of(site.name)
    if not len(found) or not np.isfinite(found).all():
        return None
    return SampleMaxima(found[:, 0], found[:, 1].astype(np.int32), found[:, 2].astype(np.int32))


def _sampled(site: Site, observer: Observer, schemes: Mapping[str, SchemeSums]) -> SampleSums | None:
    """Of every sample of the evaluation split, in the order of ids."""
    return _coded(observer.fidelity.samples.of(site.name, list(schemes)) if schemes else None)


def _int8(site: Site, observer: Observer, calibration: Histogram) -> SampleSums | None:
    """Likewise, of all tokens."""
    return _coded(observer.losses.of(site.name, calibration))


def _coded(found: Mapping[str, Floats] | None) -> SampleSums | None:
    if found is None:
        return None
    codes = {name: codes_of(energies) for name, energies in found.items()}
    return SampleSums(codes.pop(SIGNAL), codes)


def _channels(site: Site, found: Mapping[tuple[str, str], torch.Tensor]) -> Channels | None:
    parts = {part: amax.float().cpu().numpy() for (where, part), amax in found.items() if where == site.name}
    return Channels(parts) if parts else None


def _spread(site: Site, observer: Observer) -> Spread | None:
    parts = [found for (where, _), found in observer.fidelity.cached.energies.items() if where == site.name]
    if not parts:
        return None
    entries, energy = torch.stack([part.cpu() for part in parts]).sum(0).tolist()
    return Spread(entries=int(entries), energy=energy)
