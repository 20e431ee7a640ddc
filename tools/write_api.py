"""The reference of docs/api.md, out of what the program says of itself: signatures and docstrings of the public face
and of its fixtures in, Markdown out.
"""

import inspect
import re
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any

_MEMBERS = {"Record": "a Record", "Comparison": "a comparison", "Finding": "a finding"}
"""Classes whose attributes are told, as what one of them is."""


def api() -> str:
    """What `pytest_maxact` exports, in the order of `__all__`."""
    import pytest_maxact

    names = [name for name in pytest_maxact.__all__ if not name.startswith("_")]
    return "\n".join(line for name in names for line in _entry(name, getattr(pytest_maxact, name)))


def fixtures() -> str:
    """What tests of a project may ask for."""
    from pytest_maxact.plugin import fixtures as module
    from pytest_maxact.plugin.fixtures import Checker

    lines = []
    for name in ("maxact_record", "maxact_check", "maxact_checkpoint"):
        fixture = getattr(module, name)
        function = getattr(fixture, "_fixture_function", None) or fixture.__wrapped__
        lines += [f"### `{name}`", "", _text(function), ""]
        if name == "maxact_check":
            lines += [f"`{name}{_signature(Checker.__call__)}`", "", _text(Checker.__call__), ""]
    return "\n".join(lines)


def _entry(name: str, thing: Any) -> Iterator[str]:
    yield f"### `{name}`"
    yield ""
    is_function = inspect.isfunction(thing)
    is_built = inspect.isclass(thing) and not is_dataclass(thing) and not issubclass(thing, BaseException)
    if is_function or is_built:
        yield from ("```text", f"{name}{_signature(thing if is_function else thing.__init__)}", "```", "")
    yield _text(thing)
    yield ""
    if name in _MEMBERS:
        held = [field.name for field in fields(thing)] if is_dataclass(thing) else []
        yield f"Of {_MEMBERS[name]}: {', '.join(f'`{field}`' for field in held)}."
        yield ""
        for member, what in inspect.getmembers(thing, _is_told):
            if not member.startswith("_") and member not in held:
                yield f"- `{member}`: {_summary(what)}"
        yield ""


def _is_told(member: Any) -> bool:
    return (isinstance(member, property) or inspect.isfunction(member)) and bool(inspect.getdoc(member))


def _signature(function: Any) -> str:
    parameters = [one for name, one in inspect.signature(function).parameters.items() if name != "self"]
    returns = inspect.signature(function).return_annotation
    text = str(inspect.Signature(parameters, return_annotation=returns))
    text = re.sub(r"<class '([\w.]+)'>", r"\1", text.replace("'", ""))
    return re.sub(r"\b(?:[a-z_]+\.)+(?=[A-Z])", "", text).removesuffix(" -> None")


def _text(thing: Any) -> str:
    return inspect.getdoc(thing) or ""


def _summary(thing: Any) -> str:
    return " ".join(_text(thing).split("\n\n")[0].split())
