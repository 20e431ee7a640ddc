"""Every kind of export by a name, each as one call: `EXPORTS[name](folder)`."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from tests.support.exports import awq, bitsandbytes, compressed, fp8_block, gptq, modelopt, mxfp4

Export = Callable[..., Path]
PRESETS = (
    "W8A8", "W8A16", "W4A16", "W4A16_ASYM", "W4A8", "W4AFP8", "FP8", "FP8_DYNAMIC", "FP8_BLOCK", "NVFP4", "NVFP4A16",
    "MXFP4", "MXFP4A16", "MXFP8",
)  # fmt: skip
EXPORTS: dict[str, Export] = {
    **{f"compressed {preset}": partial(compressed.export, preset=preset) for preset in PRESETS},
    "fp8 block": fp8_block.export,
    "gptq": gptq.export,
    "gptq act-order": partial(gptq.export, act_order=True),
    "gptq 8 bits": partial(gptq.export, bits=8, symmetric=True, group=-1),
    "gptq v2": partial(gptq.export, version=2),
    "awq": awq.export,
    "modelopt FP8": partial(modelopt.export, algo="FP8"),
    "modelopt NVFP4": partial(modelopt.export, algo="NVFP4"),
    "mxfp4": mxfp4.export,
    "bitsandbytes 8 bits": partial(bitsandbytes.export, bits=8),
    "bitsandbytes NF4": bitsandbytes.export,
}
