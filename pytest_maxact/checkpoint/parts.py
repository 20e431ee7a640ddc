"""What of a folder decides what a model is: a folder in, its files out, large ones and small. No torch.

The one list of them: what a verdict is about, and what may not change while it is measured, are the same files. Weights
of every format are among them, so that no loader is given what the gate did not see; what a training run or a person
leaves beside them is not.
"""

import re
from pathlib import Path

_SMALL = re.compile(
    r"^(?:.*config\.json|.*\.index\.json|special_tokens_map\.json|added_tokens\.json|dict\.txt|modules\.json"
    r"|params\.json|tokenizer.*|tekken.*|vocab.*|merges.*|chat_template.*"
    r"|.*\.(?:model|spm|tiktoken|jinja|codes|bpe|vocab|py))$"
)
_WEIGHTS = re.compile(r"^.*\.(?:safetensors|bin|pt|pth|ckpt|gguf|h5|msgpack|onnx)$")
_TRAINING = re.compile(r"^(?:(?:training_args|optimizer|scheduler|scaler|events)\b|rng_state)")
"""What trainers save beside a model, to go on."""


def is_small(file: Path) -> bool:
    """Whether a file is one that a config, a tokenizer, a template, an index or code is read from."""
    return bool(_SMALL.match(file.name))


def parts(folder: Path) -> list[Path]:
    """In the order of their names, those of additional templates too. Raises OSError."""
    templates = folder / "additional_chat_templates"
    inside = [*folder.iterdir(), *(templates.iterdir() if templates.is_dir() else ())]
    return sorted(file for file in inside if (is_small(file) or _is_weights(file)) and not file.is_dir())


def _is_weights(file: Path) -> bool:
    return bool(_WEIGHTS.match(file.name)) and not _TRAINING.match(file.name)
