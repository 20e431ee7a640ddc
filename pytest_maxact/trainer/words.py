"""How the callback says a setting: by its own argument, or, where it has none, as the option of pytest that it is."""

from pytest_maxact.settings.option import pytest_option

_ARGUMENTS = {
    "corpus_tokenizer": "corpus_tokenizer", "corpus": "corpus", "max_samples": "samples", "max_seq_len": "max_seq_len",
    "batch_tokens": "batch_tokens", "protocol": "protocol", "limits": "limits", "family": "family",
    "baseline": "baseline", "json_report": "json_report", "html": "html", "sarif": "sarif",
    "codequality": "codequality", "card": "card", "bom": "bom", "junit": "junit", "github": "github",
}  # fmt: skip


def argument(field: str) -> str:
    """`max_samples` is the argument `samples`."""
    own = _ARGUMENTS.get(field)
    return f"`{own}`" if own else pytest_option(field)
