"""What a verdict rests on: limits, the size of the text and findings in; how wide the limits are, how much less the
text is than that behind the limits, and whether it is too little, out.

Guard: a verdict on less text, or by limits far above what was found, is never told as plainly as one that is not.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pytest_maxact.judge.limits.rules import Ruleset
from pytest_maxact.judge.verdict.finding import Finding
from pytest_maxact.numbers.counted import plural
from pytest_maxact.record.metrics.metric import MAX_ABS

WIDE = 4.0
"""Limits of less than so many times what was found are not remarked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Amount:
    """How many of `what`, a token or a sample, of how many behind the limits, 0 where nobody says; `least`: the share
    of those on which a verdict still stands.
    """

    what: str
    seen: int
    of: int
    least: float

    @property
    def is_short(self) -> bool:
        return not self.seen >= self.of * self.least

    @property
    def words(self) -> str:
        """`168 tokens of 16 M`."""
        return f"{_grouped(self.seen)} {plural(self.seen, self.what)} of {_rounded(self.of)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Strength:
    """The text, and how many times the largest magnitude of its site the `widest` limit is, 0.0 where none is wide;
    `envelope`: whether limits come from other shapes; `unscaled`: whether static scales of the checkpoint were not
    checked.
    """

    tokens: Amount
    samples: Amount
    widest: float = 0.0
    envelope: bool = False
    unscaled: bool = False

    @property
    def words(self) -> str:
        """What stands behind PASS: ` against envelope limits (widest 819 x above what was found), on 168 tokens of
        16 M`.
        """
        parts = []
        if self.envelope:
            widest = f" (widest {_times(self.widest)} x above what was found)" if self.widest else ""
            parts.append(f" against envelope limits{widest}")
        elif self.widest:
            parts.append(f" against limits up to {_times(self.widest)} x above what was found")
        if self.tokens.seen < self.tokens.of:
            parts.append(f" on {self.tokens.words}")
        if self.unscaled:
            parts.append(" with static scales unchecked")
        return ",".join(parts)

    @property
    def shortage(self) -> str:
        """Why the text is too little, empty where it is enough."""
        short = [amount for amount in (self.tokens, self.samples) if amount.is_short]
        if not short:
            return ""
        what = " and ".join(amount.words for amount in short)
        least = " and ".join(
            f"{_grouped(asked := math.ceil(amount.of * amount.least))} {plural(asked, amount.what)}" for amount in short
        )
        return f"too little text: {what} that the limits were found on; a verdict needs {least} at least"


def strength_of(
    rules: Ruleset, tokens: int, samples: int, findings: Sequence[Finding] = (), unscaled: bool = False
) -> Strength:  # fmt: skip
    """Of one checkpoint, before it is measured without `findings`."""
    text, measured = rules.text, rules.measured
    if measured:
        of_tokens, of_samples = measured.tokens, 0
    else:
        of_tokens, of_samples = (text.tokens, text.samples) if text else (0, 0)
    room = [_room(finding) for finding in findings]
    widest = max(room, default=0.0)
    return Strength(
        tokens=Amount(what="token", seen=tokens, of=of_tokens, least=text.least_tokens if text else 0.0),
        samples=Amount(what="sample", seen=samples, of=of_samples, least=text.least_samples if text else 0.0),
        widest=widest if widest >= WIDE else 0.0,
        envelope=any(finding.limit.envelope for finding in findings),
        unscaled=unscaled,
    )


def weakest(strengths: Iterable[Strength]) -> Strength | None:
    """Of several checkpoints, what is weakest in any; None of none."""
    given = list(strengths)
    if not given:
        return None
    return Strength(
        tokens=min((one.tokens for one in given), key=_share),
        samples=min((one.samples for one in given), key=_share),
        widest=max(one.widest for one in given),
        envelope=any(one.envelope for one in given),
        unscaled=any(one.unscaled for one in given),
    )


def _share(amount: Amount) -> float:
    return amount.seen / amount.of if amount.of else math.inf


def _room(finding: Finding) -> float:
    """How many times what was found an upper limit on a magnitude is."""
    limit, value = finding.limit, finding.value
    if (
        limit.metric != MAX_ABS
        or limit.sense != "max"
        or not finding.passed
        or not (math.isfinite(value) and value > 0)
    ):
        return 0.0
    return limit.bound / value


def _times(factor: float) -> str:
    """To three digits."""
    rounded = float(f"{factor:.3g}")
    return f"{rounded:.3g}" if rounded < 1000 else _grouped(int(rounded))


def _grouped(number: int) -> str:
    return f"{number:,}".replace(",", " ")


def _rounded(number: int) -> str:
    return f"{number / 1e6:.3g} M" if number >= 1_000_000 else _grouped(number)
