"""What the schemes of a run do to the inputs of linear layers: sums over sampled tokens, and the largest magnitude of
every channel.

Channels are of the calibration split, whose batches run first, so that a static scale is known when the evaluation
split is quantized. Sampled are tokens of the evaluation split, one in a stated number, the same ones however the corpus
is batched. A batch is staged and committed whole.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from pytest_maxact.checkpoint.quantize import quantize
from pytest_maxact.measure.observe.bits import count_bits
from pytest_maxact.measure.observe.massive import massive_rows
from pytest_maxact.measure.observe.reduction import Entry, How, State, grouped, under, value_of, within
from pytest_maxact.numbers.schemes import Quantizer, Scheme
from pytest_maxact.numbers.sums import DB_BINS, DB_LOWEST, DB_PER_BIN, SchemeSums

if TYPE_CHECKING:
    from pytest_maxact.checkpoint.sites.anatomy import Tap
    from pytest_maxact.measure.observe.batch import Batch

SAMPLED_TOKENS = 4096
"""About so many tokens of the evaluation split are sampled."""
_PIECE = 1 << 19
_LEVEL_KEYS = 2048
_Key = tuple[str, str]


class Fidelity:
    """Sums per site and scheme, and channels per site and part. `schemes`: those with quantized activations."""

    def __init__(self, schemes: Sequence[Scheme] = ()) -> None:
        self.schemes = {scheme.name: how for scheme in schemes if (how := scheme.activations) is not None}
        self._totals: dict[_Key, Sums] = {}
        self._refused: set[_Key] = set()
        self.channels: dict[_Key, torch.Tensor] = {}
        """Largest magnitude of every channel over the calibration split, [width] in the tensor's dtype, by site and
        part.
        """
        self.whole: Callable[[Tap, torch.Tensor], torch.Tensor] = lambda tap, rows: rows
        """Of rows that hold some channels, those with all of them, where several processes hold one model."""
        self._staged_sums: dict[_Key, Sums] = {}
        self._staged_channels: list[tuple[_Key, torch.Tensor]] = []

    @property
    def sums(self) -> dict[_Key, SchemeSums]:
        """By site and scheme, read from the device; none of a site of which a scheme cannot quantize every part."""
        return {key: total.read() for key, total in self._totals.items() if key not in self._refused}

    def observe(self, tap: "Tap", values: torch.Tensor, chosen: torch.Tensor, batch: "Batch") -> None:
        """Stage a tensor [rows, width] given to the linear layers of `tap`; `chosen` int64 are its sampled rows."""
        if values.numel() == 0 or not batch.plan.sequences:
            return
        if batch.plan.split == "calibration":
            real = values[batch.real] if batch.padded and not tap.in_moe else values
            self._staged_channels.append(((tap.site.name, tap.part), self.whole(tap, real.abs().amax(dim=0))))
        elif self.schemes and chosen.numel():
            self._quantize(tap, self.whole(tap, values[chosen]))

    def _quantize(self, tap: "Tap", rows: torch.Tensor) -> None:
        known = self.channels.get((tap.site.name, tap.part))
        rows = rows.float() if rows.dtype == torch.float64 else rows
        amax = None if known is None else known.amax().to(rows.device, rows.dtype)
        schemes = {
            name: how
            for name, how in self.schemes.items()
            if not how.refuses(rows.shape[1]) and not (how.needs_calibration and amax is None)
        }
        self._refused |= {(tap.site.name, name) for name in self.schemes.keys() - schemes.keys()}
        sums = {name: self._staged_sums.setdefault((tap.site.name, name), Sums(rows.device)) for name in schemes}
        for piece in torch.split(rows, max(1, _PIECE // rows.shape[1])):
            exact = _Exact.of(piece)
            for name, how in schemes.items():
                sums[name].add(exact, how, amax if how.needs_calibration else None)

    def commit(self, batch: "Batch") -> None:
        """Keep what the batch staged."""
        for key, channels in self._staged_channels:
            known = self.channels.get(key)
            self.channels[key] = channels if known is None else torch.maximum(known.to(channels.device), channels)
        for key, sums in self._staged_sums.items():
            self._totals.setdefault(key, Sums(sums.device)).to(sums.device).join(sums)
        self.rollback()

    def rollback(self) -> None:
        """Forget what was staged."""
        self._staged_sums, self._staged_channels = {}, []

    def state(self) -> State:
        """All that was committed so far."""
        entries = {"refused": Entry(sorted("/".join(key) for key in self._refused), How.UNION)}
        for key, channels in self.channels.items():
            entries |= under("channels", {"/".join(key): Entry(channels, How.MAX)})
        for key, total in self._totals.items():
            entries |= under("sums/" + "/".join(key), total.state())
        return entries

    def restore(self, state: State) -> None:
        """Hold this, instead of whatever is held; on the host, until the first batch tells where it is wanted."""
        self.rollback()
        self._refused = {_key_of(name) for name in value_of(state, "refused", [])}
        self.channels = {_key_of(name): entry.value.clone() for name, entry in within("channels", state).items()}
        self._totals = {
            (site, scheme): Sums.of(sums)
            for site, schemes in grouped(within("sums", state)).items()
            for scheme, sums in grouped(schemes).items()
        }


def _key_of(name: str) -> _Key:
    site, _, other = name.partition("/")
    return site, other


@dataclass(frozen=True, slots=True)
class _Exact:
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
    def of(cls, x: torch.Tensor) -> "_Exact":
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

    def add(self, exact: _Exact, how: Quantizer, amax: torch.Tensor | None) -> None:
        """Quantize rows, with the calibration maximum that a static scheme needs."""
        quantized = quantize(exact.x, how, amax)
        lost, deviation = exact.lost(quantized.restored)
        energy, calm = exact.energy, exact.calm
        levels = quantized.levels
        counts = _counted(level_places(levels, how), _LEVEL_KEYS)
        self._tokens += exact.x.shape[0]
        self._entries += exact.x.numel()
        self._levels += counts
        self._numbers += torch.stack(
            [
                exact.zeros,
                quantized.clipped.sum().double(),
                counts[0] - exact.zeros,
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
        self._db += _counted(torch.where(lost == 0, DB_BINS - 1, places.clamp(0, DB_BINS - 2)), DB_BINS)

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


def level_places(levels: torch.Tensor, how: Quantizer) -> torch.Tensor:
    """A number below 2 048 for every level, by magnitude: an integer's own, or the upper bits of a float32; 0 for zero,
    and for what is no number.
    """
    return levels.abs().nan_to_num(0.0) if how.is_integer else (levels.view(torch.int32) >> 20) & 0x7FF


def _counted(places: torch.Tensor, size: int) -> torch.Tensor:
    """How often each place occurs, int64 [size]: on the CPU over threads, elsewhere without waiting for the device."""
    if places.device.type == "cpu":
        return count_bits(places.to(torch.int16), size)
    flat = places.reshape(-1).long()
    return torch.zeros(size, dtype=torch.int64, device=flat.device).scatter_add_(0, flat, torch.ones_like(flat))
