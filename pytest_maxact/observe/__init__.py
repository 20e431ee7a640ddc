"""The hot path: one hooked forward pass over a corpus, from batches to accumulators."""

from pytest_maxact.observe.observer import Observer, Progress

__all__ = ["Observer", "Progress"]
