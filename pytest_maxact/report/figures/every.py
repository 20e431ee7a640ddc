"""All figures of one checkpoint, in the order of the questions: plain data in, those that can be drawn out, and a line
for each that cannot.
"""

from collections.abc import Callable

from pytest_maxact.judge.figures.drawn import Drawn
from pytest_maxact.report.figures.figure import Figure, LeftOut
from pytest_maxact.report.figures.heat import heat

_EVERY: tuple[Callable[[Drawn], Figure | LeftOut], ...] = (heat,)


def figures_of(drawn: Drawn) -> tuple[Figure, ...]:
    """Those that there is something to draw of. Needs altair, of the extra `report`."""
    return tuple(one for draw in _EVERY if isinstance(one := draw(drawn), Figure))


def left_out(drawn: Drawn) -> tuple[LeftOut, ...]:
    """The others."""
    return tuple(one for draw in _EVERY if isinstance(one := draw(drawn), LeftOut))
