"""What a project's hooks give, made into settings: a corpus, and a limits file.

Whatever cannot be used is an InputError that names the hook; nothing falls back to what is shipped.
"""

import json
from collections.abc import Callable
from pathlib import Path

from pytest_maxact.corpus import read_jsonl
from pytest_maxact.errors import InputError
from pytest_maxact.settings.places import expanded

CORPUS, LIMITS = "pytest_maxact_corpus", "pytest_maxact_limits"


def corpus_file(given: object, root: Path, folder: Callable[[], Path]) -> str:
    """The file of a corpus: the one that a path leads to from `root`, or entries written to the file `hook` in
    `folder`, by which name the Record's provenance knows them. Raises InputError.
    """
    if isinstance(given, (str, Path)):
        return _existing(CORPUS, given, root)
    if not isinstance(given, (list, tuple)):
        raise InputError(
            f"{CORPUS} gave {_kind(given)}\n"
            '  it gives a list of {"text": ..., "category": ...} entries, the path of a corpus file, or None'
        )
    try:
        lines = [json.dumps(entry, allow_nan=False) for entry in given]
    except (TypeError, ValueError) as error:
        raise InputError(f"{CORPUS} gave an entry that is no JSON ({error})\n  give texts and categories") from error
    path = folder() / "hook"
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    read_jsonl(path, called=CORPUS)
    return str(path)


def limits_file(given: object, root: Path, written: bool) -> str:
    """The limits file that a path leads to from `root`; where limits are `written` it need not be there yet. Raises
    InputError.
    """
    if not isinstance(given, (str, Path)):
        raise InputError(f"{LIMITS} gave {_kind(given)}\n  it gives the path of a limits file, or None")
    return str(root / expanded(given)) if written and given else _existing(LIMITS, given, root)


def _existing(hook: str, given: str | Path, root: Path) -> str:
    path = root / expanded(given)
    if not path.is_file():
        raise InputError(f"{hook} gave {str(given)!r}, and there is no such file\n  paths start from {root}")
    return str(path)


def _kind(given: object) -> str:
    return f"{type(given).__name__} {given!r:.80}"
