"""The form of what a limits file says beside its families: rules that all share, fitness for deployment, changes from a
baseline, and waivers.
"""

from datetime import date
from typing import Annotated

from pydantic import Field, field_validator, model_validator

from pytest_maxact.judge.limits.schema.terms import (
    ZERO_ONLY,
    Count,
    Decibel,
    Factor,
    Figure,
    Figures,
    Headroom,
    Headrooms,
    Nats,
    NotNegative,
    Section,
    Share,
    Text,
    Words,
)
from pytest_maxact.numbers.schemes import SCHEMES


class Weights(Section):
    """Of every tensor of the weight files: how many entries may be NaN or infinite, how many tensors other than the
    config calls for, how many matrices nothing but zeros.
    """

    nonfinite: ZERO_ONLY = 0
    misfit: ZERO_ONLY = 0
    all_zero: Count = 0


class StaticScales(Section):
    """Of every static scale of an artifact, of inputs of linear layers and of the KV cache, held against what text
    reaches there: SQNR at that scale, and how much is lost to the one that would do; the share of entries clipped; by
    what factor the largest entry lies beyond what the scale reaches, and by what factor the reach beyond the largest
    entry.
    """

    min_sqnr_db: Decibel = 10.0
    max_loss_db: NotNegative = 6.0
    max_clip_rate: Share = 0.01
    max_overflow: Factor = 8.0
    max_spare: Factor = 64.0


class Generic(Section):
    """Rules that hold for every family: no non-finite entry; `max_abs` of a site under the family `generic`; the share
    of routed experts of a layer that no token may have reached, where a family does not state its own; `weights`, of
    all weight files; `static_scales`, of those of a quantized artifact.

    - `min_margin`: nats per token by which the model predicts the category of text in the middle better than the shares
      of its tokens do.
    - `min_changed`: share of the residual stream's entries that every layer, and every block of it, changes by more
      than one part in 512.

    Both hold where no file says anything of them; `null` is the only way not to ask. A family may state its own margin.
    """

    source: Text | None = None
    nonfinite: ZERO_ONLY = 0
    max_abs: Figure = 65504.0
    max_unreached_experts: Share | None = None
    min_margin: Nats | None = 0.25
    min_changed: Share | None = 0.05
    weights: Weights = Weights()
    static_scales: StaticScales = StaticScales()


class FoundOn(Section):
    """The text that the figures of a file were found on, and the shares of it below which a verdict is told to rest on
    too little.
    """

    tokens: Annotated[int, Field(gt=0)]
    samples: Annotated[int, Field(gt=0)]
    least_tokens: Share = 0.0
    least_samples: Share = 0.0


class Attention(Section):
    """Bounds on what attention works with, where it is observed, for every family. They hold where no file says
    anything of them; `null` is the only way not to ask.

    - `max_channel_ratio`: how many times the middle channel of its head, or of its layer, a channel of keys, values or
      of a latent state may reach.
    - `max_layer_ratio`: how many times the middle one of the other layers the queries or keys of a layer may reach.
    - `max_logit_ratio`: how many times the middle head the largest score of a head may be.
    """

    source: Text | None = None
    max_channel_ratio: Headroom | None = 24.0
    max_layer_ratio: Headroom | None = 24.0
    max_logit_ratio: Headroom | None = 32.0


class Fitness(Section):
    """Bounds on what a deployment scheme costs: at every input of a linear layer, or in keys and values (`sqnr_db` to
    `rel_rmse`; `centred_sqnr_db`: of keys about their mean), in every weight (`weight_sqnr_db`,
    `weight_flush_to_zero`), in predictions (`mean_kl` in nats to `perplexity_ratio`), and how far every tensor stays
    below the largest number of FP16 or BF16 (`headroom`), attention scores below that of FP16 (`score_headroom`).
    """

    min_sqnr_db: Decibel | None = None
    min_token_median_db: Decibel | None = None
    min_token_low_db: Decibel | None = None
    min_calm_sqnr_db: Decibel | None = None
    min_centred_sqnr_db: Decibel | None = None
    max_flush_to_zero: Share | None = None
    max_clip_rate: Share | None = None
    max_rel_rmse: Figure | None = None
    min_weight_sqnr_db: Decibel | None = None
    max_weight_flush_to_zero: Share | None = None
    max_mean_kl: Figure | None = None
    max_kl_q99: Figure | None = None
    min_top1_agreement: Share | None = None
    max_perplexity_ratio: Figure | None = None
    min_headroom: Figure | None = None
    min_score_headroom: Figure | None = None


class Deploy(Fitness):
    """Bounds for every scheme, and for single ones by name, which come first."""

    source: Text | None = None
    schemes: dict[Text, Fitness] = {}

    @field_validator("schemes")
    @classmethod
    def _known_schemes(cls, schemes: dict[str, Fitness]) -> dict[str, Fitness]:
        for name in schemes:
            if name not in SCHEMES:
                raise ValueError(f"no scheme called {name!r}; there are {', '.join(SCHEMES)}")
        return schemes


class Change(Section):
    """Bounds on what may change at one site from a baseline to the checkpoint under test.

    - `max_growth`, `max_shrink`: factor between the largest magnitudes; `growth_floor`: a smaller magnitude counts as
      this much.
    - `max_shift`: largest difference between the two distributions of magnitudes, as shares of entries below a value
      (Kolmogorov and Smirnov).
    - `max_turn`: how far a block's outputs on the probe may point away from those of the baseline, 1 less the cosine.
    - `max_sqnr_drop_db`: loss of SQNR, INT-8 per tensor and of every scheme that was measured; `sqnr_floor_db`: no loss
      counts down to this SQNR.
    """

    max_growth: Factor | None = None
    max_shrink: Factor | None = None
    growth_floor: NotNegative | None = None
    max_shift: Share | None = None
    max_turn: Annotated[float, Field(ge=0, le=2, allow_inf_nan=False)] | None = None
    max_sqnr_drop_db: NotNegative | None = None
    sqnr_floor_db: Decibel | None = None


class Regression(Change):
    """Bounds on changes at every site, at those that a pattern names, which come first, and in the residual stream as a
    whole.

    - `max_new_massive_layers`: layers that meet the massive-activation criterion and did not; `massive_floor`: on fewer
      tokens it does not count.
    - `max_jump_shift`: layers by which the first jump layer may move; `jump_floor`: a jump to a smaller magnitude does
      not count.
    """

    source: Text | None = None
    max_new_massive_layers: Count | None = None
    massive_floor: Count | None = None
    max_jump_shift: Count | None = None
    jump_floor: NotNegative | None = None
    sites: dict[Text, Change] = {}


class Spread(Section):
    """What margins were derived from, the largest factors seen: how M grew with more text; between a checkpoint's layer
    and those of other checkpoints of its shape, upward (`spread`, of small layers `small_spread`) and downward (`fall`,
    `median_fall`); between the smallest layer of a shape and those of its family. Context, no limits.
    """

    growth: Figure
    spread: Headrooms = {}
    small_spread: Headrooms = {}
    fall: Headrooms = {}
    median_fall: Headrooms = {}
    family_fall: Headroom
    family_median_fall: Headroom


class Margins(Section):
    """How figures of layers become limits, factors by site kind.

    - `headroom`: of a layer's own figure, where shape and family state none. `small_headroom`: the same of a layer
      whose figure is less than `small` of the largest of its kind: small layers vary more.
    - `least`: a maximum below a layer's figure over this is implausibly small; `least_median` likewise of a median.
    - `envelope_least`, `envelope_least_median`: likewise below the smallest figure of any layer of the family, for a
      shape that nobody published; a maximum counts as `envelope_most` at most, for a family's smallest layer may be
      large because its models are.
    """

    source: Text | None = None
    evidence: Spread | None = None
    headroom: Headrooms = {}
    small: Share = 0.0
    small_headroom: Headrooms = {}
    least: Headrooms = {}
    least_median: Headrooms = {}
    envelope_least: Headrooms = {}
    envelope_most: Figures = {}
    envelope_least_median: Headrooms = {}


class WaiverEntry(Section):
    """Checks that are known to fail and let pass until a day: `site`, `metric` and `checkpoint` (of a series) are
    patterns with `*`, `?` and `[0-3]`.

    `family`: the entry speaks about this family only. `up_to`: the worst value that it lets pass, of the one metric
    that it then names. `everything`: it is meant to speak about all sites, or about all checks of a run.
    """

    site: Text
    metric: Text = "*"
    checkpoint: Text = "*"
    family: Text | None = None
    reason: Words
    owner: Words
    until: date
    up_to: Annotated[float, Field(allow_inf_nan=False)] | None = None
    everything: bool = False

    @model_validator(mode="after")
    def _one_metric_for_a_value(self) -> "WaiverEntry":
        if self.up_to is not None and any(sign in self.metric for sign in "*?["):
            raise ValueError("`up_to` is a value of one metric, and `metric` names none, or several; say which")
        return self
