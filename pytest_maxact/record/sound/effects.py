"""Whether what is kept of an effect's samples adds up to the effect."""

import math

from pytest_maxact.numbers.counted import counted_of
from pytest_maxact.record.effect import Effect

_NEAR = 1e-6


def require_sound_samples(key: str, effect: Effect) -> None:
    """Raise ValueError where it does not; nothing is asked of an effect of an earlier version."""
    found = effect.by_sample
    if not found:
        return
    if len(found) != effect.samples:
        raise ValueError(f"{key}.by_sample: {counted_of(len(found), effect.samples, 'sample')}")
    predicted = sum(one.predicted for one in found)
    stated = (
        ("tokens", sum(one.tokens for one in found), effect.tokens),
        ("kl", sum(one.kl for one in found), effect.mean_kl * effect.tokens),
        ("stays", sum(one.stays for one in found), effect.top1_agreement * effect.tokens),
        ("nll", sum(one.nll for one in found), _log(effect.perplexity) * predicted),
        (
            "nll_under",
            sum(one.nll_under for one in found),
            (_log(effect.perplexity) + _log(effect.perplexity_ratio)) * predicted,
        ),
    )
    for name, added, whole in stated:
        if math.isfinite(whole) and not math.isclose(added, whole, rel_tol=_NEAR, abs_tol=_NEAR):
            raise ValueError(f"{key}.by_sample: {name} adds up to {added:g}, where the effect has {whole:g}")
    if any(one.stays > one.tokens or one.predicted > one.tokens for one in found):
        raise ValueError(f"{key}.by_sample: more of the tokens of a sample than it has")


def _log(value: float) -> float:
    return math.log(value) if 0 < value < math.inf else math.nan
