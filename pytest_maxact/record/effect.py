"""What a scheme does to predictions, as plain data."""

from dataclasses import dataclass, field, fields

from pytest_maxact.numbers.checked import LATER, Count, FigureAboveZero, FigureAsShare

KEPT = " kept"
"""Ends the name of an effect that was measured with the sites that fail kept in 16 bits: `W8A8 kept`."""

UNDONE = " undone"
"""Ends the name of an effect that was measured with one linear layer alone in 16 bits: the one that mends predictions,
or, where none does, the one that the search for it ended at.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleEffect:
    """Sums over the tokens of one sample: divergences, tokens whose most likely one stays; and over those that another
    one follows, `predicted`, the surprise in nats of the model itself and under the scheme.
    """

    category: str
    tokens: Count
    predicted: Count
    kl: FigureAboveZero
    stays: Count
    nll: FigureAboveZero
    nll_under: FigureAboveZero


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """What a scheme does to predictions on evaluation samples: `mean_kl` and `kl_q99`, Kullback-Leibler divergence of
    the next-token distribution from that of the model itself, in nats, over `tokens` tokens; `top1_agreement`, the
    share of them whose most likely token stays; `perplexity` of the model itself and `perplexity_ratio` of the
    quantized one to it. `kept`: sites, or linear layers, that stayed in 16
    bits.
    """

    scheme: str
    samples: Count
    tokens: Count
    mean_kl: FigureAboveZero
    kl_q99: FigureAboveZero
    top1_agreement: FigureAsShare
    perplexity: FigureAboveZero
    perplexity_ratio: FigureAboveZero
    kept: tuple[str, ...] = ()
    by_sample: tuple[SampleEffect, ...] = field(default=(), metadata=LATER)
    """What the figures are made of, sample by sample; empty in a Record of an earlier version."""


_NO_FIGURES = ("scheme", "samples", "tokens", "kept", "by_sample")
EFFECTS = tuple(one.name for one in fields(Effect) if one.name not in _NO_FIGURES)
"""Quantities of an effect that a limit may bound."""
