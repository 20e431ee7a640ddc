"""How far the figures of a Record can be trusted: a Record in, what is drawn of that out."""

from dataclasses import dataclass

from pytest_maxact.judge.trust.effects import TrustedFigure, trusted_effects
from pytest_maxact.judge.trust.stress import StressFigures, stress_figures
from pytest_maxact.judge.trust.trust import TrustedMaximum, trusted_m
from pytest_maxact.record.record import Record


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustDrawn:
    """`m` is None where its samples tell nothing of M, and `stress` where nothing was tried; `figures`: averages with
    their intervals.
    """

    m: TrustedMaximum | None
    figures: tuple[TrustedFigure, ...]
    stress: StressFigures | None


def trust_drawn(record: Record) -> TrustDrawn:
    return TrustDrawn(m=trusted_m(record, ahead=True), figures=trusted_effects(record), stress=stress_figures(record))
