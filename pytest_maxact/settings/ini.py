"""What stands in an ini file, in: by key, as its format has it, text in `pytest.ini` and any type in `[tool.pytest]` of
a `pyproject.toml`. Out: the values of options, in the type that each takes by nature.

Guards that a key of ours that nobody reads, or a value of another type, is refused with the place where it stands.
"""

import argparse
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from functools import cache
from glob import has_magic
from pathlib import Path
from typing import Any, TypeAlias, get_args, get_origin

from pytest_maxact.errors import InputError
from pytest_maxact.settings.option import PREFIX, Option
from pytest_maxact.settings.options import OPTIONS


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """A value as it stands there. `place`: the file, with its line where that is known, or `-o`."""

    value: object
    place: str = "ini file"

    @property
    def is_none(self) -> bool:
        """Whether it says that there is no value, as an empty text does."""
        return self.value in ("", [])


Ini: TypeAlias = Mapping[str, Written]
"""What an ini file says, by key."""


@cache
def _natural_type(field: str) -> type:
    """bool, int, list or str, of a setting."""
    from pytest_maxact.settings.settings import Settings  # none is needed where nothing is written

    kind = next(one.type for one in fields(Settings) if one.name == field)
    if kind is bool:
        return bool
    if kind is int or int in get_args(kind):
        return int
    return list if get_origin(kind) is tuple else str


def refuse_unknown(unknown: Iterable[str], place: Mapping[str, str]) -> None:
    """Of keys that nobody reads, refuse those that were meant for the gate, by an InputError. `place`: where each
    stands.
    """
    from pytest_maxact.settings.spelling import ours

    known = [option.field for option in OPTIONS]
    meant = {key: close for key in unknown if (close := ours(key, PREFIX, known)) is not None}
    if not meant:
        return
    first, *others = meant
    close = f"; did you mean {PREFIX}_{meant[first]}?" if meant[first] else ""
    more = f" (nor called {', '.join(others)})" if others else ""
    raise InputError(
        f"{place[first]}: the gate has no key called {first}{more}{close}\n"
        "  it would do nothing, unsaid: mend it, or take it out; `pytest --help` lists the keys"
    )


def ini_value(option: Option, written: Written, folder: Path | None) -> Any:
    """An option's value; of one that may be repeated, a list of them. Paths start from `folder`; what may be a hub id
    only where there is such a path. Raises InputError.
    """
    found = []
    for entry in _entries(option, written):
        try:
            value = option.parse(entry)
            if option.is_path and folder is not None:
                path = Path(option.parse(str(folder / value)))
                is_hub_id = option.name in _OF_THE_HUB_TOO and not has_magic(value) and not path.exists()
                value = value if is_hub_id else str(path)
        except argparse.ArgumentTypeError as error:
            raise InputError(f"{written.place}: {option.ini}: {error}") from error
        found.append(value)
    return found if option.repeatable else found[0]


def _entries(option: Option, written: Written) -> list[str]:
    """Every text that the option's parser is to read. Raises InputError for a value of another type."""
    value, kind = written.value, _natural_type(option.field)
    if kind in (bool, int) and type(value) is kind:
        return [str(value)]
    texts = value.splitlines() if isinstance(value, str) and kind is list else value
    if isinstance(texts, str):
        return [texts]
    if not isinstance(texts, list) or kind is not list or not all(isinstance(one, str) for one in texts):
        raise InputError(
            f"{written.place}: {option.ini} is {_shown(value)}, and takes {_TAKES[kind]}\n"
            f"  write it as {option.ini} = {_EXAMPLES[kind].format(option.metavar)}"
        )
    stripped = [one.strip() for one in texts]
    kept = stripped if isinstance(value, list) else list(filter(None, stripped))
    return kept if option.repeatable else [",".join(kept)]


_OF_THE_HUB_TOO = ("model", "corpus-tokenizer", "baseline", "source")

_TAKES = {bool: "true or false", int: "a whole number", list: "a list of strings, or one string", str: "one string"}
_EXAMPLES = {bool: "true", int: "64", list: '["{}"]', str: '"{}"'}
"""As TOML has them."""


def _shown(value: object) -> str:
    """As TOML has it, or nearly so."""
    return json.dumps(value, ensure_ascii=False, default=str)
