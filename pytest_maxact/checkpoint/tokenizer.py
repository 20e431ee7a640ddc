"""The tokenizer of a checkpoint or of a corpus."""

from pathlib import Path
from typing import Any

from pytest_maxact.checkpoint.quiet import quiet
from pytest_maxact.errors import InputError, first_line


def load_tokenizer(source: str | Path, trust_remote_code: bool, revision: str | None = None) -> Any:
    """The tokenizer beside the weights, or of a hub id. Raises InputError where there is none."""
    from transformers import AutoTokenizer

    with quiet():
        try:
            tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=trust_remote_code, revision=revision)
        except Exception as error:
            raise InputError(
                f"no tokenizer in {source}: {first_line(error)}\n"
                "  save it beside the weights: tokenizer.save_pretrained(FOLDER)"
            ) from error
    if not set(tokenizer.get_vocab()) - set(tokenizer.all_special_tokens):
        raise InputError(
            f"no tokenizer in {source}: none of its files holds a vocabulary\n"
            "  save it beside the weights: tokenizer.save_pretrained(FOLDER)"
        )
    return tokenizer
