"""What schemes do to the weights of a checkpoint: where each lies in its files (`stored`), and what becomes of it
(`errors`).
"""

from pytest_maxact.weights.errors import weight_errors

__all__ = ["weight_errors"]
