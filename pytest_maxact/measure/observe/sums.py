"""Sums over rows under one scheme: what a scheme restores of them in, counts, energies and the SQNR of every row out,
on the device of the rows until they are read.

Guard: in float64, of rows over a power of two of their own, so that no square overflows or vanishes.
"""

from dataclasses import dataclass

import torch

from pytest_maxact.checkpoint.quantize import Quantized, quantize
from pytest_maxact.measure.observe.bits import count_bits
from pytest_maxact.measure.observe.massive import massive_rows
from pytest_maxact.measure.observe.reduction import Entry, How, State
from pytest_maxact.numbers.schemes import Quantizer
from pytest_maxact.numbers.sums import DB_BINS, DB_LOWEST, DB_PER_BIN, SchemeSums

_LEVEL_KEYS = 2048


@dataclass(frozen=True, slots=True)
class Exact:
    """Rows x [n, width] before any scheme, and what every scheme's sums have in common: `single`, the rows in float32
    over the power of two below their largest magnitude, so that no square overflows or vanishes; these powers, float64
    [n]; per row the energy and whether it has no massive activation, float64 [n]; over all of them the zeros and the
    sum of magnitudes.
    """

    x: torch.Tensor
    single: torch.Tensor
    power: torch.Tensor
    energy: torch.Tensor
    calm: torch.Tensor
    zeros: torch.Tensor
    magnitude: torch.Tensor

    @classmethod
    def of(cls, x: torch.Tensor) -> "Exact":
        largest = x.abs().amax(dim=1).float()
        exponents = torch.where(torch.isfinite(largest) & (largest > 0), torch.frexp(largest).exponent - 1, 0).clamp(
            -120, 126
        )
        power = torch.pow(2.0, exponents.double())
        single = x.float() * (1 / power).float()[:, None]
        zeros = (x.numel() - x.count_nonzero()).double()
        magnitude = (torch.linalg.vector_norm(single, 1, dim=1).double() * power).sum()
        energy = torch.linalg.vecdot(single, single).double() * power * power
        return cls(x, single, power, energy, (~massive_rows(x)).double(), zeros, magnitude)

    def lost(self, restored: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Energy and sum of magnitudes of the error of what was restored, per row, float64 [n]."""
        error = self.single - restored.float() * (1 / self.power).float()[:, None]
        return (
            torch.linalg.vecdot(error, error).double() * self.power * self.power,
            torch.linalg.vector_norm(error, 1, dim=1).double() * self.power,
        )


class Sums:
    """Sums of one call under one scheme, on the tensor's device until they are read."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._numbers = torch.zeros(len(_NUMBERS), dtype=torch.float64, device=device)
        self._db = torch.zeros(DB_BINS, dtype=torch.int64, device=device)
        self._levels = torch.zeros(_LEVEL_KEYS, dtype=torch.int64, device=device)
        self._tokens = 0
        self._entries = 0

    def add(self, exact: Exact, how: Quantizer, amax: torch.Tensor | None) -> torch.Tensor:
        """Quantize rows, with the calibration maximum that a static scheme needs. Gives what `take` gives."""
        return self.take(exact, quantize(exact.x, how, amax), how.is_integer)

    def take(self, exact: Exact, quantized: Quantized, is_integer: bool) -> torch.Tensor:
        """Rows, and what became of them. Gives the energy of the error of every row, float64 [n]."""
        lost, deviation = exact.lost(quantized.restored)
        energy, calm = exact.energy, exact.calm
        levels = level_places(quantized.levels, is_integer)
        self._tokens += exact.x.shape[0]
        self._entries += exact.x.numel()
        self._levels += counted(levels, _LEVEL_KEYS)
        self._numbers += torch.stack(
            [
                exact.zeros,
                quantized.clipped.sum().double(),
                exact.x.numel() - exact.zeros - torch.logical_and(exact.x, levels).count_nonzero(),
                energy.sum(),
                lost.sum(),
                exact.magnitude,
                deviation.sum(),
                (energy * energy).sum(),
                (lost * lost).sum(),
                (energy * lost).sum(),
                calm.sum(),
                torch.where(calm > 0, energy, 0.0).sum(),
                torch.where(calm > 0, lost, 0.0).sum(),
            ]
        )
        places = torch.floor((10.0 * torch.log10(energy / lost) - DB_LOWEST) / DB_PER_BIN).nan_to_num(
            nan=0.0, posinf=0.0, neginf=0.0
        )
        self._db += counted(torch.where(lost == 0, DB_BINS - 1, places.clamp(0, DB_BINS - 2)), DB_BINS)
        return lost

    @classmethod
    def of(cls, state: State) -> "Sums":
        """From their state, on the host."""
        sums = cls(torch.device("cpu"))
        sums._numbers, sums._db, sums._levels = (state[name].value.clone() for name in ("numbers", "db", "levels"))
        sums._tokens, sums._entries = state["rows"].value
        return sums

    def state(self) -> State:
        """All of them."""
        tensors = {"numbers": self._numbers, "db": self._db, "levels": self._levels}
        return {
            **{name: Entry(tensor, How.SUM) for name, tensor in tensors.items()},
            "rows": Entry([self._tokens, self._entries], How.SUM),
        }

    def to(self, device: torch.device) -> "Sums":
        """Themselves, there."""
        if self.device != device:
            self.device = device
            self._numbers, self._db, self._levels = (t.to(device) for t in (self._numbers, self._db, self._levels))
        return self

    def join(self, other: "Sums") -> None:
        """Add the sums of another call."""
        self._numbers += other._numbers
        self._db += other._db
        self._levels += other._levels
        self._tokens += other._tokens
        self._entries += other._entries

    def read(self) -> SchemeSums:
        """The sums on the host."""
        numbers = dict(zip(_NUMBERS, self._numbers.tolist(), strict=True))
        zeros = numbers.pop("zeros")
        counts = {name: int(numbers.pop(name)) for name in ("clipped", "flushed", "calm_tokens")}
        bins, levels = self._db.cpu().numpy(), self._levels.cpu().numpy()
        occupied = bins.nonzero()[0]
        return SchemeSums(
            tokens=self._tokens,
            entries=self._entries,
            nonzero=self._entries - int(zeros),
            **counts,
            **numbers,
            token_db=tuple(zip(occupied.tolist(), bins[occupied].tolist(), strict=True)),
            levels=tuple(levels.nonzero()[0].tolist()),
        )


def bytes_of_sums() -> int:
    """What the sums of a site under one scheme take: those of all batches, and of the one that runs."""
    made = vars(Sums(torch.device("meta"))).values()
    return 2 * sum(value.nbytes for value in made if isinstance(value, torch.Tensor))


_NUMBERS = (
    "zeros",
    "clipped",
    "flushed",
    "signal",
    "error",
    "signal_abs",
    "error_abs",
    "signal_squares",
    "error_squares",
    "products",
    "calm_tokens",
    "calm_signal",
    "calm_error",
)


def level_places(levels: torch.Tensor, is_integer: bool) -> torch.Tensor:
    """A number below 2 048 for every level, by magnitude: an integer's own, or the upper bits of a float32; 0 for zero,
    and for what is no number.
    """
    return levels.abs().nan_to_num(0.0) if is_integer else (levels.view(torch.int32) >> 20) & 0x7FF


def counted(places: torch.Tensor, size: int) -> torch.Tensor:
    """How often each place occurs, int64 [size]: on the CPU over threads, elsewhere without waiting for the device."""
    if places.device.type == "cpu":
        return count_bits(places.to(torch.int16), size)
    flat = places.reshape(-1).long()
    return torch.zeros(size, dtype=torch.int64, device=flat.device).scatter_add_(0, flat, torch.ones_like(flat))
