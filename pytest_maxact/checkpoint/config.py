"""A config.json read once: a path in, the config of transformers out, or an error that says what is wrong with it."""

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pytest_maxact.checkpoint.formats.gguf import contents
from pytest_maxact.checkpoint.formats.gguf_parts import read_as_one
from pytest_maxact.checkpoint.formats.stated import without
from pytest_maxact.checkpoint.quiet import quiet
from pytest_maxact.errors import InputError, first_line, setting
from pytest_maxact.settings.userfiles import begins_with_mark, refuse_mark, refuse_unreadable, text_of, unreadable


def read_config(file: Path, trust_remote_code: bool) -> Any:
    """Raises InputError. A byte order mark, which transformers would not read, is passed over."""
    raw = _raw(file)
    auto_map = raw.get("auto_map") or {}
    if trust_remote_code and "--" in str(auto_map):
        raise InputError(
            f"{file}: auto_map points to code in another repository, which no revision pins\n"
            "  copy that code beside the weights, review it, and point auto_map at the copy"
        )
    if auto_map and trust_remote_code:
        refuse_mark(file)
    try:
        if begins_with_mark(file):
            return _without_mark(raw, file)
        return _config(file.parent if file.name == "config.json" else file, trust_remote_code)
    except Exception as error:
        if auto_map and not trust_remote_code:
            hint = (
                f"its code comes with the weights: review it, then add {setting('trust_remote_code')} (a hub id needs"
                f" {setting('revision')} too)"
            )
        else:
            hint = "check model_type, or upgrade transformers"
        raise InputError(f"{file}: transformers cannot read this config ({first_line(error)})\n  {hint}") from error


def _raw(file: Path) -> dict[str, Any]:
    try:
        raw = json.loads(text_of(file))
    except PermissionError as error:
        raise unreadable(file, error) from error
    except (OSError, ValueError, RecursionError) as error:
        refuse_unreadable(file)
        raise InputError(
            f"{file}: not readable as JSON ({first_line(error)})\n  restore the file from the checkpoint"
        ) from error
    if not isinstance(raw, dict):
        raise InputError(
            f"{file}: {type(raw).__name__} where an object was expected\n  restore the file from the checkpoint"
        )
    return raw


def _config(place: Path, trust_remote_code: bool) -> Any:
    from transformers import AutoConfig

    return AutoConfig.from_pretrained(place, trust_remote_code=trust_remote_code)


def _without_mark(raw: dict[str, Any], file: Path) -> Any:
    """The config of a copy that transformers can read, as that of the file."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "config.json").write_text(json.dumps(raw), encoding="utf-8")
        config = _config(Path(folder), trust_remote_code=False)
    config.name_or_path = str(file.parent)
    return config


def read_gguf_config(parts: Sequence[Path]) -> Any:
    """The config that transformers makes of a GGUF file's own words, or of those of the parts of one. Raises
    InputError.
    """
    from transformers import AutoConfig

    file = parts[0]
    with quiet(), read_as_one(parts):
        try:
            config = AutoConfig.from_pretrained(file.parent, gguf_file=file.name)
        except Exception as error:
            raise InputError(
                f"{file}: transformers makes no config of it ({first_line(error)})\n"
                f"  {_of_architecture(file)}; give the folder it was converted from"
            ) from error
    without(config)
    return config


def _of_architecture(file: Path) -> str:
    """What a GGUF file says that it is of, and whether transformers reads such files."""
    from transformers.integrations.gguf import GGUF_CONFIG_ARCHS
    from transformers.modeling_gguf_pytorch_utils import GGUF_SUPPORTED_ARCHITECTURES

    said = contents(file).architecture
    if not said:
        return "it names no architecture (general.architecture)"
    read = said in GGUF_CONFIG_ARCHS or said in GGUF_SUPPORTED_ARCHITECTURES
    return f"its architecture, {said}, is {'read' if read else 'none that transformers reads'} from GGUF"
