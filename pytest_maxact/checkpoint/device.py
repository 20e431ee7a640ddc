"""Which device and dtype a setting means, and what a processor has units for."""

import os
import platform

import torch

from pytest_maxact.errors import InputError, first_line, setting
from pytest_maxact.numbers.ways import PLACED

DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}
_AS_IT_IS = "auto"
_WITHOUT_UNITS = ("AVX512_CORE", "AVX512_CORE_VNNI")
"""Bounds of oneDNN under which it takes 16-bit numbers and widens them itself."""


def forced_dtype(wanted: str) -> torch.dtype | None:
    """The dtype a setting names, None for "auto". Raises InputError for one that is none of these."""
    if wanted != _AS_IT_IS and wanted not in DTYPES:
        raise InputError(f"{setting('dtype')} {wanted}: no dtype to measure in\n  use {_AS_IT_IS}, {', '.join(DTYPES)}")
    return DTYPES.get(wanted)


def pick_device(wanted: str) -> torch.device:
    """The device named, or, for "auto" and a model on more than the memory of one device, CUDA where there is one, else
    the CPU. Raises InputError for one this machine lacks.
    """
    if wanted == _AS_IT_IS or wanted in PLACED:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(wanted)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise InputError(
            f"{setting('device')} {wanted}: not available here ({first_line(error)})\n  use cpu, or auto"
        ) from error
    return device


def has_units(form: torch.dtype) -> bool:
    """Whether this CPU multiplies matrices of a 16-bit format by units of its own.

    torch takes any with AVX-512 for one that does, and honours that a user bounds what oneDNN may use; of x86 the CPU's
    own flags are asked beside it.
    """
    if not _told(form):
        return False
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return True
    bound = os.environ.get("ONEDNN_MAX_CPU_ISA", os.environ.get("DNNL_MAX_CPU_ISA", "")).upper()
    units = ("avx512_fp16", "amx_fp16") if form == torch.float16 else ("avx512_bf16", "amx_bf16")
    flags = torch.cpu.get_capabilities()
    return bound not in _WITHOUT_UNITS and any(flags.get(unit) for unit in units)


def _told(form: torch.dtype) -> bool:
    """What torch says of it."""
    named = "_is_mkldnn_fp16_supported" if form == torch.float16 else "_is_mkldnn_bf16_supported"
    told = getattr(torch.ops.mkldnn, named, None) if torch._C._has_mkldnn else None
    return told is not None and bool(told())
