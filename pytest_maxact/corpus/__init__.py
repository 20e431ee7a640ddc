"""The text a checkpoint is measured on: samples, their subset and splits, tokens, and batches.

`samples` reads and chooses, `tokens` encodes under a protocol, `batches` plans. Nothing here imports torch.
"""

from pytest_maxact.corpus.batches import BatchPlan, plan_batches
from pytest_maxact.corpus.samples import Sample, assign_splits, builtin_samples, read_jsonl, subset
from pytest_maxact.corpus.tokens import Sequence, decode, encode, within_token_budget

__all__ = [
    "BatchPlan",
    "Sample",
    "Sequence",
    "assign_splits",
    "builtin_samples",
    "decode",
    "encode",
    "plan_batches",
    "read_jsonl",
    "subset",
    "within_token_budget",
]
