"""What a scheme costs a tensor, as plain data, and how the errors of formats and schemes stand among a site's figures.

An error goes in and its quantities come out as `<name>.<quantity>`, or the reverse: what a summary kept is read back as
the same error.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, TypeVar

from pytest_maxact.numbers.formats import FormatDistortion


@dataclass(frozen=True, slots=True, kw_only=True)
class SchemeDistortion:
    """What a scheme costs a tensor. Ratios are dimensionless; NaN where a figure was not taken (figures of single
    tokens, for FP16 and BF16).

    - `sqnr_db`: of the whole tensor, with its standard error `sqnr_error_db` as an estimate from a sample (0: exact).
    - `token_median_db`, `token_low_db`: median and 1 %-quantile of the SQNR of single tokens. `calm_sqnr_db`: of the
      tokens without a massive activation.
    - `clip_rate`: entries beyond the largest level. `flush_to_zero`: non-zero entries that become zero. `levels_used`:
      magnitudes that occur after it.
    - `tokens`: how many were sampled.
    """

    sqnr_db: float
    sqnr_error_db: float
    rel_rmse: float
    rel_mae: float
    clip_rate: float
    flush_to_zero: float
    levels_used: int
    token_median_db: float
    token_low_db: float
    calm_sqnr_db: float
    tokens: int


Distortion = TypeVar("Distortion", FormatDistortion, SchemeDistortion)
FORMAT_QUANTITIES = tuple(field.name for field in fields(FormatDistortion) if field.name != "policy")
SCHEME_QUANTITIES = tuple(field.name for field in fields(SchemeDistortion))


def named(name: str, distortion: FormatDistortion | SchemeDistortion) -> dict[str, float]:
    """The quantities of an error as figures: `<name>.<quantity>`."""
    return {
        f"{name}.{quantity}": float(value) for quantity, value in asdict(distortion).items() if quantity != "policy"
    }


def restored(kind: type[Distortion], name: str, figures: Mapping[str, float], **given: Any) -> Distortion:
    """The reverse of `named`; whole numbers are whole again."""
    types: dict[str, Any] = {field.name: field.type for field in fields(kind) if field.name not in given}
    return kind(**given, **{quantity: read(figures[f"{name}.{quantity}"]) for quantity, read in types.items()})
