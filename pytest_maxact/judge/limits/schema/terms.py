"""Terms that the sections of a limits file are made of: kinds, figures, shares, decibels, text. A model that takes any
other key, or a number that is none, is not a section.
"""

from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    StringConstraints,
    Tag,
)

from pytest_maxact.judge.limits.schema.runs import PATTERN, by_layer

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
Headroom = Annotated[float, Field(ge=1, le=1e30, allow_inf_nan=False)]
INT8 = "int8"
_MappedHeadroom = Annotated[dict[Literal[Kind, "int8"], Headroom], Field(min_length=1)]
ShapeHeadroom = Annotated[
    Annotated[Headroom, Tag("[number]")] | Annotated[_MappedHeadroom, Tag("[mapping]")],
    Discriminator(lambda value: "[mapping]" if isinstance(value, dict) else "[number]"),
]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Decibel = Annotated[float, Field(ge=-100, le=1000, allow_inf_nan=False)]
"""Beyond either lies no error of a number format: a bound there would hold always, or never."""
Nats = Annotated[float, Field(allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Factor = Annotated[float, Field(gt=1, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0)]
Words = Annotated[str, StringConstraints(min_length=1, strip_whitespace=True)]
Text = Annotated[str, StringConstraints(min_length=1)]
Policy = Annotated[str, StringConstraints(pattern=r"^(max_abs|optimal|clip_q(0?\.\d*[1-9]\d*|1(\.0+)?))$")]
Figures = dict[Kind, Figure]


def _no_flag(value: Any) -> Any:
    """True is 1 in Python, and no number in a limits file."""
    if isinstance(value, bool):
        raise ValueError("should be a number")
    return value


ONE_ONLY = Annotated[Literal[1], BeforeValidator(_no_flag)]
ZERO_ONLY = Annotated[Literal[0], BeforeValidator(_no_flag)]


def _readable(text: str) -> str:
    by_layer(text)
    return text


Runs = Annotated[str, StringConstraints(strip_whitespace=True), AfterValidator(_readable), Field(pattern=PATTERN)]
"""Figures of layers, in runs: `0=27.1 1=80.5 2-15=17280`."""
RunsByKind = dict[Kind, Runs]
FiguresOrRuns = dict[
    Kind,
    Annotated[
        Annotated[Figure, Tag("[number]")] | Annotated[Runs, Tag("[text]")],
        Discriminator(lambda value: "[text]" if isinstance(value, str) else "[number]"),
    ],
]
"""One figure for every site of a kind, or one for each layer."""
Headrooms = dict[Kind, Headroom]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)
