"""Ways to run a model, by their names, and what stands for a number of tokens that the machine decides."""

WHOLE, SPLIT, OFFLOADED, STREAMED = "whole", "split", "offload", "stream"
PARALLEL = "tensor-parallel"
PLACED = (SPLIT, OFFLOADED, STREAMED, PARALLEL)
"""Those on more than the memory of one device, which may be asked for in the place of a device."""
AUTO = 0
"""Tokens of a batch where the machine decides."""
