"""The gate inside a training run of transformers: `from pytest_maxact.trainer import MaxActCallback`."""

from pytest_maxact.trainer.callback import MaxActCallback

__all__ = ["MaxActCallback"]
