"""The form of a limits file: plain data in, a validated document out; strict, no unknown keys, no NaN or infinity.
Editors are told it by limits.schema.json, which follows from these models.
"""

from datetime import date
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    GetJsonSchemaHandler,
    StringConstraints,
    Tag,
    field_validator,
    model_validator,
)
from pydantic_core import CoreSchema

from pytest_maxact.numbers.schemes import SCHEMES

Kind = Literal[
    "embedding",
    "hidden",
    "attn_output",
    "mlp_output",
    "gate",
    "router",
    "qkv_in",
    "o_in",
    "mlp_in",
    "down_in",
    "final_norm",
]
Figure = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Headroom = Annotated[float, Field(ge=1, allow_inf_nan=False)]
INT8 = "int8"
_MappedHeadroom = Annotated[dict[Literal[Kind, "int8"], Headroom], Field(min_length=1)]
ShapeHeadroom = Annotated[
    Annotated[Headroom, Tag("[number]")] | Annotated[_MappedHeadroom, Tag("[mapping]")],
    Discriminator(lambda value: "[mapping]" if isinstance(value, dict) else "[number]"),
]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Decibel = Annotated[float, Field(allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Factor = Annotated[float, Field(gt=1, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0)]
Words = Annotated[str, StringConstraints(min_length=1, strip_whitespace=True)]
Text = Annotated[str, StringConstraints(min_length=1)]
Policy = Annotated[str, StringConstraints(pattern=r"^(max_abs|optimal|clip_q(0?\.\d*[1-9]\d*|1(\.0+)?))$")]
Figures = dict[Kind, Figure]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Int8Rule(_Strict):
    """An INT-8 limit. `sqnr_db` is a figure, bounded with headroom; the `min_` and `max_` keys are bounds as they
    stand.
    """

    site: Text = "carrier"
    policy: Policy = "max_abs"
    sqnr_db: Decibel | None = None
    min_sqnr_db: Decibel | None = None
    max_rel_rmse: Figure | None = None
    max_rel_mae: Figure | None = None
    max_clip_rate: Share | None = None
    max_flush_to_zero: Share | None = None

    @model_validator(mode="after")
    def _states_a_bound(self) -> "Int8Rule":
        if self.sqnr_db is not None and self.min_sqnr_db is not None:
            raise ValueError("give sqnr_db (a figure, with headroom) or min_sqnr_db (a bound), not both")
        if all(getattr(self, name) is None for name in type(self).model_fields if name not in ("site", "policy")):
            raise ValueError(
                "an int8 rule needs a bound: sqnr_db, min_sqnr_db, max_rel_rmse, max_rel_mae, max_clip_rate or"
                " max_flush_to_zero"
            )
        return self


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, dict) else value


def _no_rule_twice(rules: list[Int8Rule]) -> list[Int8Rule]:
    _refuse_repeats([f"site {rule.site!r} with policy {rule.policy!r}" for rule in rules])
    return rules


def _refuse_repeats(names: list[str]) -> None:
    repeated = [name for i, name in enumerate(names) if name in names[:i]]
    if repeated:
        raise ValueError(f"{repeated[0]} is given twice; only one would be used")


class _OneOrSeveral:
    """Tells editors that a list may be written as its single entry."""

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        several = handler(core)
        return {"anyOf": [several["items"], several]}


Int8Rules = Annotated[list[Int8Rule], BeforeValidator(_as_list), AfterValidator(_no_rule_twice), _OneOrSeveral()]


class MeasuredOn(_Strict):
    """What figures were measured on: the corpus by name and the beginning of its digest, its tokens, and the dtype of
    the model.
    """

    corpus: Text
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{8,64}$")]
    tokens: Annotated[int, Field(gt=0)]
    dtype: Text


class Checkpoint(_Strict):
    """One checkpoint's own largest magnitude, and the site that carried it: context for reports, no limit."""

    max_abs: Figure
    carrier: Text


Checkpoints = Annotated[
    Annotated[list[Text], Tag("[list]")] | Annotated[dict[Text, Checkpoint], Tag("[mapping]")],
    Discriminator(lambda value: "[mapping]" if isinstance(value, dict) else "[list]"),
]
"""By name, or by name with their own figures."""


class Shape(_Strict):
    """Figures of one depth and width; `checkpoints` are those they were taken from, `source` says how, where that is
    not as for the family, and `measured` on what: a run on less or other text then says so.

    `headroom`: a number for all of its figures, or one per site kind and for `int8`.
    """

    name: Text
    checkpoints: Checkpoints = []
    source: Text | None = None
    measured: MeasuredOn | None = None
    layers: Annotated[int, Field(gt=0)]
    hidden_size: Annotated[int, Field(gt=0)]
    headroom: ShapeHeadroom | None = None
    limits: Figures
    layer_limits: dict[Text, Figures] = {}
    int8: Int8Rules = []

    @property
    def figures_of_checkpoints(self) -> dict[str, Checkpoint]:
        """The checkpoints whose own figures are stated."""
        return self.checkpoints if isinstance(self.checkpoints, dict) else {}

    def headroom_of(self, what: str, otherwise: float) -> float:
        """The headroom of a site kind's figures, or of those of `int8`; `otherwise` where the shape does not say.

        An INT-8 figure takes the number, the mapping's own `int8`, or the mapping's largest: an outlier that grows by a
        factor costs as many dB.
        """
        if not isinstance(self.headroom, dict):
            return self.headroom or otherwise
        stated = {str(key): headroom for key, headroom in self.headroom.items()}
        return stated.get(what, max(stated.values()) if what == INT8 else otherwise)


class Envelope(_Strict):
    """Limits for a shape of the family that has none: its largest figures times this headroom."""

    headroom: Headroom


class Family(_Strict):
    model_types: list[Text] = []
    source: Text | None = None
    headroom: Headroom | None = None
    shapes: list[Shape] = []
    envelope: Envelope | None = None
    limits: Figures = {}
    layers: dict[Text, Figures] = {}
    int8: Int8Rules = []
    max_unreached_experts: Share | None = None

    @field_validator("shapes")
    @classmethod
    def _no_shape_twice(cls, shapes: list[Shape]) -> list[Shape]:
        _refuse_repeats([f"a shape of {shape.layers} layers x {shape.hidden_size}" for shape in shapes])
        return shapes


class Generic(_Strict):
    """Rules that hold for every family: no non-finite entry; `max_abs` of a site under the family `generic`; the share
    of routed experts of a layer that no token may have reached, where a family does not state its own.
    """

    source: Text | None = None
    nonfinite: Literal[0] = 0
    max_abs: Figure = 65504.0
    max_unreached_experts: Share | None = None


class Fitness(_Strict):
    """Bounds on what a deployment scheme costs: at every input of a linear layer (`sqnr_db` to `rel_rmse`), in every
    weight (`weight_sqnr_db`), in predictions (`mean_kl` in nats to `perplexity_ratio`), and how far every tensor stays
    below the largest number of FP16 or BF16 (`headroom`).
    """

    min_sqnr_db: Decibel | None = None
    min_token_median_db: Decibel | None = None
    min_token_low_db: Decibel | None = None
    min_calm_sqnr_db: Decibel | None = None
    max_flush_to_zero: Share | None = None
    max_clip_rate: Share | None = None
    max_rel_rmse: Figure | None = None
    min_weight_sqnr_db: Decibel | None = None
    max_mean_kl: Figure | None = None
    max_kl_q99: Figure | None = None
    min_top1_agreement: Share | None = None
    max_perplexity_ratio: Figure | None = None
    min_headroom: Figure | None = None


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


class Change(_Strict):
    """Bounds on what may change at one site from a baseline to the checkpoint under test.

    - `max_growth`, `max_shrink`: factor between the largest magnitudes; `growth_floor`: a smaller magnitude counts as
      this much.
    - `max_shift`: largest difference between the two distributions of magnitudes, as shares of entries below a value
      (Kolmogorov and Smirnov).
    - `max_sqnr_drop_db`: loss of SQNR, INT-8 per tensor and of every scheme that was measured; `sqnr_floor_db`: no loss
      counts down to this SQNR.
    """

    max_growth: Factor | None = None
    max_shrink: Factor | None = None
    growth_floor: NotNegative | None = None
    max_shift: Share | None = None
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


class WaiverEntry(_Strict):
    """Checks that are known to fail and let pass until a day: `site`, `metric` and `checkpoint` (of a series) are
    patterns with `*`, `?` and `[0-3]`.

    `family`: the entry speaks about this family only. `up_to`: the worst value that it lets pass, of the one metric
    that it then names.
    """

    site: Text
    metric: Text = "*"
    checkpoint: Text = "*"
    family: Text | None = None
    reason: Words
    owner: Words
    until: date
    up_to: Annotated[float, Field(allow_inf_nan=False)] | None = None

    @model_validator(mode="after")
    def _one_metric_for_a_value(self) -> "WaiverEntry":
        if self.up_to is not None and any(sign in self.metric for sign in "*?["):
            raise ValueError("`up_to` is a value of one metric, and `metric` names none, or several; say which")
        return self


class LimitsDocument(_Strict):
    version: Literal[1]
    extends: Literal["builtin"] | None = None
    protocol: Literal["paper", "deployed"] = "paper"
    headroom: Headroom = 1.25
    source: Text | None = None
    generic: Generic | None = None
    deploy: Deploy | None = None
    regression: Regression | None = None
    waive: list[WaiverEntry] = []
    families: dict[Text, Family] = {}
