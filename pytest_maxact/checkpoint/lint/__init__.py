"""Checkpoints looked at without loading them: headers and small tensors in, findings out."""
