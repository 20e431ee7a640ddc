"""Faults of quantized checkpoints, each planted in a sound export: `DEFECTS`, by what they are, a module per family of
formats. Those after public reports say which; the fault is described, nothing of theirs is copied.
"""

from tests.support.defects import bitsandbytes, compressed, floats, plain, words
from tests.support.defects.planting import Defect

DEFECTS: dict[str, Defect] = {
    **compressed.DEFECTS, **floats.DEFECTS, **words.DEFECTS, **bitsandbytes.DEFECTS, **plain.DEFECTS
}  # fmt: skip
