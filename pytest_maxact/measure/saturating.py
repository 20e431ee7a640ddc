"""A pass that ends once no maximum rises any more, of the sites that limits bind where these are known: a corpus in,
batches in an order whose every step keeps the categories in proportion, and what tells after each of them whether it is
enough.

Guard: it ends between steps alone, once every category and both splits had a sample; what was not run is no part of
the Record, and what was asked for stands in it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from pytest_maxact import corpus
from pytest_maxact.corpus.batches import BatchPlan, PlannedBatch
from pytest_maxact.corpus.samples import interleaved
from pytest_maxact.errors import InputError, setting
from pytest_maxact.measure.observe.accumulate import SiteAccumulator
from pytest_maxact.measure.observe.left import Left
from pytest_maxact.measure.observe.observer import Observer
from pytest_maxact.measure.prepared import Prepared
from pytest_maxact.numbers.schemes import Scheme
from pytest_maxact.numbers.sites import CARRIER
from pytest_maxact.record.provenance import Stopped
from pytest_maxact.settings.settings import Settings

_STEPS = 4
"""So many steps at most lie in the text for which no site may rise."""


class Saturating:
    """Who follows such a pass. `plan` are its batches in their order, `stopped` what it came to."""

    def __init__(self, prepared: Prepared, batch_tokens: int, asked: int, seed: int) -> None:
        self._asked, self._whole, self._told = asked, prepared.whole, prepared.watched
        self._watched: Mapping[str, Mapping[str, SiteAccumulator]] = {}
        splits = corpus.assign_splits([sequence.sample for sequence in prepared.whole])
        self.plan, self._ends = _steps(
            prepared.whole, splits, batch_tokens, max(batch_tokens, asked // _STEPS), seed
        )  # fmt: skip
        self._total = sum(batch.tokens for batch in self.plan)
        self._fewest = _fewest(self.plan, self._ends)
        self._largest: dict[str, float] = {}
        self._rose, self._site = 0, ""
        self._unseen: frozenset[str] = frozenset()

    def follow(self, observer: Observer) -> "Saturating":
        """Watch the sites that limits bind, M as the largest of all that count toward it; where none are named all of
        this pass, but for those that are observed where they are asked for alone.
        """
        sites, seen = observer.anatomy.sites, observer.accumulators
        names = self._told or tuple(site.name for site in sites if not site.is_beside)
        counted = {site.name: seen[site.name] for site in sites if site.counted}
        self._watched = {name: counted if name == CARRIER else {name: seen[name]} for name in names}
        return self

    def begun(self, left: Left) -> None:
        """Nothing is taken up: such a pass begins anew."""

    def ran(self, left: Left, check: Callable[[], None], seconds: float) -> None:
        """A batch counts: end here, where no site rose for long enough."""
        seen = self._total - left.tokens
        for name, sites in self._watched.items():
            found = {site: abs(one.peaks[0].value) if one.peaks else 0.0 for site, one in sites.items()}
            site = max(found, key=found.__getitem__)
            if found[site] > self._largest.get(name, -1.0):
                self._largest[name], self._rose, self._site = found[site], seen, site
        if seen in self._ends and seen >= self._fewest and seen - self._rose >= self._asked and not left.is_empty:
            self._unseen = frozenset(sequence.sample.id for batch in left.waiting for sequence in batch.sequences)
            left.end()

    @property
    def stopped(self) -> Stopped:
        return Stopped(
            asked=self._asked, last_rose=self._rose, site=self._site, of_tokens=self._total,
            of_samples=len(self._whole), watched=self._told,
        )  # fmt: skip

    def seen(self, prepared: Prepared) -> Prepared:
        """What was prepared, of which only what ran is told."""
        kept = tuple(one for one in prepared.sequences if one.sample.id not in self._unseen)
        return replace(prepared, sequences=kept)


def saturating(prepared: Prepared, settings: Settings) -> Saturating | None:
    """Who follows the pass, where it was asked to end early."""
    if settings.until_saturated is None:
        return None
    return Saturating(prepared, settings.batch_tokens, settings.until_saturated, settings.seed)


def refuse_saturating(settings: Settings, ranks: bool, schemes: Sequence[Scheme]) -> None:
    """Raise InputError where a pass cannot end before all of its corpus ran."""
    if settings.until_saturated is None:
        return
    why = ""
    if settings.shard or ranks:
        why = "one process has to see all of the text in one order"
    elif settings.effects_measured:
        why = f"{setting('effect')} and {setting('deploy')} compare predictions on text that is known beforehand"
    elif calibrated := [scheme.name for scheme in schemes if scheme.needs_calibration]:
        why = f"{', '.join(calibrated)} takes its scales from all calibration samples before the others run"
    elif settings.baseline or settings.source:
        why = "another checkpoint would end elsewhere, and Records of different text are not compared"
    if why:
        raise InputError(
            f"{setting('until_saturated')}: {why}\n  leave it out, and choose the text by {setting('max_tokens')}"
        )


def _steps(
    whole: Sequence[corpus.Sequence], splits: Mapping[str, str], batch_tokens: int, step: int, seed: int
) -> tuple[BatchPlan, frozenset[int]]:
    """Batches, and the tokens after which a step of so many is done."""
    by_id = {sequence.sample.id: sequence for sequence in whole}
    steps: list[list[corpus.Sequence]] = [[]]
    for sample in interleaved([sequence.sample for sequence in whole], seed):
        if sum(map(len, steps[-1])) >= step:
            steps.append([])
        steps[-1].append(by_id[sample.id])
    plan: BatchPlan = []
    ends, seen = set(), 0
    for members in steps:
        own = {sequence.sample.id: splits[sequence.sample.id] for sequence in members}
        plan += corpus.plan_batches(members, own, batch_tokens)
        seen += sum(map(len, members))
        ends.add(seen)
    return plan, frozenset(ends)


def _fewest(plan: BatchPlan, ends: frozenset[int]) -> int:
    """The tokens after which every category and both splits had a sample."""
    missing = {what for batch in plan for what in _kinds(batch)}
    seen = 0
    for batch in plan:
        missing -= set(_kinds(batch))
        seen += batch.tokens
        if not missing:
            break
    return seen


def _kinds(batch: PlannedBatch) -> list[str]:
    return [batch.split, *(f"of {sequence.sample.category}" for sequence in batch.sequences)]
