"""What a scheme does to predictions: the model with its head (`headed`), a scheme in effect (`simulate`), and the
comparison (`effects`).
"""

from pytest_maxact.effect.effects import EFFECT_TOKENS, HEAD_ROWS, evaluation_samples, measure_effects, require_head
from pytest_maxact.effect.headed import has_head, is_encoder

__all__ = [
    "EFFECT_TOKENS",
    "HEAD_ROWS",
    "evaluation_samples",
    "has_head",
    "is_encoder",
    "measure_effects",
    "require_head",
]
