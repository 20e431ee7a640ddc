"""A search from beginning to end: a loaded model and its encoded corpus in, the worst inputs of every site out.

Guard: a figure that is told was measured by an ordinary pass over the very tokens that are told.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pytest_maxact import corpus
from pytest_maxact.checkpoint.load import LoadedModel
from pytest_maxact.checkpoint.sites.anatomy import Anatomy
from pytest_maxact.corpus.samples import Sample
from pytest_maxact.corpus.stress.recipes import vocabulary_of
from pytest_maxact.corpus.tokens import tokenizer_digest
from pytest_maxact.measure.embedded import norms_of
from pytest_maxact.measure.hunt.moves import LONGEST
from pytest_maxact.measure.hunt.search import Budget, Ground, search
from pytest_maxact.measure.hunt.sight import Sight
from pytest_maxact.measure.hunt.state import Find, State, read_state, write_state
from pytest_maxact.measure.seen import seen_on
from pytest_maxact.numbers.peaks import NonFinite, Peak
from pytest_maxact.numbers.sites import CARRIER
from pytest_maxact.record.hunt import CATEGORY, Hunted
from pytest_maxact.record.reading import SiteReading

_CONTEXTS = (8, 24, LONGEST)
_WRITTEN = 4


def names_of(sites: Sequence[str], carrier: str) -> list[str]:
    """Sites by name, each once; `carrier`, which none means too, is the site that holds M."""
    return list(dict.fromkeys(carrier if site == CARRIER else site for site in sites or (CARRIER,)))


def starts_of(
    sequences: Sequence[corpus.Sequence], readings: Mapping[str, SiteReading], sites: Sequence[str]
) -> tuple[tuple[int, ...], ...]:
    """Contexts of the corpus that reach the largest entries of these sites: what leads up to each, at several lengths,
    and the beginning of its sample where that is short. Before them the sample of the first entry that is not finite,
    whole: what comes after that entry may have spread to it.
    """
    by_id = {sequence.sample.id: sequence.ids for sequence in sequences}
    found: dict[tuple[int, ...], None] = {}
    for site in sites:
        broken = readings[site].first_nonfinite
        if broken and broken.sample in by_id:
            found[by_id[broken.sample]] = None
        places: list[Peak | NonFinite] = [*([broken] if broken else []), *readings[site].peaks]
        for place in places:
            ids = by_id.get(place.sample, ())
            end = place.position + 1
            if 0 < end <= len(ids):
                found |= {ids[max(0, end - length) : end]: None for length in _CONTEXTS}
    return tuple(found)


def hunt(
    loaded: LoadedModel, anatomy: Anatomy, tokenizer: Any, sequences: Sequence[corpus.Sequence],
    readings: Mapping[str, SiteReading], sites: Sequence[str], *, seed: int, batch_tokens: int,
    evaluations: int | None, seconds: float | None, weights: str, arithmetic: str, state_file: Path | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[Hunted, ...]:  # fmt: skip
    """The worst inputs of every site, in the order of the sites. `readings`: of the corpus; `weights`: the digest
    of the files; `arithmetic`: in which the model is computed. The search ends after so many `evaluations` or
    `seconds`, whichever comes first.

    Raises InputError for a site that cannot be searched, and for the state of another search.
    """
    sight = Sight(loaded, anatomy, sites, batch_tokens)
    vocabulary = vocabulary_of(tokenizer, norms_of(loaded, anatomy))
    starts = starts_of(sequences, readings, sites)
    digest = tokenizer_digest(tokenizer)
    identity = {
        "weights": weights, "sites": list(sites), "seed": seed, "tokenizer": digest, "dtype": loaded.dtype,
        "arithmetic": arithmetic, "device": loaded.device.type, "starts": [list(one) for one in starts],
    }  # fmt: skip
    state = (read_state(state_file, identity) if state_file else None) or State(identity=identity)
    began = time.monotonic()
    budget = Budget(
        evaluations=evaluations,
        used_time=lambda: (time.monotonic() - began) / seconds if seconds else 0.0,
    )
    kept = began

    def keep(state: State) -> None:
        nonlocal kept
        progress(int(1000 * min(1.0, budget.used(state))), 1000)
        if state_file and time.monotonic() - kept > 5:
            write_state(state, state_file)
            kept = time.monotonic()

    ground = Ground(anatomy=anatomy, vocabulary=vocabulary.ids, starts=starts, seed=seed)
    with sight.attached():
        search(sight, ground, budget, state, keep)
    if state_file:
        write_state(state, state_file)
    finds = {site: state.pools.get(site, [])[:_WRITTEN] for site in sites}
    samples = _samples(finds)
    measured = seen_on(loaded, anatomy, samples, batch_tokens, tokenizer) if samples else {}
    return tuple(
        _told(site, found, readings[site], measured[site], samples, tokenizer, state, len(vocabulary.ids))
        for site, found in finds.items()
        if found
    )


def _samples(finds: Mapping[str, Sequence[Find]]) -> list[corpus.Sequence]:
    """Every find once, called by the first site that it is of."""
    named: dict[tuple[int, ...], str] = {}
    for site, found in finds.items():
        for rank, find in enumerate(found, 1):
            named.setdefault(find.ids, f"{CATEGORY}/{site}/{rank}")
    return [
        corpus.Sequence(sample=Sample(id=name, category=CATEGORY, input_ids=ids), ids=ids)
        for ids, name in named.items()
    ]


def _told(
    site: str, finds: Sequence[Find], before: SiteReading, after: SiteReading, samples: Sequence[corpus.Sequence],
    tokenizer: Any, state: State, tokens: int,
) -> Hunted:  # fmt: skip
    """By what an ordinary pass saw of all finds: which of this site holds its largest entry."""
    by_ids = {find.ids: find for find in finds}
    named = {sequence.sample.id: sequence.ids for sequence in samples}
    peak = next((peak for peak in after.peaks if named.get(peak.sample) in by_ids), None)
    broken = named.get(after.first_nonfinite.sample) if after.first_nonfinite else None
    worst = broken or (named[peak.sample] if peak else finds[0].ids)
    others = [find.ids for find in finds if find.ids != worst]
    return Hunted(
        site=site, corpus=before.max_abs, found=after.max_abs, how=by_ids[worst].how if worst in by_ids else "search",
        text=str(tokenizer.decode(list(worst))), inputs=(worst, *others), peak=peak, evaluations=state.evaluations,
        scanned=state.scanned, vocabulary=tokens,
    )  # fmt: skip
