"""Tensors as integers that sort and count: values in, histogram bins and ordered keys out, and back."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache

import torch

from pytest_maxact.numbers.histogram import BINS, INFINITY_BIN

_CHUNK = 1 << 24


@dataclass(frozen=True, slots=True)
class Encoded:
    """A tensor [rows, width] as integers: `bits` int16, its histogram bins; `key`, integers in the order of magnitude,
    from `infinity` on not finite.
    """

    values: torch.Tensor
    bits: torch.Tensor
    key: torch.Tensor
    infinity: int
    encoding: str


def encode(values: torch.Tensor) -> Encoded:
    """A floating-point tensor [rows, width] as integers; float64 by way of float32."""
    if values.dtype == torch.float64:
        values = values.float()
    if values.dtype == torch.float32:
        key = values.view(torch.int32) & 0x7FFFFFFF
        bits = values.bfloat16().view(torch.int16) & 0x7FFF
        # torch makes another NaN of one that lies beside others in memory than of one alone
        bits = bits.masked_fill_(bits > INFINITY_BIN["bfloat16"], BINS - 1)
        return Encoded(values, bits, key, 0x7F800000, "bfloat16")
    encoding = str(values.dtype).removeprefix("torch.")
    bits = values.view(torch.int16) & 0x7FFF
    return Encoded(values, bits, bits, INFINITY_BIN[encoding], encoding)


def key_of(value: float, dtype: torch.dtype) -> int:
    """The key of a value that the dtype represents exactly."""
    tensor = torch.tensor([value], dtype=dtype)
    return int(tensor.view(torch.int32 if dtype == torch.float32 else torch.int16).item())


def value_of(key: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """The magnitude behind a key, float64."""
    return key.view(dtype).double()


def count_bits(bits: torch.Tensor, size: int = BINS) -> torch.Tensor:
    """How often each of the 32 768 magnitudes, or each of `size` places, occurs in an int16 tensor of them: int64
    [size], on its device.

    On the CPU `torch.bincount` is single-threaded, so the tensor is cut over threads. Elsewhere it would synchronise; a
    scatter does not.
    """
    flat = bits.reshape(-1)
    if flat.device.type == "cpu":
        threads = torch.get_num_threads()
        if threads == 1 or flat.numel() < 1 << 16:
            return torch.bincount(flat, minlength=size)
        parts = list(_pool(threads).map(lambda part: torch.bincount(part, minlength=size), flat.chunk(threads)))
        return torch.stack(parts).sum(0)
    counts = torch.zeros(size, dtype=torch.int64, device=flat.device)
    for part in torch.split(flat, _CHUNK):
        counts.scatter_add_(0, part.long(), torch.ones(1, dtype=torch.int64, device=flat.device).expand(part.numel()))
    return counts


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="maxact-count")
