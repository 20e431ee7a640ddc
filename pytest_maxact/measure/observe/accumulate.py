"""What is kept of a site while a pass runs: exact counts, the largest entries, the massive-activation test, the first
non-finite entry.

Every accumulator stages a batch and commits it whole, so that a batch that ran out of memory half-way leaves no trace.
On the CPU the work on rows is done only when the counts say that a batch can change the outcome; elsewhere it is always
done, on the device, without a host synchronisation per call, and read back once per batch (`commit_all`).
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from pytest_maxact.errors import MeasureError, setting
from pytest_maxact.measure.observe.batch import Batch
from pytest_maxact.measure.observe.bits import encode, key_of
from pytest_maxact.measure.observe.by_sample import Floats
from pytest_maxact.measure.observe.fused import counted, read
from pytest_maxact.measure.observe.losses import Losses, Span
from pytest_maxact.measure.observe.massive import MASSIVE_ABOVE
from pytest_maxact.measure.observe.maxima import Maxima, largest_of_sequences
from pytest_maxact.measure.observe.reduction import Entry, How, State, peak_of, plain_of, value_of, within
from pytest_maxact.measure.observe.rowwork import NOWHERE, Found, Locate, at_once, findings, largest_of_rows, row_work
from pytest_maxact.numbers.histogram import BINS, INFINITY_BIN
from pytest_maxact.numbers.massive import Massive
from pytest_maxact.numbers.peaks import PEAKS_KEPT, Peak
from pytest_maxact.numbers.sites import Site
from pytest_maxact.record.reading import SPLITS


def bytes_of_a_site() -> int:
    """What one takes while a pass runs: counts of every split, those of a batch, and of its padding."""
    return (len(SPLITS) + 2) * BINS * torch.int64.itemsize


class SiteAccumulator:
    """All that is kept of one site. `observe` stages, `commit` keeps what was staged, `rollback` forgets it. The
    largest entry of every sample goes into the `maxima` of all sites, what INT-8 costs it into their `losses`.
    """

    def __init__(self, name: str, massive: bool, maxima: Maxima | None = None, losses: Losses | None = None) -> None:
        self.name = name
        self._maxima = maxima
        self._losses = losses
        self.tests_massive = massive
        self.dtype = ""
        self.encoding = "bfloat16"
        self.widths: dict[str, int] = {}
        self.heads: int | None = None
        """Of queries, keys and values: the heads whose rows lie side by side."""
        self.counts: dict[str, torch.Tensor] = {}
        self.peaks: list[Peak] = []
        """The largest entries, largest first; their token text is filled in when the pass is read out."""
        self.massive = Massive()
        self.first_nonfinite: Peak | None = None
        self.rows: dict[str, int] = {}
        self._staged_counts: torch.Tensor | None = None
        self._staged_rows: dict[str, int] = {}
        self._staged: list[tuple[torch.Tensor, str]] = []
        self._staged_maxima: list[torch.Tensor] = []
        self._staged_losses: list[Floats] = []

    def observe(
        self, values: torch.Tensor, padding: torch.Tensor | None, locate: Locate, part: str,
        shape: tuple[int, int] | None = None, spans: Sequence[Span] | None = None,
    ) -> None:  # fmt: skip
        """Stage a tensor [rows, width] of this batch; the rows in `padding` do not count. `shape` of the batch, where
        the largest entry of each of its sequences is kept; `spans` of rows of each, where its losses are, empty where
        it is not known which are whose.

        Raises MeasureError for a dtype or width that differs from what this site gave before.
        """
        rows, width = values.shape
        self._check(values, part, width)
        if values.numel() > NOWHERE:
            raise MeasureError(
                f"{self.name} gave {rows} x {width} entries at once, more than can be told apart\n"
                f"  lower {setting('batch_tokens')}"
            )
        self._staged_rows[part] = (
            self._staged_rows.get(part, 0) + rows - (padding.numel() if padding is not None else 0)
        )
        if values.device.type != "cpu" and rows:
            counts, work = read(values, padding, self.tests_massive)
            self._staged.append((findings(values, work, locate), part))
            row_max = work.row_max
        else:
            counts, row_max = self._on_host(values, padding, locate, part, spans)
        if spans is not None and shape and self._losses and (not spans or values.device.type != "cpu"):
            self._staged_losses.append(self._losses.hidden(shape[0]))
        if shape and self._maxima:
            self._staged_maxima.append(largest_of_sequences(values, row_max, locate, shape))
        self._staged_counts = counts if self._staged_counts is None else self._staged_counts + counts

    def _on_host(
        self, values: torch.Tensor, padding: torch.Tensor | None, locate: Locate, part: str,
        spans: Sequence[Span] | None,
    ) -> tuple[torch.Tensor, torch.Tensor]:  # fmt: skip
        """Counts of a tensor and the largest key of every row; the rest of row work is done where it can matter."""
        encoded = encode(values)
        if spans and self._losses:
            known = self.counts.get("calibration")
            counts, losses = self._losses.counted(self.name, self.encoding, encoded.bits, spans, known)
            self._staged_losses.append(losses)
        else:
            counts = counted(encoded.bits, padding)
        occupied = counts.cpu().numpy() != 0
        top = BINS - 1 - int(occupied[::-1].argmax())
        if not occupied[top] or not self._matters(top):
            return counts, largest_of_rows(encoded.key, padding)
        all_finite = top < INFINITY_BIN[self.encoding]
        work = row_work(encoded, padding, self.tests_massive, all_finite)
        self._staged.append((findings(values, work, locate), part))
        return counts, work.row_max

    def commit(self, batch: Batch, brought: Iterable[torch.Tensor] | None = None) -> None:
        """Keep what the batch staged; `brought`: its findings, where they are on the host already."""
        split = batch.plan.split
        if self._staged_counts is not None:
            known, staged = self.counts.get(split), self._staged_counts
            self.counts[split] = staged if known is None else known.to(staged.device) + staged
        for part, rows in self._staged_rows.items():
            self.rows[part] = self.rows.get(part, 0) + rows
        found = list(at_once(self.staged_findings) if brought is None else brought)
        for packed, (_, part) in zip(found, self._staged, strict=False):
            self._keep(Found.of(packed), batch, part)
        if self._maxima:
            self._maxima.keep(self.name, batch, found[len(self._staged) :])
        if self._losses:
            self._losses.keep(self.name, batch, self._staged_losses)
        self.rollback()

    def take_up(self, staged: Any) -> None:
        (
            self._staged_counts, self._staged_rows, self._staged, self._staged_maxima, self._staged_losses,
        ) = staged  # fmt: skip

    def rollback(self) -> Any:
        """Forget what was staged, which is returned: `take_up` gives it back to a batch that was left half-way."""
        staged = (
            self._staged_counts, self._staged_rows, self._staged, self._staged_maxima, self._staged_losses,
        )  # fmt: skip
        self.take_up((None, {}, [], [], []))
        return staged

    def state(self) -> State:
        """All that was committed so far."""
        return {
            "dtype": Entry(self.dtype or None, How.EQUAL),
            "widths": Entry(dict(self.widths), How.EQUAL),
            "heads": Entry(self.heads, How.EQUAL),
            "rows": Entry(dict(self.rows), How.SUM),
            "peaks": Entry([plain_of(peak) for peak in self.peaks], How.LARGEST),
            "massive": Entry([self.massive.tokens, self.massive.entries], How.SUM),
            "ratio": Entry(self.massive.max_ratio, How.MAX),
            "nonfinite": Entry(plain_of(self.first_nonfinite) if self.first_nonfinite else None, How.FIRST),
            **{f"counts/{split}": Entry(counts, How.SUM) for split, counts in self.counts.items()},
        }

    def restore(self, state: State) -> None:
        """Hold this, instead of whatever is held."""
        self.rollback()
        self._typed(value_of(state, "dtype", ""))
        self.widths, self.rows = dict(value_of(state, "widths", {})), dict(value_of(state, "rows", {}))
        self.heads = value_of(state, "heads", None)
        self.peaks = [peak_of(peak) for peak in value_of(state, "peaks", [])]
        tokens, entries = value_of(state, "massive", [0, 0])
        self.massive = Massive(tokens=tokens, entries=entries, max_ratio=value_of(state, "ratio", None))
        first = value_of(state, "nonfinite", None)
        self.first_nonfinite = peak_of(first) if first else None
        self.counts = {split: entry.value.clone() for split, entry in within("counts", state).items()}

    @property
    def staged_findings(self) -> list[torch.Tensor]:
        """What was found in the calls of this batch, each where it was found."""
        return [*(packed for packed, _ in self._staged), *self._staged_maxima]

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

    def _keep(self, found: Found, batch: Batch, part: str) -> None:
        width = self.widths[part]

        def raw(value: float, flat: int, row: int) -> Peak:
            sample, position, token_id = batch.place(row) if row >= 0 else ("", -1, -1)
            return Peak(
                value=value, sample=sample, position=position, token="", token_id=token_id, channel=flat % width,
                part=part,
            )  # fmt: skip

        candidates = [raw(*peak) for peak in found.peaks]
        self.peaks = sorted([*self.peaks, *candidates], key=lambda peak: peak.order)[:PEAKS_KEPT]
        self.massive = self.massive + found.massive
        if found.nonfinite is not None:
            broken = raw(float("nan"), *found.nonfinite)
            if self.first_nonfinite is None or broken.place < self.first_nonfinite.place:
                self.first_nonfinite = broken


def commit_all(accumulators: Iterable[SiteAccumulator], batch: Batch) -> None:
    """Keep what a batch staged everywhere, by one transfer to the host."""
    accumulators = list(accumulators)
    found = iter(at_once([packed for one in accumulators for packed in one.staged_findings]))
    for one in accumulators:
        one.commit(batch, [next(found) for _ in one.staged_findings])


def running_m(accumulators: Mapping[str, SiteAccumulator], sites: Iterable[Site]) -> float:
    """The largest magnitude of the counted ones of these sites in all that was committed, which is on the host;
    infinity for an entry that is not finite.
    """
    held = [accumulators[site.name] for site in sites if site.counted]
    if any(one.first_nonfinite for one in held):
        return math.inf
    return max((abs(one.peaks[0].value) for one in held if one.peaks), default=0.0)
