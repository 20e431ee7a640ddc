"""What stands in a slim Record for what it does not keep. Read as empty it would give small numbers, and a bad model
would pass: so it is refused.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

from pytest_maxact.errors import InputError
from pytest_maxact.numbers.channels import Channels
from pytest_maxact.numbers.histogram import Histogram
from pytest_maxact.numbers.sums import SchemeSums


def not_kept(what: str) -> InputError:
    """The error for what a slim Record dropped."""
    return InputError(f"the Record is slim and does not hold {what}\n  measure again without --maxact-slim")


class DroppedHistogram(Histogram):
    """A histogram of which only the number of its entries is known, and how many of them are not finite."""

    __slots__ = ("_count", "_nonfinite")
    _count: int
    _nonfinite: int

    def __init__(self, encoding: str, count: int, nonfinite: int) -> None:
        for name, value in (("encoding", encoding), ("_count", count), ("_nonfinite", nonfinite)):
            object.__setattr__(self, name, value)

    @property
    def bins(self) -> npt.NDArray[np.uint16]:
        raise not_kept("histograms")

    @property
    def counts(self) -> npt.NDArray[np.int64]:
        raise not_kept("histograms")

    @property
    def count(self) -> int:
        return self._count

    @property
    def nonfinite(self) -> int:
        return self._nonfinite

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, DroppedHistogram):
            return False
        return (self.encoding, self.count, self.nonfinite) == (other.encoding, other.count, other.nonfinite)

    __hash__ = None

    def __reduce__(self) -> tuple[Any, ...]:
        return DroppedHistogram, (self.encoding, self.count, self.nonfinite)

    def __repr__(self) -> str:
        return f"DroppedHistogram({self.encoding!r}, count={self.count}, nonfinite={self.nonfinite})"


class DroppedChannels(Channels):
    """Channel maxima that were measured and are not kept."""

    __slots__ = ()

    def __init__(self) -> None: ...

    @property
    def parts(self) -> NoReturn:
        raise not_kept("the maxima of channels")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DroppedChannels)

    __hash__ = None

    def __reduce__(self) -> tuple[Any, ...]:
        return DroppedChannels, ()

    def __repr__(self) -> str:
        return "DroppedChannels()"


@dataclass(frozen=True, slots=True)
class DroppedSums(Mapping[str, SchemeSums]):
    """The schemes that a site was measured under, by name; their sums are not kept."""

    names: tuple[str, ...]

    def __getitem__(self, name: str) -> SchemeSums:
        if name in self.names:
            raise not_kept(f"the sums of {name}")
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)
