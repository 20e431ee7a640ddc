"""What the schemes of a run do to the inputs of linear layers: sums over sampled tokens, and the largest magnitude of every channel.

Channels are of the calibration split, whose batches run first, so that a static scale is known when the evaluation split is quantized. Sampled are
tokens of the evaluation split, one in a stated number, the same ones however the corpus is batched. A batch is staged and committed whole.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from pytest_maxact.observe.accumulate import MASSIVE_ABOVE, MASSIVE_RATIO
from pytest_maxact.schemes.numerics import quantize
from pytest_maxact.schemes.sums import DB_BINS, DB_LOWEST, DB_PER_BIN, SchemeSums
from pytest_maxact.schemes.table import Quantizer, Scheme

if TYPE_CHECKING:
    from pytest_maxact.observe.batch import Batch
    from pytest_maxact.sites import Tap

SAMPLED_TOKENS = 4096
"""About so many tokens of the evaluation split are sampled."""
_PIECE = 1 << 19
_LEVEL_KEYS = 2048
_Key = tuple[str, str]


class Fidelity:
    """Sums per site and scheme, and channels per site and part. `schemes`: those with quantized activations."""

    def __init__(self, schemes: Sequence[Scheme] = ()) -> None:
        self.schemes = {scheme.name: how for scheme in schemes if (how := scheme.activations) is not None}
        self.sums: dict[_Key, SchemeSums] = {}
        """By site and scheme."""
        self.channels: dict[_Key, torch.Tensor] = {}
        """Largest magnitude of every channel over the calibration split, [width] in the tensor's dtype, by site and part."""
        self._staged_sums: list[tuple[_Key, Sums]] = []
        self._staged_channels: list[tuple[_Key, torch.Tensor]] = []

    def observe(self, tap: "Tap", values: torch.Tensor, chosen: torch.Tensor, batch: "Batch") -> None:
        """Stage a tensor [rows, width] given to the linear layers of `tap`; `chosen` int64 are its sampled rows."""
        if values.numel() == 0 or not batch.plan.sequences:
            return
        if batch.plan.split == "calibration":
            real = values[batch.real] if batch.padded and not tap.in_moe else values
            self._staged_channels.append(((tap.site.name, tap.part), real.abs().amax(dim=0)))
        elif self.schemes and chosen.numel():
            self._quantize(tap, values[chosen])

    def _quantize(self, tap: "Tap", rows: torch.Tensor) -> None:
        known = self.channels.get((tap.site.name, tap.part))
        amax = None if known is None else known.amax()
        massive = massive_rows(rows)
        for name, how in self.schemes.items():
            if how.refuses(rows.shape[1]) or (how.needs_calibration and amax is None):
                continue
            sums = Sums.of(rows, massive, how, amax if how.needs_calibration else None)
            self._staged_sums.append(((tap.site.name, name), sums))

    def commit(self) -> None:
        """Keep what the batch staged."""
        for key, channels in self._staged_channels:
            self.channels[key] = torch.maximum(self.channels[key], channels) if key in self.channels else channels
        for key, sums in self._staged_sums:
            self.sums[key] = self.sums.get(key, SchemeSums()) + sums.read()
        self.rollback()

    def rollback(self) -> None:
        """Forget what was staged."""
        self._staged_sums, self._staged_channels = [], []


class Sums:
    """Sums of one call under one scheme, on the tensor's device until they are read."""

    def __init__(self, device: torch.device) -> None:
        self._numbers = torch.zeros(len(_NUMBERS), dtype=torch.float64, device=device)
        self._db = torch.zeros(DB_BINS, dtype=torch.int64, device=device)
        self._levels = torch.zeros(_LEVEL_KEYS, dtype=torch.int64, device=device)

    @classmethod
    def of(cls, rows: torch.Tensor, massive: torch.Tensor, how: Quantizer, amax: torch.Tensor | None) -> "Sums":
        """Quantize rows [n, width], of which `massive` bool [n] are massive tokens, with the calibration maximum a static scheme needs."""
        sums = cls(rows.device)
        rows = rows.float() if rows.dtype == torch.float64 else rows
        size = max(1, _PIECE // rows.shape[1])
        for piece, is_massive in zip(torch.split(rows, size), torch.split(massive, size), strict=True):
            sums._add(piece, is_massive, how, None if amax is None else amax.to(rows.dtype))
        return sums

    def _add(self, x: torch.Tensor, massive: torch.Tensor, how: Quantizer, amax: torch.Tensor | None) -> None:
        quantized = quantize(x, how, amax)
        exact = x.float()
        error = exact - quantized.restored.float()
        signals, errors = (torch.linalg.vecdot(part, part).double() for part in (exact, error))
        calm = ~massive
        nonzero = x.count_nonzero()
        self._numbers += torch.stack(
            [
                torch.as_tensor(float(part), device=x.device, dtype=torch.float64) if isinstance(part, int) else part.double()
                for part in (
                    x.shape[0], x.numel(), nonzero, quantized.clipped.sum(), nonzero - ((quantized.levels != 0) & (x != 0)).sum(),
                    signals.sum(), errors.sum(), exact.abs().sum(dtype=torch.float64), error.abs().sum(dtype=torch.float64),
                    (signals * signals).sum(), (errors * errors).sum(), (signals * errors).sum(),
                    calm.sum(), signals[calm].sum() if x.device.type == "cpu" else (signals * calm).sum(),
                    errors[calm].sum() if x.device.type == "cpu" else (errors * calm).sum(),
                )
            ]
        )  # fmt: skip
        decibel = 10.0 * torch.log10(signals / errors)
        places = torch.floor((decibel - DB_LOWEST) / DB_PER_BIN).nan_to_num(nan=DB_BINS - 1, posinf=DB_BINS - 1, neginf=0)
        _count(self._db, torch.where(errors == 0, DB_BINS - 1, places.clamp(0, DB_BINS - 2)))
        _count(self._levels, quantized.levels.abs() if how.is_integer else (quantized.levels.view(torch.int32) >> 20) & 0x7FF)

    def read(self) -> SchemeSums:
        """The sums on the host."""
        numbers = dict(zip(_NUMBERS, self._numbers.tolist(), strict=True))
        counts = {name: int(numbers.pop(name)) for name in _COUNTS}
        bins = self._db.cpu().numpy()
        return SchemeSums(
            **counts,
            **numbers,
            token_db=tuple((int(place), int(bins[place])) for place in bins.nonzero()[0]),
            levels=tuple(int(level) for level in self._levels.cpu().numpy().nonzero()[0]),
        )


_COUNTS = ("tokens", "entries", "nonzero", "clipped", "flushed", "calm_tokens")
_NUMBERS = (
    "tokens", "entries", "nonzero", "clipped", "flushed", "signal", "error", "signal_abs", "error_abs", "signal_squares", "error_squares", "products",
    "calm_tokens", "calm_signal", "calm_error",
)  # fmt: skip


def _count(counts: torch.Tensor, places: torch.Tensor) -> None:
    """Add to counts at places, on the CPU without an atomic per place, elsewhere without waiting for the device."""
    if places.device.type == "cpu":
        counts += torch.bincount(places.to(torch.int16).reshape(-1), minlength=counts.numel())
    else:
        flat = places.reshape(-1).long()
        counts.scatter_add_(0, flat, torch.ones_like(flat))


def massive_rows(rows: torch.Tensor) -> torch.Tensor:
    """Rows [n, width] with an entry that meets the criterion of Sun et al. within its own row: bool [n]."""
    magnitude = rows.abs()
    candidate = magnitude.amax(dim=1) > MASSIVE_ABOVE
    if rows.device.type == "cpu":
        found = candidate.clone()
        if candidate.any():
            part = magnitude[candidate].float()
            found[candidate] = part.amax(dim=1) > part.median(dim=1).values * MASSIVE_RATIO
        return found
    magnitude = magnitude.float()
    return candidate & (magnitude.amax(dim=1) > magnitude.median(dim=1).values * MASSIVE_RATIO)
