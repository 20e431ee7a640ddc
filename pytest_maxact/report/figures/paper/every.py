"""The paper's fifteen figures, in its order, each with the model itself where it has a place."""

from pytest_maxact.judge.figures.drawn import Drawn
from pytest_maxact.report.figures.build import unproven
from pytest_maxact.report.figures.figure import Figure
from pytest_maxact.report.figures.paper.lines import components, families, heat, jumps
from pytest_maxact.report.figures.paper.pairs import experts, generations, int8, stages, tuning, vision
from pytest_maxact.report.figures.paper.whole import criterion, maxima, overview, scaling, tiers

_FIFTEEN = (
    overview, criterion, heat, jumps, scaling, maxima, generations, experts, vision, tuning, stages, int8, tiers,
    families, components,
)  # fmt: skip


def paper_figures(drawn: Drawn) -> tuple[Figure, ...]:
    """Of one model. Needs altair, of the extra `report`."""
    with unproven():
        return tuple(draw(drawn) for draw in _FIFTEEN)
