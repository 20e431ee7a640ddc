"""pytest-maxact: a release gate for LLM checkpoints. Maximum activations and low-bit reconstruction error, layer by
layer, as pytest checks.
"""

__version__ = "0.1.0"
