"""How far a layer's limits lie from its published figure: published shapes in; what they are evidence of, and the
factors by site kind that follow from it, out.

From above. For every shape with several checkpoints each is left out in turn, and its layers are held against the
largest figures of the others: the factor that lets all of them pass is the spread between checkpoints of one shape. It
is taken times the growth that the paper's bootstrap saw from its smallest subsets to all of its text, rounded up to one
decimal, and is never below FLOOR. Layers whose figure is below SMALL of the largest of their kind have a spread of
their own, since they vary more, and theirs is never below that of the others. A kind of which no shape has two
checkpoints takes the factor of the kind it is made like (LIKE).

From below. The same with the largest figures of the others (of medians: the smallest) over the figure left out, times
the bootstrap's growth for maxima, times OTHER_TEXT: nobody published what another corpus does to a layer.

For a shape that nobody published: each shape of a family with several is left out in turn, and its smallest layer is
held against the smallest of the others; the largest factor of any kind, rounded up, holds for all kinds but those whose
size is the norm's own (UNTOLD). A maximum counts no further than the median family's smallest: Gemma's first layers are
large because its embeddings are multiplied by the root of the width, and a narrow model of it is no less sound.
"""

import math
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from tools.published_figures import KINDS, Layers, PublishedShape, largest_of, smallest_of

FLOOR = 1.25
"""The paper itself saw M grow by up to 1.157 when it enlarged a sample from 1 000 to 5 000 texts."""
SMALL = 0.03
LIKE = {"router": "gate"}
OTHER_TEXT = {"max_abs": 4.0, "median": 2.0}
"""Ours: on an eightieth of the built-in text the fixture's maxima fall by up to 1.82, its medians by up to 1.11; twice
that and rounded, for the paper's corpus is larger by three orders of magnitude than the smallest that a gate sees.
"""
NO_LAYERS = ("embedding", "final_norm")
UNTOLD = ("final_norm",)

ByKind = Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One layer of a checkpoint that was left out: its own figure, that of the others, and the largest of the others
    of its kind.
    """

    checkpoint: str
    kind: str
    layer: int
    own: float
    others: float
    largest: float

    @property
    def rise(self) -> float:
        return self.own / self.others

    @property
    def fall(self) -> float:
        return self.others / self.own

    @property
    def is_small(self) -> bool:
        return self.others < SMALL * self.largest


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """The largest factors seen, as `margins: evidence:` of a limits file states them: by site kind between a checkpoint
    and the others of its shape, and of all kinds between a shape's smallest layer and those of its family.
    """

    growth: float
    spread: ByKind
    small_spread: ByKind
    fall: ByKind
    median_fall: ByKind
    family_fall: float
    family_median_fall: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Margins:
    """The factors that follow, as `margins:` of a limits file states them."""

    headroom: ByKind
    small_headroom: ByKind
    least: ByKind
    least_median: ByKind
    envelope_least: ByKind
    envelope_most: ByKind
    envelope_least_median: ByKind


def evidence_of(shapes: Sequence[PublishedShape], growth: float) -> Evidence:
    """`growth`: the bootstrap's."""
    above, medians = list(left_out(shapes)), list(left_out(shapes, medians=True))
    layered = [case for case in above if case.kind not in NO_LAYERS]
    return Evidence(
        growth=_seen(growth),
        spread=_widest((case.kind, case.rise) for case in layered if not case.is_small),
        small_spread=_widest((case.kind, case.rise) for case in layered if case.is_small),
        fall=_widest((case.kind, case.fall) for case in above),
        median_fall=_widest((case.kind, case.fall) for case in medians),
        family_fall=_seen(_family_fall(shapes, maxima_of)),
        family_median_fall=_seen(_family_fall(shapes, medians_of)),
    )


def margins_of(evidence: Evidence, smallest: ByKind) -> Margins:
    """`smallest`: `smallest_layers` of the shapes."""
    kinds = [kind for kind in KINDS if kind not in NO_LAYERS]
    spread = {kind: evidence.spread.get(LIKE.get(kind, kind), 1.0) for kind in kinds}
    usual = {kind: max(FLOOR, rounded_up(spread[kind] * evidence.growth)) for kind in kinds}
    small = {kind: rounded_up(spread * evidence.growth) for kind, spread in evidence.small_spread.items()}
    fall = {**evidence.fall, **{kind: evidence.fall[like] for kind, like in LIKE.items() if like in evidence.fall}}
    of_all, of_medians = rounded_up(evidence.family_fall, 0), evidence.family_median_fall * OTHER_TEXT["median"]
    return Margins(
        headroom=usual,
        small_headroom={kind: factor for kind, factor in small.items() if factor > usual[kind]},
        least={
            kind: rounded_up(fall[kind] * evidence.growth * OTHER_TEXT["max_abs"]) for kind in KINDS if kind in fall
        },
        least_median={kind: rounded_up(fall * OTHER_TEXT["median"]) for kind, fall in evidence.median_fall.items()},
        envelope_least=dict.fromkeys(smallest, of_all),
        envelope_most=smallest,
        envelope_least_median={kind: rounded_up(of_medians, 0) for kind in evidence.median_fall if kind not in UNTOLD},
    )


def left_out(shapes: Sequence[PublishedShape], *, medians: bool = False, singly: bool = False) -> Iterator[Case]:
    """Every layer of every checkpoint that has others of its shape; `singly`: against each of the others alone."""
    for shape in shapes:
        for one in shape.checkpoints:
            others = [other for other in shape.checkpoints if other is not one]
            for group in [[other] for other in others] if singly else [others] if others else []:
                for kind, own in (one.medians if medians else one.maxima).items():
                    told: Layers = (
                        smallest_of([other.medians[kind] for other in group])
                        if medians
                        else largest_of([other.maxima[kind] for other in group])
                    )
                    largest = max(told.values())
                    for layer, figure in own.items():
                        yield Case(
                            checkpoint=one.name, kind=kind, layer=layer, own=figure, others=told[layer], largest=largest
                        )


def exceeding(cases: Sequence[Case], margins: Margins) -> list[Case]:
    """Those that limits from the others would not let pass."""
    return [case for case in cases if case.rise > headroom_of(case.kind, case.is_small, margins)]


def headroom_of(kind: str, small: bool, margins: Margins) -> float:
    """Embedding and final norm are no layers: the file's own headroom holds for them."""
    usual = margins.headroom.get(kind, FLOOR)
    return margins.small_headroom.get(kind, usual) if small else usual


def smallest_layers(shapes: Sequence[PublishedShape]) -> dict[str, float]:
    """By kind, the median over families of the smallest figure of any layer."""
    found = {kind: _smallest(shapes, kind, maxima_of) for kind in KINDS if kind not in UNTOLD}
    return {
        kind: statistics.median_low(min(figures) for figures in by_family.values())
        for kind, by_family in found.items()
        if by_family
    }


def maxima_of(shape: PublishedShape, kind: str) -> Layers:
    return shape.maxima(kind)


def medians_of(shape: PublishedShape, kind: str) -> Layers:
    return shape.medians(kind)


def rounded_up(value: float, digits: int = 1) -> float:
    """To so many decimals; what is a hair above a decimal by binary fractions alone stays there."""
    scale = 10.0**digits
    return math.ceil(round(value * scale, 9)) / scale


def _seen(factor: float) -> float:
    """As it is written: to five decimals, never below."""
    return rounded_up(factor, 5)


def _widest(factors: Iterator[tuple[str, float]]) -> dict[str, float]:
    """The largest by kind, 1.0 at least."""
    found: dict[str, float] = {}
    for kind, factor in factors:
        found[kind] = max(found.get(kind, 1.0), _seen(factor))
    return {kind: found[kind] for kind in KINDS if kind in found}


def _family_fall(shapes: Sequence[PublishedShape], figures: Callable[[PublishedShape, str], Layers]) -> float:
    """The widest that a shape's smallest layer lies below the others of its family, of any kind."""
    widest = 1.0
    for kind in KINDS:
        for smallest in _smallest(shapes, kind, figures).values():
            for i, own in enumerate(smallest):
                if others := smallest[:i] + smallest[i + 1 :]:
                    widest = max(widest, min(others) / own)
    return widest


def _smallest(
    shapes: Sequence[PublishedShape], kind: str, figures: Callable[[PublishedShape, str], Layers]
) -> dict[str, list[float]]:
    """By family, the smallest figure of any layer of each shape."""
    by_family: dict[str, list[float]] = {}
    for shape in shapes:
        if stated := figures(shape, kind):
            by_family.setdefault(shape.model_type, []).append(min(stated.values()))
    return by_family
