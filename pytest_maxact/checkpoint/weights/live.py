"""The tensors of a model in memory, as `scan` finds those of files: a model in training has no files yet."""

from typing import Any

import torch
from torch import nn

from pytest_maxact.numbers.scan import TensorScan, WeightScan, matrices_of, may_be_infinite, printable, weight_scan

_NAMES = {
    torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16",
    torch.float8_e4m3fn: "F8_E4M3", torch.float8_e5m2: "F8_E5M2", torch.bool: "BOOL", torch.uint8: "U8",
    torch.int8: "I8", torch.int16: "I16", torch.int32: "I32", torch.int64: "I64",
}  # fmt: skip


@torch.no_grad()
def scan_live(model: nn.Module) -> WeightScan:
    """Of every tensor of the model, its head's too; of tensors that are one, the first by name."""
    found: dict[str, TensorScan] = {}
    seen: set[tuple[Any, ...]] = set()
    for name, tensor in model.state_dict().items():
        place = (tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype)
        if not tensor.numel() or place not in seen:
            found[printable(name)] = _scanned(name, tensor)
        seen.add(place)
    return weight_scan((), found, {})


def _scanned(name: str, tensor: torch.Tensor) -> TensorScan:
    matrices = matrices_of(name, tuple(tensor.shape))
    parts = list(tensor) if matrices > 1 else [tensor] if tensor.numel() else []
    figures = [_figures(part, may_be_infinite(name)) for part in parts]
    return TensorScan(
        file="",
        dtype=_NAMES.get(tensor.dtype, str(tensor.dtype).removeprefix("torch.")),
        shape=tuple(tensor.shape),
        elements=tensor.numel(),
        nonfinite=sum(broken for _, broken, _ in figures),
        largest=max((top for top, *_ in figures), default=0.0),
        empty=sum(not filled for *_, filled in figures) if matrices else 0,
    )


def _figures(part: torch.Tensor, infinite: bool) -> tuple[float, int, bool]:
    """The largest finite magnitude, how many entries are not finite, and whether any is not zero; `infinite`: NaN alone
    counts as not finite.
    """
    if part.dtype is torch.bool or part.itemsize == 1:
        part = part.float()
    low, high = part.aminmax()
    top = max(abs(low.item()), abs(high.item()))
    if not part.is_floating_point() or (torch.isfinite(low) and torch.isfinite(high)):
        return float(top), 0, top > 0
    finite = part.isfinite()
    broken = part.isnan() if infinite else ~finite
    return part.masked_fill(~finite, 0.0).abs().max().item(), int(broken.sum()), True
