"""All figures of one checkpoint, in the order of the questions: plain data in, those that can be drawn out, and a line
for each that cannot.
"""

from collections.abc import Callable

from pytest_maxact.judge.figures.drawn import Drawn
from pytest_maxact.report.figures.against import against
from pytest_maxact.report.figures.artifact import lint, predictions, source
from pytest_maxact.report.figures.build import unproven
from pytest_maxact.report.figures.distribution import distribution
from pytest_maxact.report.figures.experts import experts
from pytest_maxact.report.figures.figure import Figure, LeftOut
from pytest_maxact.report.figures.heat import heat
from pytest_maxact.report.figures.limits import limits
from pytest_maxact.report.figures.low_bits import low_bits
from pytest_maxact.report.figures.massive import massive
from pytest_maxact.report.figures.scale import scale
from pytest_maxact.report.figures.series import series
from pytest_maxact.report.figures.training import training
from pytest_maxact.report.figures.trajectory import trajectory
from pytest_maxact.report.figures.trust import intervals, saturation, stress, stress_sites
from pytest_maxact.report.figures.weights import weights

_BEFORE: tuple[Callable[[Drawn], Figure | LeftOut], ...] = (
    heat, limits, trajectory, scale, distribution, low_bits, massive, experts, weights, series,
)  # fmt: skip
_AFTER: tuple[Callable[[Drawn], Figure | LeftOut], ...] = (
    lint, source, predictions, saturation, intervals, stress, stress_sites,
)  # fmt: skip


def figures_of(drawn: Drawn) -> tuple[Figure, ...]:
    """Those that there is something to draw of. Needs altair, of the extra `report`."""
    return tuple(one for one in every_of(drawn) if isinstance(one, Figure))


def left_out(drawn: Drawn) -> tuple[LeftOut, ...]:
    """The others."""
    return tuple(one for one in every_of(drawn) if isinstance(one, LeftOut))


def every_of(drawn: Drawn) -> tuple[Figure | LeftOut, ...]:
    """All of them, each drawn once, for what shows both."""
    with unproven():
        before, after = ([draw(drawn) for draw in drawing] for drawing in (_BEFORE, _AFTER))
        return (*before, *training(drawn), *against(drawn), *after)
