"""The form of a family's limits: figures by shape, site kind and pattern, and INT-8 rules.

Guard: no shape and no rule is stated twice.
"""

from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Discriminator,
    Field,
    GetJsonSchemaHandler,
    StringConstraints,
    Tag,
    field_validator,
    model_validator,
)
from pydantic_core import CoreSchema

from pytest_maxact.judge.limits.schema.runs import by_layer
from pytest_maxact.judge.limits.schema.terms import (
    INT8,
    Decibel,
    Figure,
    Figures,
    FiguresOrRuns,
    Headroom,
    Nats,
    Policy,
    RunsByKind,
    Section,
    ShapeHeadroom,
    Share,
    Text,
)
from pytest_maxact.numbers.dtypes import full_name


class Int8Rule(Section):
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
        *bounds, last = (name for name in type(self).model_fields if name not in ("site", "policy"))
        if all(getattr(self, name) is None for name in (*bounds, last)):
            raise ValueError(f"an int8 rule needs a bound: {', '.join(bounds)} or {last}")
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


MEASURED_HEADROOM = 1.25
"""Of figures that say what they were measured on, where none is stated; numbers that a person wrote have none."""


class MeasuredOn(Section):
    """What figures were measured on: the corpus by name and the beginning of its digest, its tokens, and the dtype of
    the model.
    """

    corpus: Text
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{8,64}$")]
    tokens: Annotated[int, Field(gt=0)]
    dtype: Annotated[Text, AfterValidator(full_name)]


class Checkpoint(Section):
    """One checkpoint's own largest magnitude, and the site that carried it: context for reports, no limit."""

    max_abs: Figure
    carrier: Text


Checkpoints = Annotated[
    Annotated[list[Text], Tag("[list]")] | Annotated[dict[Text, Checkpoint], Tag("[mapping]")],
    Discriminator(lambda value: "[mapping]" if isinstance(value, dict) else "[list]"),
]
"""By name, or by name with their own figures."""


class Shape(Section):
    """Figures of one depth and width; `checkpoints` are those they were taken from, `source` says how, where that is
    not as for the family, and `measured` on what: a run on less or other text then says so.

    `headroom`: a number for all of its figures, or one per site kind and for `int8`; where it is stated nowhere, those
    with `measured` have one all the same, and others stand as they are. `by_layer`: the figure of every
    layer, which comes before that of its kind; `medians`: the typical magnitude, from which lower limits follow.
    """

    name: Text
    checkpoints: Checkpoints = []
    source: Text | None = None
    measured: MeasuredOn | None = None
    layers: Annotated[int, Field(gt=0)]
    hidden_size: Annotated[int, Field(gt=0)]
    headroom: ShapeHeadroom | None = None
    limits: Figures
    by_layer: RunsByKind = {}
    medians: FiguresOrRuns = {}
    layer_limits: dict[Text, Figures] = {}
    min_max_abs: Figures = {}
    min_median: Figures = {}
    int8: Int8Rules = []

    @model_validator(mode="after")
    def _layers_it_has(self) -> "Shape":
        stated = [("by_layer", kind, runs) for kind, runs in self.by_layer.items()]
        stated += [("medians", kind, runs) for kind, runs in self.medians.items() if isinstance(runs, str)]
        for key, kind, runs in stated:
            if (last := max(by_layer(runs))) >= self.layers:
                raise ValueError(f"{key} of {kind} has layer {last}, and the shape layers 0 to {self.layers - 1}")
        return self

    @property
    def figures_of_checkpoints(self) -> dict[str, Checkpoint]:
        """The checkpoints whose own figures are stated."""
        return self.checkpoints if isinstance(self.checkpoints, dict) else {}

    def headroom_of(self, what: str, asked: float | None) -> float | None:
        """The headroom of a site kind's figures, or of those of `int8`, None where they are the limits themselves;
        `asked`: what the family or the file says.

        An INT-8 figure takes the number, the mapping's own `int8`, or the mapping's largest: an outlier that grows by a
        factor costs as many dB.
        """
        otherwise = asked or (MEASURED_HEADROOM if self.measured else None)
        if not isinstance(self.headroom, dict):
            return self.headroom or otherwise
        stated = {str(key): headroom for key, headroom in self.headroom.items()}
        return stated.get(what, max(stated.values()) if what == INT8 else otherwise)


class Envelope(Section):
    """Limits for a shape of the family that has none: its largest figures times this headroom."""

    headroom: Headroom


class Family(Section):
    """Limits of one family. `min_margin` stands before that of `generic:`, and `null` here says nothing of it."""

    model_types: list[Text] = []
    source: Text | None = None
    headroom: Headroom | None = None
    shapes: list[Shape] = []
    envelope: Envelope | None = None
    limits: Figures = {}
    layers: dict[Text, Figures] = {}
    min_max_abs: Figures = {}
    min_median: Figures = {}
    int8: Int8Rules = []
    max_unreached_experts: Share | None = None
    min_margin: Nats | None = None

    @field_validator("shapes")
    @classmethod
    def _no_shape_twice(cls, shapes: list[Shape]) -> list[Shape]:
        _refuse_repeats([f"a shape of {shape.layers} layers x {shape.hidden_size}" for shape in shapes])
        return shapes
