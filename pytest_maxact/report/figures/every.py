"""All figures of one checkpoint, in the order of the questions: plain data in, those that can be drawn out, and a line
for each that cannot.
"""

from collections.abc import Callable

from pytest_maxact.judge.figures.drawn import Drawn
from pytest_maxact.report.figures.distribution import distribution
from pytest_maxact.report.figures.figure import Figure, LeftOut
from pytest_maxact.report.figures.heat import heat
from pytest_maxact.report.figures.low_bits import low_bits
from pytest_maxact.report.figures.scale import scale
from pytest_maxact.report.figures.trajectory import trajectory

_EVERY: tuple[Callable[[Drawn], Figure | LeftOut], ...] = (heat, trajectory, scale, distribution, low_bits)


def figures_of(drawn: Drawn) -> tuple[Figure, ...]:
    """Those that there is something to draw of. Needs altair, of the extra `report`."""
    return tuple(one for draw in _EVERY if isinstance(one := draw(drawn), Figure))


def left_out(drawn: Drawn) -> tuple[LeftOut, ...]:
    """The others."""
    return tuple(one for draw in _EVERY if isinstance(one := draw(drawn), LeftOut))
