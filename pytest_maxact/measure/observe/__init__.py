"""The hot path: one hooked forward pass over a corpus, from batches to accumulators."""
