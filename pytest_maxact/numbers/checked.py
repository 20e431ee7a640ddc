"""What a value of a Record may be, as annotations of the dataclasses that hold it: what is read from a file is held to
them (`record/schema.py`), everything else is left alone. No pydantic here, its hook alone.

A field that Records were first written without has the metadata `LATER`: it is read as its default, and written only
where it says more, so that an earlier Record is written back to the byte.
"""

from dataclasses import MISSING, Field, dataclass
from typing import TYPE_CHECKING, Annotated, Any

if TYPE_CHECKING:
    from pydantic_core import CoreSchema

_WORDS = ("nan", "inf", "-inf")


@dataclass(frozen=True, slots=True)
class Whole:
    low: int = 0
    high: int = (1 << 63) - 1

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> "CoreSchema":
        from pydantic_core import core_schema

        return core_schema.int_schema(strict=True, ge=self.low, le=self.high)


@dataclass(frozen=True, slots=True)
class _Real:
    """`spelled`: what is no finite number may stand as a word, for JSON has no such numbers."""

    low: float | None = None
    high: float | None = None
    spelled: bool = False

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> "CoreSchema":
        from pydantic_core import core_schema

        number = core_schema.float_schema(strict=True, allow_inf_nan=False, ge=self.low, le=self.high)
        if not self.spelled:
            return number
        words = [word for word in _WORDS if word == "nan" or self._holds(float(word))]
        return core_schema.union_schema(
            [number, core_schema.chain_schema([core_schema.literal_schema(words), core_schema.float_schema()])],
            mode="left_to_right",
            custom_error_type="figure",
            custom_error_message=f"Input should be a number{self._bounds()} or one of {', '.join(words)}",
        )

    def _holds(self, value: float) -> bool:
        return (self.low is None or value >= self.low) and (self.high is None or value <= self.high)

    def _bounds(self) -> str:
        low = "" if self.low is None else f" from {self.low:g}"
        return low if self.high is None else f"{low} to {self.high:g}"


@dataclass(frozen=True, slots=True)
class _Bool:
    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> "CoreSchema":
        from pydantic_core import core_schema

        return core_schema.bool_schema(strict=True)


Count = Annotated[int, Whole()]
Size = Annotated[int, Whole(low=1, high=1 << 31)]
Place = Annotated[int, Whole(low=-1)]
"""A position or an id; -1 where it is not known."""
Flag = Annotated[bool, _Bool()]
Real = Annotated[float, _Real()]
"""A finite number."""
Magnitude = Annotated[float, _Real(low=0.0)]
Share = Annotated[float, _Real(low=0.0, high=1.0)]
Figure = Annotated[float, _Real(spelled=True)]
"""A number that may be infinite or NaN."""
FigureAboveZero = Annotated[float, _Real(low=0.0, spelled=True)]
FigureAsShare = Annotated[float, _Real(low=0.0, high=1.0, spelled=True)]


LATER = {"later": True}
"""Of a field that Records were first written without: `field(default=None, metadata=LATER)`."""


def is_left_out(one: "Field[Any]", value: Any) -> bool:
    """Whether a field stands in no file, for it says what Records meant before there was such a field."""
    return bool(one.metadata.get("later")) and one.default is not MISSING and value == one.default
