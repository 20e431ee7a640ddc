"""A planned batch as tensors: ids, mask, and which rows are real.

Padding goes to the right, whatever side the tokenizer prefers: in a causal model no real token can then see it, in
recurrent mixers included. It repeats the sequence's own tokens, because a padding token may have an untrained
embedding, and an infinity it led to would reach real tokens as 0 x inf in the attention's sum. `collate` can pad left
too, which the observer handles alike.
"""

from dataclasses import dataclass, field, replace
from typing import Any
from zlib import crc32

import torch

from pytest_maxact.corpus.batches import PlannedBatch


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Batch:
    """`ids` int64 [B, T]; `mask` bool [B, T], True for real tokens; `real` and `padding` int64, the flat rows b*T+t of
    each.

    `starts` is each sequence's first column. `sampled` int64: which of the real tokens are sampled, one in `stride`.
    """

    plan: PlannedBatch
    ids: torch.Tensor
    mask: torch.Tensor
    real: torch.Tensor
    padding: torch.Tensor
    starts: tuple[int, ...]
    sampled: torch.Tensor
    stride: int = 1
    _elsewhere: dict[torch.device, "Batch"] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        return self.ids.numel()

    @property
    def shape(self) -> tuple[int, int]:
        """Sequences and columns."""
        sequences, length = self.ids.shape
        return sequences, length

    @property
    def padded(self) -> bool:
        return self.padding.numel() > 0

    def place(self, row: int) -> tuple[str, int, int]:
        """Sample id, token position and token id of a flat row."""
        sequence, column = divmod(row, self.ids.shape[1])
        position = column - self.starts[sequence]
        return self.plan.sequences[sequence].sample.id, position, self.plan.sequences[sequence].ids[position]

    @property
    def model_inputs(self) -> dict[str, torch.Tensor]:
        """Arguments of the forward pass: no mask where nothing is padded, positions where padding on the left would
        shift them.
        """
        inputs = {"input_ids": self.ids}
        if self.padded:
            inputs["attention_mask"] = self.mask.long()
        if any(self.starts):
            inputs["position_ids"] = (self.mask.long().cumsum(1) - 1).clamp(min=0)
        return inputs

    def on(self, device: torch.device) -> "Batch":
        """The same where a layer lives; made once for every device."""
        if device == self.ids.device:
            return self
        if device not in self._elsewhere:
            names = ("ids", "mask", "real", "padding", "sampled")
            moved = {name: getattr(self, name).to(device, non_blocking=True) for name in names}
            self._elsewhere[device] = replace(self, **moved, _elsewhere={})
        return self._elsewhere[device]

    def strip(self, value: Any) -> Any:
        """A tensor [B, T, ...] as [1, real tokens, ...], one [B*T, ...] as [real tokens, ...]; anything else as it
        is.
        """
        if not isinstance(value, torch.Tensor):
            return value
        real = self.on(value.device).real
        if value.ndim >= 2 and value.shape[:2] == self.ids.shape:
            return value.flatten(0, 1)[real][None]
        return value[real] if value.ndim and value.shape[0] == self.rows else value

    def restore(self, value: Any) -> Any:
        """The reverse of `strip`; rows of padding become zero."""
        if not isinstance(value, torch.Tensor) or not value.ndim:
            return value
        nested = value.ndim >= 2 and value.shape[:2] == (1, self.real.numel())
        if not nested and value.shape[0] != self.real.numel():
            return value
        whole = value.new_zeros((self.rows, *value.shape[2 if nested else 1 :]))
        whole[self.on(value.device).real] = value[0] if nested else value
        return whole.view(*self.ids.shape, *whole.shape[1:]) if nested else whole


def collate(plan: PlannedBatch, device: torch.device, side: str = "right", stride: int = 1) -> Batch:
    """Tensors of a planned batch on `device`; one token in `stride` is sampled, the same ones whatever the batch."""
    length = max(map(len, plan.sequences))
    starts = tuple(0 if side == "right" else length - len(sequence) for sequence in plan.sequences)
    ids = torch.empty((len(plan.sequences), length), dtype=torch.long)
    mask = torch.zeros((len(plan.sequences), length), dtype=torch.bool)
    for row, (sequence, start) in enumerate(zip(plan.sequences, starts, strict=True)):
        ids[row] = torch.tensor(sequence.ids)[(torch.arange(length) - start) % len(sequence)]
        mask[row, start : start + len(sequence)] = True
    flat = mask.flatten()
    real, padding = flat.nonzero().squeeze(1), (~flat).nonzero().squeeze(1)
    phases = [torch.arange(len(sequence)) + crc32(sequence.sample.id.encode()) for sequence in plan.sequences]
    sampled = (torch.cat(phases) % stride == 0).nonzero().squeeze(1)
    return Batch(
        plan=plan,
        ids=_sent(ids, device),
        mask=_sent(mask, device),
        real=_sent(real, device),
        padding=_sent(padding, device),
        starts=starts,
        sampled=_sent(sampled, device),
        stride=stride,
    )


def _sent(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """On its way to a device; to a GPU from pinned memory, for which the host does not wait."""
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)
