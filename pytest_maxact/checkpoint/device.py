"""Which device and dtype a setting means."""

import torch

from pytest_maxact.errors import InputError, first_line, setting

DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}


def pick_device(wanted: str) -> torch.device:
    """The device named, or for "auto" CUDA where there is one, else the CPU. Raises InputError for one this machine
    lacks.
    """
    if wanted == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(wanted)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise InputError(
            f"{setting('device')} {wanted}: not available here ({first_line(error)})\n  use cpu, or auto"
        ) from error
    return device
