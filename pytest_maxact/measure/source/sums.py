"""Distributions of two models at the same tokens in, sums of a sample out; sums of samples in, figures with intervals
out.
"""

import math

import numpy as np
import numpy.typing as npt
import torch

from pytest_maxact.numbers.bootstrap import intervals, unanimous
from pytest_maxact.record.source import AGREEMENTS, CONFIDENCES, TOPS, Confidence, Departure, Estimate

_BINS = len(CONFIDENCES) - 1
_TOKENS, _NONFINITE, _PREDICTED, _SURPRISE, _OWN_SURPRISE, _KL, _REVERSE = range(7)
_TOP = 7
_BINNED = _TOP + TOPS
COLUMNS = _BINNED + 3 * _BINS
"""Of the sums of a sample: tokens, those not finite and those with a next one; nats at these, of the other model and of
the source; divergences; agreements; by how sure the source is tokens, divergence and agreement.
"""


def compared(log_p: torch.Tensor, log_q: torch.Tensor, after: torch.Tensor) -> npt.NDArray[np.float64]:
    """Sums over tokens: log-probabilities float64 [tokens, vocabulary] of the source and of another, and the token that
    follows each, -1 for none.
    """
    finite = ~(log_p.isnan().any(1) | log_q.isnan().any(1))
    p, q = log_p.exp(), log_q.exp()
    divergence, reverse = (
        torch.where(x == 0, 0.0, x * (of - to)).sum(1).clamp(min=0)
        for x, of, to in ((p, log_p, log_q), (q, log_q, log_p))
    )
    agreement = _agreement(log_p, log_q)
    next_ = after.to(log_p.device)
    surprise, own = (-x.gather(1, next_.clamp(min=0)[:, None]).squeeze(1) for x in (log_q, log_p))
    sums = torch.zeros(len(log_p), COLUMNS, dtype=torch.float64, device=log_p.device)
    sums[:, _TOKENS], sums[:, _NONFINITE], sums[:, _PREDICTED] = 1, (~finite).double(), (next_ >= 0).double()
    for column, told in ((_SURPRISE, surprise), (_OWN_SURPRISE, own)):
        sums[:, column] = torch.where(next_ >= 0, told, 0.0)
    sums[:, _KL], sums[:, _REVERSE] = divergence, reverse
    sums[:, _TOP : _TOP + TOPS] = agreement
    sums[~finite, _SURPRISE:_BINNED] = math.nan
    edges = torch.tensor(CONFIDENCES[1:-1], dtype=torch.float64, device=log_p.device)
    place = torch.searchsorted(edges, p.amax(1).nan_to_num().contiguous(), right=True)
    binned = torch.stack([torch.ones_like(divergence), divergence, agreement[:, 0]], 1)
    for number in range(_BINS):
        first = _BINNED + 3 * number
        sums[:, first : first + 3] = torch.where(((place == number) & finite)[:, None], binned, 0.0)
    found: npt.NDArray[np.float64] = sums.sum(0).cpu().numpy()
    return found


def _agreement(log_p: torch.Tensor, log_q: torch.Tensor) -> torch.Tensor:
    """Of the k most likely tokens of the source the share that is among those of the other, for every k: float64
    [tokens, TOPS]. Tokens as likely as the last of them are among them.
    """
    most = min(TOPS, log_p.shape[1])
    first = log_p.topk(most, 1).indices
    least = log_q.topk(most, 1).values
    likely = log_q.gather(1, first)
    found = [(likely[:, :k] >= least[:, k - 1 : k]).double().mean(1) for k in range(1, most + 1)]
    return torch.stack(found + found[-1:] * (TOPS - most), 1)


def departure_of(sums: npt.NDArray[np.float64], categories: list[str]) -> Departure:
    """Of the sums [samples, COLUMNS] of samples, each of a category."""
    tokens, predicted = sums[:, [_TOKENS]], sums[:, [_PREDICTED]]
    places = [_KL, _REVERSE, *range(_TOP, _TOP + TOPS)]
    told = _estimates(sums[:, places], tokens, categories)
    figures = dict(zip(["mean_kl", "reverse_kl"], map(_divergence, told[:2]), strict=True))
    figures |= dict(zip(AGREEMENTS, [_agreeing(ends, len(sums)) for ends in told[2:]], strict=True))
    surprise, own = sums[:, [_SURPRISE]], sums[:, [_OWN_SURPRISE]]
    nats = _estimates(np.hstack([own, surprise, surprise - own]), predicted, categories)
    for name, ends in zip(("source_perplexity", "perplexity", "perplexity_ratio"), nats, strict=True):
        value, low, high = map(_exp, ends)
        figures[name] = Estimate(value=value, low=low, high=high)
    return Departure(
        samples=len(sums),
        tokens=int(tokens.sum()),
        nonfinite=int(sums[:, _NONFINITE].sum()),
        figures=figures,
        confidence=tuple(_confidence(sums, number, categories) for number in range(_BINS)),
    )


def _confidence(sums: npt.NDArray[np.float64], number: int, categories: list[str]) -> Confidence:
    first = _BINNED + 3 * number
    tokens = sums[:, [first]]
    divergence, agreement = _estimates(sums[:, first + 1 : first + 3], tokens, categories)
    return Confidence(
        low=CONFIDENCES[number], high=CONFIDENCES[number + 1], tokens=int(tokens.sum()),
        mean_kl=_divergence(divergence), top1_agreement=_agreeing(agreement, int((tokens > 0).sum())),
    )  # fmt: skip


def _estimates(
    above: npt.NDArray[np.float64], below: npt.NDArray[np.float64], categories: list[str]
) -> list[tuple[float, float, float]]:
    """Of sums [samples, figures] over sums [samples, 1] each figure, and the ends of its interval around it."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        values = [float(value) for value in above.sum(0) / below.sum(0)]
    return [
        (value, min(low, value), max(high, value)) if math.isfinite(low) else (value, low, high)
        for value, (low, high) in zip(values, intervals(above, below, categories), strict=True)
    ]


def _divergence(ends: tuple[float, float, float]) -> Estimate:
    """None is below zero, wherever an interval would end."""
    value, low, high = ends
    return Estimate(value=value, low=low if math.isnan(low) else max(low, 0.0), high=high)


def _agreeing(ends: tuple[float, float, float], samples: int) -> Estimate:
    """Of a share, which lies between none and all, of so many samples."""
    value, low, high = ends
    if math.isnan(low):
        low, high = unanimous(value, samples)
        return Estimate(value=value, low=low, high=high)
    return Estimate(value=value, low=max(low, 0.0), high=min(high, 1.0))


def _exp(nats: float) -> float:
    with np.errstate(over="ignore", invalid="ignore"):
        return float(np.exp(np.float64(nats)))
