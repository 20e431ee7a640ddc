"""One read of a tensor on a device: counts and row work of rows [rows, width], padding left out. On CUDA, where Triton
is there, by the kernel of `kernel`; elsewhere by the plain path, op by op.

Rule: both give the same, bit for bit. The kernel is tried against the plain path once per process and device, on
tensors that hold every kind of number, before it is trusted; where it fails or differs the plain path is taken, and
the log says so. That trial, and tuning at the first tensor of a width, are the only times it waits for the device.
"""

import logging
from collections.abc import Callable
from functools import cache
from typing import Any

import torch

from pytest_maxact.errors import first_line
from pytest_maxact.measure.observe.bits import count_bits, encode, key_of
from pytest_maxact.measure.observe.massive import MASSIVE_ABOVE, massive_of_rows
from pytest_maxact.measure.observe.rowwork import NOWHERE, RowWork, row_work
from pytest_maxact.numbers.histogram import BINS, INFINITY_BIN

WINDOW = 1 << 13
"""Bins that are counted in shared memory."""
_FROM = {torch.bfloat16: (127 - 40) << 7, torch.float32: (127 - 40) << 7, torch.float16: (15 - 6) << 10}
"""The first of them: 2^-40 up to 2^24, and 2^-6 up to 2^2 in float16."""
_PROGRAMS, _WIDEST = 4, 2048
"""Programs per multiprocessor; columns of a tile at most."""
_TILES = ((2048, 4), (4096, 4), (4096, 8), (8192, 8), (8192, 16))
"""Entries and warps of a program's tile, among which CUDA is asked for the fastest."""
Read = tuple[torch.Tensor, RowWork]
Launch = Callable[..., None]
"""Starts the kernel: grid as a function of the entries of a tile, arguments, constants."""
_log = logging.getLogger(__name__)


def read(values: torch.Tensor, padding: torch.Tensor | None, tests_massive: bool) -> Read:
    """Counts int64 [32 768] and row work of a tensor that lies on a device, without waiting for it."""
    launch = kernel_of(values.device) if values.numel() else None
    return read_fused(values, padding, tests_massive, launch) if launch else read_plain(values, padding, tests_massive)


def read_plain(values: torch.Tensor, padding: torch.Tensor | None, tests_massive: bool) -> Read:
    """The same op by op."""
    encoded = encode(values)
    return counted(encoded.bits, padding), row_work(encoded, padding, tests_massive)


def counted(bits: torch.Tensor, padding: torch.Tensor | None) -> torch.Tensor:
    """Counts of bins [rows, width], padding left out."""
    counts = count_bits(bits)
    return counts if padding is None else counts - count_bits(bits[padding])


def read_fused(values: torch.Tensor, padding: torch.Tensor | None, tests_massive: bool, launch: Launch) -> Read:
    """The same by one read of the tensor, which may lie in any order and must not be empty."""
    values = values.float() if values.dtype == torch.float64 else values
    (rows, width), single = values.shape, values.dtype == torch.float32

    def made(size: int, dtype: torch.dtype, fill: int = 0) -> torch.Tensor:
        return torch.full((size,), fill, dtype=dtype, device=values.device)

    counts, real = made(BINS, torch.int64), made(rows if padding is not None else 1, torch.int8, 1)
    if padding is not None:
        real[padding] = 0
    largest, broken, median, entries = (made(rows, torch.int32) for _ in range(4))
    tile = min(_WIDEST, max(16, 1 << (width - 1).bit_length()))
    launch(
        values.view(torch.int32 if single else torch.int16),
        real, counts, largest, broken, median, entries, rows, width, values.stride(0), values.stride(1),
        PADDED=padding is not None, MASSIVE=tests_massive, SINGLE=single, HALF=values.dtype == torch.float16,
        INFINITY=0x7F800000 if single else INFINITY_BIN[str(values.dtype).removeprefix("torch.")],
        LIMIT=key_of(MASSIVE_ABOVE, values.dtype), BASE=_FROM[values.dtype], WINDOW=WINDOW, W=tile,
    )  # fmt: skip
    places = torch.arange(rows, device=values.device) * width + broken
    nonfinite = torch.where(broken < width, places, NOWHERE).amin()
    massive = massive_of_rows(largest, median, entries, values.dtype) if tests_massive else None
    return counts, RowWork(largest.long(), nonfinite, massive)


@cache
def kernel_of(device: torch.device) -> Launch | None:
    """What launches the kernel on a device that it was tried on; None, which is logged, where it cannot be used."""
    if device.type != "cuda" or not torch.cuda.is_available():
        return None
    why = "counts something else than the plain path"
    for shared in (True, False) if torch.version.hip is None else (False,):
        try:
            launch = _launching(shared, torch.cuda.get_device_properties(device).multi_processor_count)
            if all(agree(values, padding, launch) for values, padding in trials(device)):
                return launch
        except Exception as error:  # whatever a compiler or a driver raises
            why = f"{type(error).__name__}: {first_line(error)}"
    _log.warning("%s is observed without the fused kernel, which takes longer: %s", device, why)
    return None


def agree(values: torch.Tensor, padding: torch.Tensor | None, launch: Launch) -> bool:
    """Whether the kernel gives what the plain path does, bit for bit."""
    (counts, one), (expected, other) = read_fused(values, padding, True, launch), read_plain(values, padding, True)
    assert one.massive is not None
    assert other.massive is not None
    pairs = ((counts, expected), (one.row_max, other.row_max), (one.nonfinite, other.nonfinite))
    return all(map(torch.equal, *zip(*pairs, strict=True))) and torch.equal(
        one.massive.nan_to_num(-2.0), other.massive.nan_to_num(-2.0)
    )


def trials(device: torch.device) -> list[tuple[torch.Tensor, torch.Tensor | None]]:
    """Tensors with every kind of number, massive rows, padding, rows of padding alone, strides and odd widths."""
    every = torch.arange(1 << 16, dtype=torch.int32, device=device).to(torch.int16)
    spread = torch.randn(300, 257, generator=torch.Generator().manual_seed(0)).to(device)
    spread[::7] *= 1e-4
    spread[::7, 5], spread[11], spread[13, 256] = 3000.0, 0.0, float("nan")
    padding = torch.tensor([0, 13, 299], device=device)
    found: list[tuple[torch.Tensor, torch.Tensor | None]] = []
    for dtype in (torch.bfloat16, torch.float16, torch.float32):
        values = spread.to(dtype)
        found += [(values, padding), (values[:, ::2], None), (values.T, padding[:1]), (values[:, :1], None)]
        if dtype != torch.float32:
            found += [(every.view(dtype).view(16, -1), None), (every.view(dtype).view(-1, 16), padding)]
    return found


def _launching(shared: bool, processors: int) -> Launch:
    import triton

    from pytest_maxact.measure.observe import kernel

    configs = [triton.Config({"TILE": tile}, num_warps=warps) for tile, warps in _TILES]
    tuned: Any = triton.autotune(configs=configs, key=["W", "MASSIVE", "PADDED"], restore_value=["counts"])(kernel.read)

    def launch(x: torch.Tensor, *arguments: Any, **constants: Any) -> None:
        def grid(meta: dict[str, int]) -> tuple[int]:
            return (min(-(-x.shape[0] // max(1, meta["TILE"] // meta["W"])), _PROGRAMS * processors),)

        with torch.cuda.device(x.device):
            tuned[grid](x, *arguments, SHARED=shared, **constants)

    return launch
