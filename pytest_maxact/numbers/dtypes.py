"""The dtypes that a model runs in, by whatever name the field has for them: torch's, numpy's, that of a safetensors
header or of a config.
"""

FULL = {"bf16": "bfloat16", "fp16": "float16", "fp32": "float32"}
"""torch's name of each, by the one that options have."""

_CALLED = {
    "bf16": ("bf16", "bfloat16"),
    "fp16": ("fp16", "f16", "float16", "half"),
    "fp32": ("fp32", "f32", "float32", "float", "single"),
}
_SHORT = {name: short for short, names in _CALLED.items() for name in names}


def dtype_called(name: str) -> str | None:
    """`torch.bfloat16` is `bf16`, and so on; None for a name of none of them."""
    return _SHORT.get(name.strip().lower().removeprefix("torch."))


def full_name(name: str) -> str:
    """`bf16` is `bfloat16`; a name of none of them stays as it is."""
    short = dtype_called(name)
    return FULL[short] if short else name
