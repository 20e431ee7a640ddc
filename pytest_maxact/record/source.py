"""What an artifact is against the source that it was made from, as plain data: its weights, tensor by tensor, and its
predictions.

Guards that a part which was not compared says why; nothing of it then passes a limit.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from pytest_maxact.numbers.against import Weights
from pytest_maxact.numbers.checked import Count, FigureAboveZero, Share, Size


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A figure of samples, with the interval that 95 of 100 such sets of samples give; NaN where there is none."""

    value: FigureAboveZero
    low: FigureAboveZero
    high: FigureAboveZero


@dataclass(frozen=True, slots=True, kw_only=True)
class Confidence:
    """Tokens at which the source gives its most likely token a probability from `low` up to `high`."""

    low: Share
    high: Share
    tokens: Count
    mean_kl: Estimate
    top1_agreement: Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class Departure:
    """How far next-token distributions are from those of the source, on evaluation samples: `figures` by the names of
    `QUANTITIES`, perplexities beside them, and by how sure the source is. `nonfinite`: tokens at which a distribution
    of either is not finite.
    """

    samples: Size
    tokens: Size
    nonfinite: Count
    figures: Mapping[str, Estimate]
    confidence: tuple[Confidence, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """What is known beforehand of such a comparison: the `form` of the artifact's weights, empty in 16 bits, and
    whether predictions are compared too.
    """

    form: str
    predicted: bool


TOPS = 5
AGREEMENTS = tuple(f"top{k}_agreement" for k in range(1, TOPS + 1))
QUANTITIES = ("mean_kl", "reverse_kl", *AGREEMENTS, "perplexity_ratio")
"""Kullback-Leibler divergence of the artifact from the source in nats per token, the reverse of it, the share of the
source's k most likely tokens that are among the artifact's, and perplexity over the source's.
"""
PERPLEXITIES = ("source_perplexity", "perplexity")
CONFIDENCES = (0.0, 0.25, 0.5, 0.75, 0.9, 0.99, 1.0)
"""Where bins of the source's largest probability begin and end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgainstSource:
    """What was compared with a `source`, by the name it was given by and the digest of its weights; `form`: that of
    most weights of the artifact, `compressed-tensors int4`, empty where all lie in 16 bits.

    `predictions`: None where they were not compared, and `unpredicted` says why; `noise`: the source against itself
    under another batching, None where each of its samples runs alone anyway.
    """

    source: str
    weights_sha256: str
    form: str
    weights: Weights
    predictions: Departure | None = None
    noise: Departure | None = None
    unpredicted: str = ""

    @property
    def name(self) -> str:
        """The source as reports call it: the last part of what it was given by."""
        return self.source.replace("\\", "/").rstrip("/").rpartition("/")[2] or self.source

    @property
    def compared(self) -> Compared:
        return Compared(form=self.form, predicted=self.predictions is not None)
