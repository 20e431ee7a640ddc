"""The tokenizer of a checkpoint or of a corpus, with the chat template that it is served with."""

import json
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from pytest_maxact.checkpoint.artifact import refuse_stand_ins
from pytest_maxact.checkpoint.formats.gguf_quick import read_quickly
from pytest_maxact.checkpoint.quiet import quiet
from pytest_maxact.errors import InputError, first_line
from pytest_maxact.settings.userfiles import begins_with_mark, refuse_mark, refuse_unreadable, text_of

_FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.json")


def load_tokenizer(
    source: str | Path,
    trust_remote_code: bool,
    revision: str | None = None,
    config: Any = None,
    gguf: str | None = None,
) -> Any:
    """The tokenizer beside the weights, in the file `gguf` there, or of a hub id. `config`: that of the model, where
    transformers cannot read it from there. Raises InputError where there is no tokenizer.
    """
    from transformers import AutoTokenizer

    if (folder := Path(source)).is_dir():
        refuse_stand_ins(folder)
    given = {"config": config} if begins_with_mark(folder / "config.json") else {}
    if gguf:
        given = {"gguf_file": gguf}
    with quiet(), read_quickly() if gguf else nullcontext():
        try:
            tokenizer = AutoTokenizer.from_pretrained(
                source, trust_remote_code=trust_remote_code, revision=revision, **given
            )
        except Exception as error:
            for name in _FILES:
                refuse_unreadable(folder / name)
                refuse_mark(folder / name)
            if gguf:
                raise _none_in(folder / gguf, first_line(error)) from error
            raise InputError(
                f"no tokenizer in {source}: {first_line(error)}\n"
                "  save it beside the weights: tokenizer.save_pretrained(FOLDER)"
            ) from error
    if gguf and not tokenizer.get_vocab():
        raise _none_in(folder / gguf, "it holds no vocabulary")
    if not set(tokenizer.get_vocab()) - set(tokenizer.all_special_tokens):
        raise InputError(
            f"no tokenizer in {source}: none of its files holds a vocabulary\n"
            "  save it beside the weights: tokenizer.save_pretrained(FOLDER)"
        )
    if not tokenizer.chat_template:
        tokenizer.chat_template = _of_processor(Path(source))
    return tokenizer


def _none_in(file: Path, why: str) -> InputError:
    return InputError(
        f"no tokenizer in {file}: {why}\n"
        "  convert the model again with its tokenizer, or give the folder it was converted from"
    )


def _of_processor(folder: Path) -> str | None:
    """The chat template that an earlier release of transformers saved beside a processor, which a tokenizer does not
    read.
    """
    file = folder / "chat_template.json"
    if not file.is_file():
        return None
    try:
        template = json.loads(text_of(file))["chat_template"]
    except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
        raise InputError(
            f"{file}: not readable as a chat template ({type(error).__name__}: {first_line(error)})\n"
            "  restore the file from the checkpoint"
        ) from error
    if not isinstance(template, str):
        raise InputError(
            f"{file}: its chat_template is {type(template).__name__} where text was expected\n"
            "  restore the file from the checkpoint"
        )
    return template
