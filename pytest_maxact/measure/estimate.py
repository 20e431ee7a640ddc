"""How long a pass will take, by a short probe: a few products of the model's own shapes on the device that is there, a
short read of its files. No weights load.
"""

import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from pytest_maxact.checkpoint.files import WeightFiles
from pytest_maxact.checkpoint.placement.need import layers_of, products_of, top_k_of
from pytest_maxact.checkpoint.placement.placement import Option, Placement
from pytest_maxact.errors import first_line
from pytest_maxact.measure.arithmetic import computing
from pytest_maxact.numbers.plan import Speeds
from pytest_maxact.numbers.ways import OFFLOADED, STREAMED

OBSERVED = 1.2
"""A pass that is observed takes about so many times the bare one."""
_ROWS = 256
_ENTRIES = 1 << 24
"""A matrix of the probe has no more entries; what it gains per entry is the same."""
_SHAPES = 3
_SECONDS = 0.3
_READ = 128 << 20
_PIECE = 8 << 20


def flops_of_a_token(whole: nn.Module, length: int) -> float:
    """What one token costs in a forward pass without the head, in a sequence so long."""
    top_k, layers = top_k_of(whole), layers_of(whole)
    text: Any = whole.config.get_text_config()  # type: ignore[operator, union-attr]
    products = sum(times * one * other for layer in layers for times, one, other in products_of(layer, top_k))
    return float(2 * products + 2 * length * len(layers) * int(getattr(text, "hidden_size", 0) or 0))


def speeds_of(whole: nn.Module, dtype: str, arithmetic: str, device: str, files: WeightFiles | None) -> Speeds:
    """What the device and the disk of this machine do. `device` may be one that is not here: then it is not probed."""
    here = device == "cpu" or (torch.cuda.is_available() and int(device[5:] or 0) < torch.cuda.device_count())
    disk, told = (_reading(max(files.loaded, key=lambda file: file.stat().st_size)), "") if files else (None, "")
    flops = None
    if here:
        try:
            flops = _multiplying(whole, getattr(torch, dtype), arithmetic, torch.device(device))
        except RuntimeError as error:
            told = f"{device} was not probed: {first_line(error)}"
    else:
        told = f"{device} is not on this machine, so its speed is not known"
    return Speeds(flops=flops, disk=disk, unprobed=told)


def seconds_of(
    option: Option, placement: Placement, speeds: Speeds, flops: float, tokens: int, batch: int
) -> float | None:
    """How long a corpus takes in one of the ways, on a device that was probed; None where that is not known."""
    if speeds.flops is None or option.device != placement.device:
        return None
    seconds = OBSERVED * tokens * flops / speeds.flops
    read = {STREAMED: option.on_disk, OFFLOADED: option.on_disk * -(-tokens // max(batch, 1))}.get(option.how, 0)
    if read and speeds.disk is None:
        return None
    return seconds + (read / speeds.disk if read and speeds.disk else 0.0)


def _multiplying(whole: nn.Module, dtype: torch.dtype, arithmetic: str, device: torch.device) -> float:
    """FLOP/s over the largest matrices of a layer."""
    layers = layers_of(whole)
    sides = {(one, other) for layer in layers[-1:] for _, one, other in products_of(layer, 1)}
    shapes = sorted(sides, key=lambda pair: -pair[0] * pair[1])[:_SHAPES]
    done = spent = 0.0
    with torch.inference_mode(), computing(arithmetic, device, str(dtype).removeprefix("torch.")):
        for rows, columns in shapes:
            out = max(1, min(rows, _ENTRIES // columns))
            matrix = torch.randn(out, columns, device=device).to(dtype)
            states = torch.randn(_ROWS, columns, device=device).to(dtype)
            each = _timed(partial(nn.functional.linear, states, matrix), device)
            done, spent = done + 2.0 * _ROWS * out * columns, spent + each
    return done / spent if spent else 0.0


def _timed(run: Callable[[], object], device: torch.device) -> float:
    """Seconds of a call, the shortest of several."""
    run()
    found: list[float] = []
    start = time.perf_counter()
    while not found or (len(found) < 5 and time.perf_counter() - start < _SECONDS):
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        before = time.perf_counter()
        run()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        found.append(time.perf_counter() - before)
    return min(found)


def _reading(file: Path) -> float:
    """Bytes a second of a file from disk: what the system holds of it in memory is let go of first, where it can be."""
    size = min(_READ, file.stat().st_size)
    buffer = bytearray(_PIECE)
    with file.open("rb", buffering=0) as opened:
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(opened.fileno(), 0, size, os.POSIX_FADV_DONTNEED)
        start, read = time.perf_counter(), 0
        while read < size and (given := opened.readinto(buffer)):
            read += given
        return read / max(time.perf_counter() - start, 1e-6)
