"""The causes of massive channels as they are asked for: settings in, each channel with what writes it out."""

from collections.abc import Sequence
from typing import Any

import torch

from pytest_maxact import corpus
from pytest_maxact.checkpoint.load import LoadedModel
from pytest_maxact.checkpoint.sites.anatomy import Anatomy
from pytest_maxact.errors import MeasureError
from pytest_maxact.measure.cause.channels import MassiveChannel, massive_channels
from pytest_maxact.measure.cause.entries import candidates
from pytest_maxact.measure.cause.prove import Ground, seen, tried
from pytest_maxact.measure.cause.watch import Watch
from pytest_maxact.measure.effect.headed import Headed, headed_of
from pytest_maxact.measure.opened import opened
from pytest_maxact.measure.progress import CAUSING, Progress, begin
from pytest_maxact.numbers.schemes import DEFAULT_SCHEMES, SCHEMES, Scheme
from pytest_maxact.record.cause import Cause, Trial
from pytest_maxact.record.reading import SiteReading
from pytest_maxact.settings.settings import Settings

TOKENS = 1024
"""About so many tokens of the corpus the causes are looked for and proved on."""
_LONGEST = 64
_PROBED = 8


def causes(settings: Settings, progress: Progress | None = None) -> list[Cause]:
    """Of every massive channel, the largest first; none where no channel is massive. Raises InputError or
    MeasureError.
    """
    with opened(settings, progress) as model:
        begin(progress, CAUSING)
        return causes_of(
            model.loaded, model.anatomy, model.prepared.tokenizer, model.prepared.whole, model.carrier,
            [SCHEMES[name] for name in settings.schemes or DEFAULT_SCHEMES],
        )  # fmt: skip


def causes_of(
    loaded: LoadedModel, anatomy: Anatomy, tokenizer: Any, sequences: Sequence[corpus.Sequence], carrier: SiteReading,
    schemes: Sequence[Scheme],
) -> list[Cause]:  # fmt: skip
    """`sequences`: the encoded corpus; `carrier`: the site that holds its M, whose largest entries choose samples.
    Raises MeasureError where that is not finite.
    """
    if carrier.nonfinite:
        first = carrier.first_nonfinite
        place = f", first in sample {first.sample}, position {first.position}" if first and first.sample else ""
        raise MeasureError(
            f"{carrier.site.name} is NaN or infinite on the corpus{place}\n"
            "  mend the weights first: nothing stands out beside what is not finite"
        )
    chosen = _chosen(sequences, carrier)
    headed, watch = _headed(loaded, chosen), Watch(loaded, anatomy)
    with watch.attached():
        found = massive_channels(watch, chosen)
        entries = [candidates(watch, anatomy, one, chosen[one.row].ids) for one in found]
        if not found:
            return []
        ground = Ground(sequences=chosen, headed=headed, base=seen(watch, chosen), schemes=schemes)
        return [
            _cause(one, chosen[one.row], [tried(entry, one, watch, ground) for entry in some], ground, tokenizer)
            for one, some in zip(found, entries, strict=True)
        ]


def _cause(
    one: MassiveChannel, sequence: corpus.Sequence, trials: Sequence[Trial], ground: Ground, tokenizer: Any
) -> Cause:
    return Cause(
        channel=one.channel, site=one.site, largest=one.largest, ratio=one.ratio, m=ground.base.m,
        sample=sequence.sample.id, position=one.position, token=str(tokenizer.decode([sequence.ids[one.position]])),
        trials=tuple(sorted(trials, key=lambda trial: (trial.without, -abs(trial.share)))),
    )  # fmt: skip


def _chosen(sequences: Sequence[corpus.Sequence], carrier: SiteReading) -> list[corpus.Sequence]:
    """The samples of the largest entries of the carrier, then others, each cut, until there are enough tokens."""
    by_id = {sequence.sample.id: sequence for sequence in sequences}
    peaks = [peak for peak in carrier.peaks if peak.sample in by_id]
    ends = {peak.sample: max(_LONGEST, peak.position + 1) for peak in reversed(peaks)}
    found: dict[str, corpus.Sequence] = {}
    for name in [*dict.fromkeys(peak.sample for peak in peaks), *sorted(by_id)]:
        if sum(map(len, found.values())) >= TOKENS:
            break
        end = ends.get(name, _LONGEST)
        if name not in found:
            found[name] = corpus.Sequence(sample=by_id[name].sample, ids=by_id[name].ids[max(0, end - _LONGEST) : end])
    return list(found.values())


def _headed(loaded: LoadedModel, sequences: Sequence[corpus.Sequence]) -> Headed | None:
    """None where predictions do not follow from final hidden states."""
    if loaded.headed is None:
        return None
    ids = torch.tensor(max(sequences, key=len).ids[:_PROBED], device=loaded.device)
    try:
        with torch.no_grad():
            return headed_of(loaded.headed, ids, loaded.device, loaded.decoder)
    except MeasureError:
        return None
