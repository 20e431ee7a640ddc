"""Whether a batch did not fit into memory: an exception in, yes or no out."""

import torch


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception of torch says so, on whatever device."""
    text = str(error)
    phrases = ("out of memory", "not enough memory", "can't allocate memory")
    return isinstance(error, torch.OutOfMemoryError) or any(phrase in text for phrase in phrases)
