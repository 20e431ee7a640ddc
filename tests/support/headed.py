"""A random Qwen3 with its head, sound or with one channel that is loud, on disk."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from tests.support import tiny

LOUD = 11


def headed(
    folder: Path, loud: float = 1.0, change: Callable[[Any], None] = lambda model: None, tokenizer: Any = None,
    model_type: str = "qwen3", **overrides: Any,
) -> Path:  # fmt: skip
    """A random Qwen3, or its like, with its head; one channel of the last layer's feed-forward block is `loud` times
    what it was, its function the same. `change` is done to it before it is saved.
    """
    torch.manual_seed(0)
    config = AutoConfig.for_model(
        model_type, **{**tiny.FAMILIES[model_type], "intermediate_size": 128, "tie_word_embeddings": False, **overrides}
    )
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim >= 2:
                parameter.normal_(0.0, 0.15)
        block = model.model.layers[-1].mlp
        block.up_proj.weight[LOUD] *= loud
        block.down_proj.weight[:, LOUD] /= loud
        change(model)
    return tiny.save(folder, model.bfloat16(), tokenizer)
