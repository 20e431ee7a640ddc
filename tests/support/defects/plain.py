"""Faults of checkpoints whose weights lie in 16 bits."""

from tests.support.defects.planting import FP8_SAID, Defect, drop

DEFECTS: dict[str, Defect] = {
    "FP8: no tensor is quantized": Defect(
        export="plain", plant=FP8_SAID, code="format", tensor="config.json",
    ),
    "16 bits: the head is gone": Defect(
        export="plain", plant=drop("lm_head.weight"), code="head", tensor="lm_head.weight",
    ),
}  # fmt: skip
