"""Faults of exports of GPTQ and AWQ, whose weights lie in words."""

from typing import Any

import torch

from tests.support.defects.planting import VLLM, Defect, Q, Tensors, drop, fill, state, whole


def _bumped(tensors: Tensors, config: dict[str, Any]) -> None:
    """Zero points one more: of eight bits, 128 in the place of 127."""
    for key in [key for key in tensors if key.endswith("qzeros")]:
        tensors[key] = torch.full_like(tensors[key], -2139062144)


DEFECTS: dict[str, Defect] = {
    "GPTQ: zero points of the second version, said to be of the first": Defect(
        export="gptq 8 bits", plant=_bumped, code="zero_point", tensor=f"{Q}.qzeros",
        report=f"{VLLM}pull/38966",
    ),
    "GPTQ: an index beyond the groups": Defect(
        export="gptq act-order", plant=fill(f"{Q}.g_idx", 99), code="group_index", tensor=f"{Q}.g_idx",
    ),
    "GPTQ: reordered, and desc_act is false": Defect(
        export="gptq act-order", plant=state(desc_act=False), code="group_index", tensor=f"{Q}.g_idx",
    ),
    "GPTQ: the index is gone": Defect(
        export="gptq act-order", plant=drop(f"{Q}.g_idx"), code="group_index", tensor=f"{Q}.qweight",
    ),
    "GPTQ: scales that are NaN": Defect(
        export="gptq", plant=fill(f"{Q}.scales", float("nan")), code="scale_nonfinite", tensor=f"{Q}.scales",
    ),
    "GPTQ: other bits than config.json says": Defect(
        export="gptq", plant=state(bits=8), code="packing", tensor=f"{Q}.qweight",
    ),
    "AWQ: zero points are gone": Defect(
        export="awq", plant=drop(f"{Q}.qzeros"), code="zero_point", tensor=f"{Q}.qweight",
    ),
    "AWQ: scales of zero": Defect(
        export="awq", plant=whole(f"{Q}.scales", 0.0), code="scale_zero", tensor=f"{Q}.scales",
        report="https://github.com/InternLM/lmdeploy/issues/1786",
    ),
    "AWQ: said to be GPTQ": Defect(
        export="awq", plant=state(quant_method="gptq", desc_act=False), code="format", tensor=f"{Q}.qweight",
    ),
    "GPTQ asymmetric: zero points of the first version, said to be of the second": Defect(
        export="gptq", plant=state(checkpoint_format="gptq_v2"), code="centre", tensor=f"{Q}.qweight",
        report=f"{VLLM}pull/38966",
    ),
    "GPTQ: zero points as they were allocated": Defect(
        export="gptq", plant=whole(f"{Q}.qzeros", 0), code="centre", tensor=f"{Q}.qweight",
    ),
    "GPTQ: scales left at 1.0": Defect(
        export="gptq", plant=whole(f"{Q}.scales", 1.0), code="scale_one", tensor=f"{Q}.scales",
    ),
    "GPTQ: a head that is said to be quantized": Defect(
        export="gptq", plant=state(lm_head=True), code="unquantized", tensor="lm_head.weight",
    ),
    "AWQ: zero points that are said not to be there": Defect(
        export="awq", plant=state(zero_point=False), code="zero_point", tensor=f"{Q}.qzeros",
    ),
    "AWQ: zero points as they were allocated": Defect(
        export="awq", plant=whole(f"{Q}.qzeros", 0), code="centre", tensor=f"{Q}.qweight",
    ),
}  # fmt: skip
