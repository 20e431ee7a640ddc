"""What the text of an option means. Raises ArgumentTypeError, which every door words as its own."""

import argparse
import re
from collections.abc import Callable

from pytest_maxact.errors import InputError
from pytest_maxact.numbers.ways import AUTO, PLACED


def nonempty(value: str) -> str:
    if not value.strip():
        raise argparse.ArgumentTypeError("must not be empty")
    return value


def positive_number(value: str) -> int:
    try:
        number = int(value.replace("_", ""))
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{value!r} is not a whole number above 0")
    return number


def batch_size(value: str) -> int:
    """Tokens of a batch, or `auto`."""
    return AUTO if value.strip().lower() == "auto" else positive_number(value)


def shard(value: str) -> str:
    """The K-th of N parts, `3/16`, counted from 1."""
    part, _, parts = value.partition("/")
    if not (part.isdecimal() and parts.isdecimal() and 1 <= int(part) <= int(parts)):
        raise argparse.ArgumentTypeError(f"{value!r} is no part of a whole; give K/N with K from 1 to N, as in 3/16")
    return f"{int(part)}/{int(parts)}"


def whole_number(value: str) -> int:
    try:
        return int(value)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{value!r} is not a whole number") from None


def choice_of(*allowed: str) -> Callable[[str], str]:
    def parse(value: str) -> str:
        if value not in allowed:
            raise argparse.ArgumentTypeError(f"{value!r} is not one of {', '.join(allowed)}")
        return value

    return parse


def scheme_names(value: str) -> tuple[str, ...]:
    from pytest_maxact.numbers.schemes import scheme_called

    names = [name.strip() for name in value.split(",") if name.strip()]
    try:
        found = tuple(dict.fromkeys(scheme_called(name).name for name in names))
    except InputError as error:
        raise argparse.ArgumentTypeError(str(error).replace("\n ", ";")) from None
    if not found:
        raise argparse.ArgumentTypeError("names no scheme")
    return found


def dtype_name(value: str) -> str:
    """`auto`, or a dtype by the name that settings have for it."""
    from pytest_maxact.numbers.dtypes import FULL, dtype_called

    return dtype_called(value) or choice_of("auto", *FULL)(value.strip().lower())


def device_name(value: str) -> str:
    if not re.fullmatch(rf"auto|cpu|cuda(:\d+)?|{'|'.join(PLACED)}", value):
        raise argparse.ArgumentTypeError(f"{value!r} is not a device: auto, cpu, cuda, cuda:1, {', '.join(PLACED)}")
    return value


def truth(value: str) -> bool:
    if value.lower() in ("true", "1", "yes", "on"):
        return True
    if value.lower() in ("false", "0", "no", "off", ""):
        return False
    raise argparse.ArgumentTypeError(f"{value!r} is not true or false")
