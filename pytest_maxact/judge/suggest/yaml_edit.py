"""Values set in YAML text, so that nothing else of the text changes: comments, order, quoting, spacing and line ends
stay byte for byte.

Takes the text and which value goes where, returns the new text. The parser's marks say where things stand; what is new
is written by the emitter. Guard: the result is read back, and must be the old data with those values in it, or the edit
is refused.

A round trip through ruamel.yaml was tried: what is appended lands behind the comment above the next entry, aligned
values are moved, and a mapping written over several lines is joined.
"""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import yaml

from pytest_maxact.errors import InputError
from pytest_maxact.judge.limits.yaml_loader import NUMBERS, Loader, plain

Location = tuple[str | int, ...]
Edit = tuple[Location, Any]
_Entry = yaml.Node | tuple[yaml.Node, yaml.Node]
"""Of a list, or of a mapping."""
_Span = tuple[int, int, str]
"""Where text is taken out, and what is put in."""


def assign(text: str, edits: Iterable[Edit], path: Path, order: Sequence[str] = ()) -> str:
    """The text with plain values at their locations: keys and indices from the top, of which only the last may be
    missing.

    An index one past the end appends. A new key of a block comes after those that `order` names before it. `path` is
    for messages. Raises InputError where the text is written in a way that does not let the values be set alone, as
    with anchors that two places share.
    """
    data = plain(text)
    due = [(location, value) for location, value in edits if _at(data, location) != value]
    if not due:
        return text
    wanted = _unshared(data)
    for location, value in due:
        _put(wanted, location, value)
    root = yaml.compose(text, Loader=Loader)
    assert root is not None, "a limits file is a mapping"
    edited = _spliced(text, _replacements(root, due) + _additions(text, root, due, order))
    if _read(edited) == wanted:
        return edited
    if len(due) == 1:
        ((location, _),) = due
        raise InputError(
            f"{path}:{_node_at(root, location[:-1]).start_mark.line + 1}: {'.'.join(map(str, location))} cannot be set "
            "without a change elsewhere, as with anchors or merge keys\n"
            "  write the entry out, or set the value by hand"
        )
    for edit in due:
        text = assign(text, [edit], path, order)
    return text


def _replacements(root: yaml.Node, edits: Sequence[Edit]) -> list[_Span]:
    spans = []
    for location, value in edits:
        parent = _node_at(root, location[:-1])
        if (node := _child(parent, location[-1])) is not None:
            written = _between(value) if _is_inline(parent) else _indent(node, parent) + _inline(value)
            spans.append((node.start_mark.index, _end(node), written))
    return spans


def _indent(node: yaml.Node, parent: yaml.Node) -> str:
    """What keeps a value in one line below its key: a list may stand as far left as the key, nothing else may."""
    return " " if _is_block(node) and node.start_mark.column == parent.start_mark.column else ""


def _additions(text: str, root: yaml.Node, edits: Sequence[Edit], order: Sequence[str]) -> list[_Span]:
    """Of what is missing, by the collection that it goes into."""
    missing: dict[Location, list[tuple[str | int, Any]]] = {}
    for location, value in edits:
        if _child(_node_at(root, location[:-1]), location[-1]) is None:
            missing.setdefault(location[:-1], []).append((location[-1], value))
    spans: list[_Span] = []
    for parent, entries in missing.items():
        node = _node_at(root, parent)
        assert isinstance(node, yaml.CollectionNode), "a value can be added to a mapping or a list only"
        spans += [_added_inline(text, node, entries)] if node.flow_style else _added_lines(text, node, entries, order)
    return spans


def _added_inline(text: str, node: yaml.CollectionNode, entries: Sequence[tuple[str | int, Any]]) -> _Span:
    at = node.end_mark.index - 1
    kept = text[:at].rstrip()
    comma = "" if not node.value else " " if kept.endswith(",") else ", "
    written = [_inline([value] if isinstance(part, int) else {part: value})[1:-1] for part, value in entries]
    return len(kept), at, comma + ", ".join(written)


def _added_lines(
    text: str, node: yaml.CollectionNode, entries: Sequence[tuple[str | int, Any]], order: Sequence[str]
) -> list[_Span]:
    column = node.start_mark.column
    spans = []
    for part, value in entries:
        before = order[: order.index(str(part))] if part in order else ()
        at = _line_after(text, _end(_predecessor(node, before)), column)
        block = "".join(f"{' ' * column}{line}\n" for line in _block(part, value).splitlines())
        spans.append((at, at, block))
    if spans and not text[: spans[0][0]].endswith("\n"):
        spans[0] = (spans[0][0], spans[0][1], "\n" + spans[0][2])
    return spans


def _spliced(text: str, spans: Iterable[_Span]) -> str:
    """Spans do not overlap; what is put in at one place stays in order."""
    parts, done = [], 0
    for start, end, new in sorted(spans, key=lambda span: span[:2]):
        parts += [text[done:start], new]
        done = end
    return "".join([*parts, text[done:]])


def _put(data: Any, location: Location, value: Any) -> None:
    for part in location[:-1]:
        data = data[part]
    if isinstance(data, list) and location[-1] == len(data):
        data.append(value)
    else:
        data[location[-1]] = value


def _unshared(data: Any) -> Any:
    """A copy in which what an anchor and its aliases share stands apart."""
    if isinstance(data, dict):
        return {key: _unshared(value) for key, value in data.items()}
    return [_unshared(value) for value in data] if isinstance(data, list) else data


def _at(data: Any, location: Location) -> Any:
    """None for nothing there."""
    for part in location[:-1]:
        data = data[part]
    if isinstance(data, list) and location[-1] == len(data):
        return None
    return data.get(location[-1]) if isinstance(data, dict) else data[location[-1]]


def _node_at(root: yaml.Node, location: Location) -> yaml.Node:
    node: yaml.Node | None = root
    for part in location:
        node = _child(node, part)
    assert node is not None, "only the last part of a location may be missing"
    return node


def _read(text: str) -> Any:
    try:
        return plain(text)
    except yaml.YAMLError:
        return None


def _child(node: yaml.Node | None, part: str | int) -> yaml.Node | None:
    if isinstance(node, yaml.MappingNode):
        return next((value for key, value in node.value if key.value == str(part)), None)
    if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
        child: yaml.Node = node.value[part]
        return child
    return None


def _predecessor(node: yaml.CollectionNode, before: Sequence[str]) -> _Entry:
    """The last of the entries that are named, or of all."""
    named = [entry for entry in node.value if entry[0].value in before] if isinstance(node, yaml.MappingNode) else []
    entry: _Entry = (named or node.value)[-1]
    return entry


def _end(entry: _Entry) -> int:
    """Where content ends; a block's own mark lies behind the comments that follow it, and that of an alias at its
    anchor.
    """
    if isinstance(entry, tuple):
        return max(_end(part) for part in entry)
    return _end(entry.value[-1]) if _is_block(entry) else int(entry.end_mark.index)


def _is_inline(node: yaml.Node) -> bool:
    return isinstance(node, yaml.CollectionNode) and bool(node.flow_style)


def _is_block(node: yaml.Node) -> bool:
    return isinstance(node, yaml.CollectionNode) and not node.flow_style and bool(node.value)


def _line_after(text: str, index: int, column: int) -> int:
    """Where a line can be put in below the content that ends at `index`: behind comments that are indented further than
    `column`, which belong to it.

    A block scalar ends at a line's beginning already.
    """
    at = index if text[index - 1] == "\n" else len(text) if (end := text.find("\n", index)) < 0 else end + 1
    ours = re.compile(rf"(?:[ \t]*\n)*[ ]{{{column + 1},}}#[^\n]*(?:\n|\Z)")
    while comment := ours.match(text, at):
        at = comment.end()
    return at


class _Emitter(yaml.SafeDumper):
    """Lists are indented below their key, as in the shipped file."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)

    def ignore_aliases(self, data: Any) -> bool:
        return True


for _tag, _pattern, _first in NUMBERS:
    # what is text for the emitter and a number for the loader, 1e5, is quoted
    _Emitter.add_implicit_resolver(_tag, _pattern, _first)


def _inline(value: Any) -> str:
    return _emitted(value, True).removesuffix("\n...")


def _between(value: Any) -> str:
    """As it may stand between brackets, where text that holds one is quoted."""
    return _emitted([value], True)[1:-1]


def _block(part: str | int, value: Any) -> str:
    """An entry of a mapping, or of a list: collections of plain values on one line each, others as blocks."""
    if not isinstance(value, (dict, list)) or not any(isinstance(part, (dict, list)) for part in _values(value)):
        return f"- {_inline(value)}" if isinstance(part, int) else f"{_inline(part)}: {_inline(value)}"
    return _emitted([value] if isinstance(part, int) else {part: value}, None)


def _values(value: dict[Any, Any] | list[Any]) -> list[Any]:
    return list(value.values()) if isinstance(value, dict) else value


def _emitted(value: Any, flow: bool | None) -> str:
    text: str = yaml.dump(
        value, Dumper=_Emitter, default_flow_style=flow, sort_keys=False, allow_unicode=True, width=float("inf")
    )
    return text.rstrip("\n")
