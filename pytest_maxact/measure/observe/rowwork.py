"""What looks at rows: an observed tensor in, of every row the largest entry, the first entry that is not finite and
the massive-activation test out, then the ten largest entries of all, with the tokens behind them.

No shape here depends on the data and nothing waits for the device: what a call found is one small int64 tensor, and
those of a batch are brought to the host at once. `RowWork` is what `fused` gives too.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from pytest_maxact.measure.observe.bits import Encoded, encode
from pytest_maxact.measure.observe.massive import massive_counts
from pytest_maxact.numbers.massive import Massive
from pytest_maxact.numbers.peaks import PEAKS_KEPT

NOWHERE = (1 << 32) - 1
"""The flat place of what is not there; a tensor has fewer entries."""
Locate = Callable[[torch.Tensor], torch.Tensor]
"""Rows of an observed tensor, int64, on its device -> flat rows of the batch, -1 where routing hides them."""


def in_place(rows: torch.Tensor) -> torch.Tensor:
    """Of a tensor whose rows are those of the batch."""
    return rows


@dataclass(frozen=True, slots=True)
class RowWork:
    """Device tensors: `row_max` int64 [rows], the key of the largest finite entry, -1 for none and in padding;
    `nonfinite` int64, the flat place of the first entry that is not finite, or `NOWHERE`; `massive` as of
    `massive_counts`, None where it is not asked for.
    """

    row_max: torch.Tensor
    nonfinite: torch.Tensor
    massive: torch.Tensor | None


def row_work(encoded: Encoded, padding: torch.Tensor | None, tests_massive: bool, all_finite: bool = False) -> RowWork:
    """Of a tensor [rows, width], the rows in `padding` left out; `all_finite` where the counts have shown that no row
    that counts needs the test.
    """
    key = encoded.key
    nonfinite = torch.full((), NOWHERE, dtype=torch.int64, device=key.device)
    if not all_finite:
        broken = key >= encoded.infinity
        key = key.masked_fill(broken, -1)
        nonfinite = _first_broken(broken, padding, torch.arange(key.shape[0], device=key.device))
    row_max = largest_of_rows(key, padding)
    massive = massive_counts(key, row_max, encoded.values.dtype) if tests_massive else None
    return RowWork(row_max, nonfinite, massive)


def largest_of_rows(key: torch.Tensor, padding: torch.Tensor | None) -> torch.Tensor:
    """The largest of keys [rows, width], all of them finite or negative, row by row; -1 for rows of `padding`."""
    row_max = key.amax(dim=1).long()
    if padding is not None:
        row_max[padding] = -1
    return row_max


def _first_broken(broken: torch.Tensor, padding: torch.Tensor | None, places: torch.Tensor) -> torch.Tensor:
    """Flat place of the first True of a bool tensor [rows, width] outside padding, `NOWHERE` for none."""
    width = broken.shape[1]
    row_broken = broken.any(dim=1)
    if padding is not None:
        row_broken[padding] = False
    return torch.where(row_broken, places * width + broken.to(torch.uint8).argmax(dim=1), NOWHERE).amin()


def findings(values: torch.Tensor, work: RowWork, locate: Locate) -> torch.Tensor:
    """What is kept of a call, int64 [4 k + 5]: keys (negative: not an entry), flat places, tokens and signed values of
    the k largest entries, place and token of the first that is not finite, massive counts. `Found.of` reads it.

    Equal magnitudes rank by flat place: magnitude and inverted place share one key.
    """
    rows, width = values.shape
    places = torch.arange(rows, device=values.device)
    best = ((work.row_max << 32) | (NOWHERE - places)).topk(min(PEAKS_KEPT, rows)).values
    best_rows = NOWHERE - (best & NOWHERE)
    taken = encode(values[best_rows])
    key = taken.key.long()
    flat = best_rows[:, None] * width + torch.arange(width, device=values.device)
    key = key.masked_fill((key >= taken.infinity) | (best < 0)[:, None], -1)
    entries = ((key << 32) | (NOWHERE - flat)).flatten()
    entries, chosen = entries.topk(min(PEAKS_KEPT, entries.numel()))
    flat = NOWHERE - (entries & NOWHERE)
    broken = torch.where(work.nonfinite < NOWHERE, work.nonfinite // width, 0).reshape(1)
    tokens = locate(torch.cat([flat // width, broken]))
    signed = taken.values.reshape(-1)[chosen].double().view(torch.int64)
    massive = torch.full((3,), -1.0, dtype=torch.float64, device=values.device)
    massive = (massive if work.massive is None else work.massive).view(torch.int64)
    parts = [entries >> 32, flat, tokens[:-1], signed, work.nonfinite.reshape(1), tokens[-1:], massive]
    return torch.cat(parts)


@dataclass(frozen=True, slots=True)
class Found:
    """What a call found, on the host: signed values, flat places and flat rows of the batch of its largest entries;
    place and row of the first that is not finite.
    """

    peaks: tuple[tuple[float, int, int], ...]
    nonfinite: tuple[int, int] | None
    massive: Massive

    @classmethod
    def of(cls, packed: torch.Tensor) -> "Found":
        """From what `findings` made, on the host."""
        kept = (packed.numel() - 5) // 4
        keys, places, rows, values = packed[: 4 * kept].view(4, kept)
        place, row, *_ = packed[4 * kept :].tolist()
        tokens, entries, ratio = packed[-3:].view(torch.float64).tolist()
        found = zip(keys.tolist(), values.view(torch.float64).tolist(), places.tolist(), rows.tolist(), strict=True)
        return cls(
            peaks=tuple((value, flat, token) for key, value, flat, token in found if key >= 0),
            nonfinite=(place, row) if place < NOWHERE else None,
            massive=Massive()
            if tokens < 0
            else Massive(tokens=int(tokens), entries=int(entries), max_ratio=ratio if ratio >= 0 else None),
        )


def at_once(tensors: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """int64 tensors on the host, by one transfer from each device, for which it is waited."""
    found: dict[int, torch.Tensor] = {}
    for device in dict.fromkeys(tensor.device for tensor in tensors):
        there = [i for i, tensor in enumerate(tensors) if tensor.device == device]
        whole = torch.cat([tensors[i].reshape(-1) for i in there]).cpu()
        parts = torch.split(whole, [tensors[i].numel() for i in there])
        found |= {i: part.view(tensors[i].shape) for i, part in zip(there, parts, strict=True)}
    return [found[i] for i in range(len(tensors))]
