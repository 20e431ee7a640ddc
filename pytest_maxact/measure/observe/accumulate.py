"""What is kept of a site while a pass runs: exact counts, the largest entries, the massive-activation test, the first
non-finite entry.

Every accumulator stages a batch and commits it whole, so that a batch that ran out of memory half-way leaves no trace.
On the CPU the work on rows is done only when the counts say that a batch can change the outcome; elsewhere it is always
done, on the device, without a host synchronisation per call, and read back once per batch.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np
import torch

from pytest_maxact.errors import MeasureError, setting
from pytest_maxact.measure.observe.batch import Batch
from pytest_maxact.measure.observe.bits import Encoded, count_bits, encode, key_of
from pytest_maxact.measure.observe.massive import MASSIVE_ABOVE, massive_counts
from pytest_maxact.measure.observe.reduction import Entry, How, State, peak_of, value_of, within
from pytest_maxact.numbers.histogram import BINS, INFINITY_BIN
from pytest_maxact.numbers.massive import Massive
from pytest_maxact.numbers.peaks import PEAKS_KEPT, Peak
from pytest_maxact.record.reading import SPLITS

_LOW = (1 << 32) - 1
Locate = Callable[[int], int | None]
"""Row of an observed tensor -> flat row of the batch, None where routing hides it."""


def bytes_of_a_site() -> int:
    """What one takes while a pass runs: counts of every split, those of a batch, and of its padding."""
    return (len(SPLITS) + 2) * BINS * torch.int64.itemsize


class SiteAccumulator:
    """All that is kept of one site. `observe` stages, `commit` keeps what was staged, `rollback` forgets it."""

    def __init__(self, name: str, massive: bool) -> None:
        self.name = name
        self.tests_massive = massive
        self.dtype = ""
        self.encoding = "bfloat16"
        self.widths: dict[str, int] = {}
        self.counts: dict[str, torch.Tensor] = {}
        self.peaks: list[Peak] = []
        """The largest entries, largest first; their token text is filled in when the pass is read out."""
        self.massive = Massive()
        self.first_nonfinite: Peak | None = None
        self.rows: dict[str, int] = {}
        self._staged_counts: torch.Tensor | None = None
        self._staged_rows: dict[str, int] = {}
        self._staged: list[tuple[RowFindings, Locate, str]] = []

    def observe(self, values: torch.Tensor, padding: torch.Tensor | None, locate: Locate, part: str) -> None:
        """Stage a tensor [rows, width] of this batch; the rows in `padding` do not count.

        Raises MeasureError for a dtype or width that differs from what this site gave before.
        """
        rows, width = values.shape
        self._check(values, part, width)
        if values.numel() > _LOW:
            raise MeasureError(
                f"{self.name} gave {rows} x {width} entries at once, more than can be told apart\n"
                f"  lower {setting('batch_tokens')}"
            )
        encoded = encode(values)
        counts = count_bits(encoded.bits)
        if padding is not None:
            counts = counts - count_bits(encoded.bits[padding])
        self._staged_counts = counts if self._staged_counts is None else self._staged_counts + counts
        self._staged_rows[part] = (
            self._staged_rows.get(part, 0) + rows - (padding.numel() if padding is not None else 0)
        )
        if rows == 0:
            return
        if values.device.type != "cpu":
            self._staged.append((row_findings(encoded, padding, self.tests_massive), locate, part))
            return
        occupied = np.flatnonzero(counts.numpy())
        if occupied.size and self._matters(top := int(occupied[-1])):
            all_finite = top < INFINITY_BIN[self.encoding]
            self._staged.append((row_findings(encoded, padding, self.tests_massive, all_finite), locate, part))

    def commit(self, batch: Batch) -> None:
        """Keep what the batch staged."""
        split = batch.plan.split
        if self._staged_counts is not None:
            known, staged = self.counts.get(split), self._staged_counts
            self.counts[split] = staged if known is None else known.to(staged.device) + staged
        for part, rows in self._staged_rows.items():
            self.rows[part] = self.rows.get(part, 0) + rows
        for findings, locate, part in self._staged:
            self._keep(findings, batch, locate, part)
        self.rollback()

    def rollback(self) -> None:
        """Forget what was staged."""
        self._staged_counts, self._staged_rows, self._staged = None, {}, []

    def state(self) -> State:
        """All that was committed so far."""
        return {
            "dtype": Entry(self.dtype or None, How.EQUAL),
            "widths": Entry(dict(self.widths), How.EQUAL),
            "rows": Entry(dict(self.rows), How.SUM),
            "peaks": Entry([asdict(peak) for peak in self.peaks], How.LARGEST),
            "massive": Entry([self.massive.tokens, self.massive.entries], How.SUM),
            "ratio": Entry(self.massive.max_ratio, How.MAX),
            "nonfinite": Entry(asdict(self.first_nonfinite) if self.first_nonfinite else None, How.FIRST),
            **{f"counts/{split}": Entry(counts, How.SUM) for split, counts in self.counts.items()},
        }

    def restore(self, state: State) -> None:
        """Hold this, instead of whatever is held."""
        self.rollback()
        self._typed(value_of(state, "dtype", ""))
        self.widths, self.rows = dict(value_of(state, "widths", {})), dict(value_of(state, "rows", {}))
        self.peaks = [peak_of(peak) for peak in value_of(state, "peaks", [])]
        tokens, entries = value_of(state, "massive", [0, 0])
        self.massive = Massive(tokens=tokens, entries=entries, max_ratio=value_of(state, "ratio", None))
        first = value_of(state, "nonfinite", None)
        self.first_nonfinite = peak_of(first) if first else None
        self.counts = {split: entry.value.clone() for split, entry in within("counts", state).items()}

    @property
    def staged_rows(self) -> dict[str, int]:
        """Real rows seen in this batch, by part."""
        return self._staged_rows

    def dense_counts(self, split: str) -> np.ndarray:
        """Counts of a split, int64 [32 768]."""
        assert split in SPLITS
        return self.counts[split].cpu().numpy() if split in self.counts else np.zeros(BINS, np.int64)

    def _check(self, values: torch.Tensor, part: str, width: int) -> None:
        dtype = str(values.dtype).removeprefix("torch.")
        if not values.is_floating_point():
            raise MeasureError(
                f"{self.name} gave {dtype} values, which are no activations\n  please report the model_type"
            )
        if self.dtype and dtype != self.dtype:
            raise MeasureError(
                f"{self.name} gave {dtype} after {self.dtype}; one site has one dtype\n  please report the model_type"
            )
        if self.widths.setdefault(part, width) != width:
            raise MeasureError(
                f"{self.name} is {width} wide after {self.widths[part]}; one site has one width\n"
                "  please report the model_type"
            )
        self._typed(dtype)

    def _typed(self, dtype: str) -> None:
        self.dtype = dtype
        self.encoding = dtype if dtype in INFINITY_BIN else "bfloat16"

    def _matters(self, top: int) -> bool:
        """Whether a tensor whose largest entry lies in bin `top` can change peaks, the massive-activation test or the
        non-finite entry.

        Judged by bins, on the safe side: float32 entries were rounded into theirs. What is not finite lies above all
        that a peak can be.
        """
        if len(self.peaks) < PEAKS_KEPT:
            return True
        bin_dtype = torch.float16 if self.encoding == "float16" else torch.bfloat16
        smallest = int(
            torch.tensor([abs(self.peaks[-1].value)], dtype=torch.float32).to(bin_dtype).view(torch.int16).item()
        )
        return top >= smallest or (self.tests_massive and top >= key_of(MASSIVE_ABOVE, bin_dtype))

    def _keep(self, findings: "RowFindings", batch: Batch, locate: Locate, part: str) -> None:
        width = self.widths[part]

        def raw(value: float, flat: int) -> Peak:
            row, channel = divmod(flat, width)
            place = locate(row)
            sample, position, token_id = batch.place(place) if place is not None else ("", -1, -1)
            return Peak(
                value=value, sample=sample, position=position, token="", token_id=token_id, channel=channel, part=part
            )

        candidates = [raw(value, flat) for value, flat, key in zip(*findings.peaks(), strict=True) if key >= 0]
        self.peaks = sorted([*self.peaks, *candidates], key=lambda peak: peak.order)[:PEAKS_KEPT]
        self.massive = self.massive + findings.massive_counts()
        if (flat := findings.first_nonfinite_entry()) is not None:
            found = raw(float("nan"), flat)
            if self.first_nonfinite is None or found.place < self.first_nonfinite.place:
                self.first_nonfinite = found


@dataclass(frozen=True, slots=True)
class RowFindings:
    """Device tensors of one call, read back at commit: the ten largest entries and their flat places, massive counts,
    first non-finite place.
    """

    entries: torch.Tensor
    values: torch.Tensor
    massive: torch.Tensor | None
    nonfinite: torch.Tensor

    def peaks(self) -> tuple[list[float], list[int], list[int]]:
        """Signed values, flat places row*width+channel, and keys (negative: not an entry)."""
        entries = self.entries.cpu()
        return self.values.double().tolist(), (_LOW - (entries & _LOW)).tolist(), (entries >> 32).tolist()

    def massive_counts(self) -> Massive:
        if self.massive is None:
            return Massive()
        tokens, entries, ratio = self.massive.tolist()
        return Massive(tokens=int(tokens), entries=int(entries), max_ratio=ratio if ratio >= 0 else None)

    def first_nonfinite_entry(self) -> int | None:
        flat = int(self.nonfinite.item())
        return flat if flat < _LOW else None


def row_findings(
    encoded: Encoded, padding: torch.Tensor | None, tests_massive: bool, all_finite: bool = False
) -> RowFindings:
    """The part of the work that looks at rows; `all_finite` where the counts have shown that no row that counts needs
    the test.

    Equal magnitudes rank by flat place: magnitude and inverted place share one int64 key.
    """
    rows, width = encoded.key.shape
    places = torch.arange(rows, device=encoded.key.device)
    key, nonfinite = encoded.key, torch.tensor(_LOW)
    if not all_finite:
        broken = encoded.key >= encoded.infinity
        key = encoded.key.masked_fill(broken, -1)
        nonfinite = _first_broken(broken, padding, places)
    row_max = key.amax(dim=1).long()
    if padding is not None:
        row_max[padding] = -1
    best = ((row_max << 32) | (_LOW - places)).topk(min(PEAKS_KEPT, rows)).values
    best_rows = _LOW - (best & _LOW)
    flat = best_rows[:, None] * width + torch.arange(width, device=key.device)
    candidates = key[best_rows].long()
    candidates[best < 0] = -1
    entries = ((candidates << 32) | (_LOW - flat)).flatten()
    entries = entries.topk(min(PEAKS_KEPT, entries.numel())).values
    values = encoded.values.reshape(-1)[_LOW - (entries & _LOW)]
    massive = massive_counts(key, row_max, encoded.values.dtype) if tests_massive else None
    return RowFindings(entries, values, massive, nonfinite)


def _first_broken(broken: torch.Tensor, padding: torch.Tensor | None, places: torch.Tensor) -> torch.Tensor:
    """Flat place of the first True of a bool tensor [rows, width] outside padding, `_LOW` for none."""
    rows, width = broken.shape
    row_broken = broken.any(dim=1)
    if padding is not None:
        row_broken[padding] = False
    row = torch.where(row_broken, places, rows).amin()
    channel = broken[row.clamp(max=rows - 1)].to(torch.uint8).argmax()
    return torch.where(row < rows, row * width + channel, _LOW)
