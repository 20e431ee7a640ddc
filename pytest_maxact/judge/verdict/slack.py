"""Limits that are much wider than what was found: findings in, one line with the command that tightens them out. A
notice, never a failure.

Only limits that stand on a figure are counted, for those are what the command sets: bounds that a person stated as such
stay as they are.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from pytest_maxact.judge.verdict.finding import Finding

TIMES, DECIBELS = 4.0, 12.0
"""A limit of more than so many times the value, or so many dB below it (the same factor), is wide."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Slack:
    """How many of the `judged` limits are `wide`, and the finding whose limit is the `widest`."""

    wide: int
    judged: int
    widest: Finding

    def line(self, command: str) -> str:
        """For a person; `command` is what tightens the limits."""
        value, bound = self.widest.value, self.widest.limit.bound
        return (
            f"{self.wide} of {self.judged} limits lie more than {TIMES:g} times above what was found (the widest:"
            f" {self.widest.limit.site}, {bound:.6g} for"
            f" {value:.6g}{'' if self.widest.limit.sense == 'max' else ' dB'}); to tighten them: {command}"
        )


def notices(findings: Sequence[Finding]) -> Slack | None:
    """The slack of a run's limits; None where no limit is wide."""
    room = {index: _room(finding) for index, finding in enumerate(findings)}
    wide = [index for index, times in room.items() if times >= TIMES]
    if not wide:
        return None
    return Slack(wide=len(wide), judged=len(findings), widest=findings[max(wide, key=lambda index: room[index])])


def _room(finding: Finding) -> float:
    """How many times what was found the limit is, dB as a factor on the error's amplitude; 0.0 where there is nothing
    to say.
    """
    limit, value = finding.limit, finding.value
    if not finding.passed or limit.figure is None or not math.isfinite(value):
        return 0.0
    if limit.sense == "max":
        return limit.bound / value if value > 0 else 0.0
    return TIMES ** ((value - limit.bound) / DECIBELS) if limit.metric.is_in_decibels else 0.0
