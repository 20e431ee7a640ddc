"""The front matter of a model card: its text and one result of ours in, the text with that result in its model-index
out.

Guards that nothing else of it changes, neither a comment nor the order or form of a key: the result is spliced in where
the parser of YAML says that it belongs, and what comes out is read again, by huggingface_hub too, before it counts.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml
from yaml.nodes import CollectionNode, MappingNode, Node, ScalarNode, SequenceNode

from pytest_maxact.errors import InputError

INDEX = "model-index"
_RESULTS = "results"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A result as `model-index` has it; `of`: the model that it is of, where the card names none; `source`: who it
    comes from, by which it is found again.
    """

    of: str
    source: str
    result: Mapping[str, Any]

    @property
    def index(self) -> list[dict[str, Any]]:
        return [{"name": self.of, _RESULTS: [self.result]}]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Edit:
    start: int
    end: int
    text: str


def with_entry(text: str, entry: Entry, line_break: str, *, anew: bool = True) -> str:
    """The text between the dashes, with the entry in the place of an earlier one, or behind what is there; behind it
    only where it may come `anew`. Raises InputError where the text is broken, or so written that nothing can be put in.
    """
    try:
        root, before = yaml.compose(text, yaml.SafeLoader), yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise broken(f"its front matter is no YAML: {_in_short(error)}") from error
    if before is not None and not isinstance(before, dict):
        raise broken("its front matter is no mapping of keys to values")
    if isinstance(root, MappingNode) and len(_values(root, INDEX)) > 1:
        raise broken(f"its front matter has {INDEX} twice")
    wanted = _wanted(before or {}, entry)
    if not anew and not any(_is_ours(one, entry) for one in results_of(before or {})):
        return text
    for edits in _ways(text, root, entry, line_break):
        found = _applied(text, edits)
        try:
            if _same(yaml.safe_load(found), wanted):
                return found
        except (yaml.YAMLError, ValueError):
            continue
    raise broken(f"its front matter is so written that no result can be put into {INDEX}")


def results_of(data: Mapping[str, Any]) -> list[Any]:
    """Those of every model in an index that is sound."""
    return [result for model in data.get(INDEX) or () for result in model[_RESULTS]]


def _same(found: object, wanted: Mapping[str, Any]) -> bool:
    """By what is written of values, for NaN equals nothing; keys in any order."""
    return isinstance(found, dict) and {key: repr(value) for key, value in found.items()} == {
        key: repr(value) for key, value in wanted.items()
    }


def broken(why: str) -> InputError:
    """Of a card that is no card, or not a whole one."""
    return InputError(f"the card is left as it is: {why}\n  mend it by hand, or give another file")


def _in_short(error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or str(error).split("\n")[0]
    return f"{problem}{f' (line {mark.line + 2})' if mark else ''}"


def _wanted(before: Mapping[str, Any], entry: Entry) -> dict[str, Any]:
    """What is to be read of it afterwards. Raises InputError for a model-index that is none."""
    index = before.get(INDEX)
    if not index:
        return {**before, INDEX: entry.index}
    if not isinstance(index, list) or not all(
        isinstance(model, dict) and "name" in model and isinstance(model.get(_RESULTS), list) for model in index
    ):
        raise broken(f"its {INDEX} is no list of models with a name and results")
    holder = next(
        (place for place, model in enumerate(index) if any(_is_ours(one, entry) for one in model[_RESULTS])), 0
    )
    models = []
    for place, model in enumerate(index):
        results, put = [], place != holder
        for one in model[_RESULTS]:
            if not _is_ours(one, entry):
                results.append(one)
            elif not put:
                results.append(entry.result)
                put = True
        models.append({**model, _RESULTS: results if put else [*results, entry.result]})
    return {**before, INDEX: models}


def _is_ours(result: object, entry: Entry) -> bool:
    source = result.get("source") if isinstance(result, dict) else None
    return isinstance(source, dict) and source.get("name") == entry.source


def _ways(text: str, root: Node | None, entry: Entry, line_break: str) -> Iterator[Sequence[_Edit]]:
    """Edits of which the first that gives what is wanted is taken."""
    if not isinstance(root, MappingNode):
        yield [
            _Edit(
                start=len(text),
                end=len(text),
                text=f"{_gap(text, line_break)}{_block({INDEX: entry.index}, 0, line_break)}",
            )
        ]
        return
    values = _values(root, INDEX)
    index = values[0] if values else None
    if index is None:
        yield from _new_key(text, root, entry, line_break)
    elif not isinstance(index, SequenceNode) or not index.value:
        start, end = len(text[: index.start_mark.index].rstrip(" ")), index.end_mark.index
        column = root.start_mark.column
        rows = _block(entry.index, column, line_break)
        yield [_Edit(start=start, end=end, text=f"{line_break}{' ' * column}{rows}")]
        yield [_Edit(start=start, end=end, text=f" {_flow(entry.index)}")]
    else:
        yield from _in_results(text, index, entry, line_break)


def _new_key(text: str, root: MappingNode, entry: Entry, line_break: str) -> Iterator[Sequence[_Edit]]:
    if root.flow_style:
        yield from _into_flow(root, _flow({INDEX: entry.index})[1:-1])
        return
    column = root.start_mark.column
    rows = _block({INDEX: entry.index}, column, line_break)
    end = _line_end(text, _end(root, text))
    yield [_Edit(start=end, end=end, text=f"{line_break}{' ' * column}{rows}")]
    start = root.start_mark.index
    yield [_Edit(start=start, end=start, text=f"{rows}{line_break}{' ' * column}")]


def _in_results(text: str, index: SequenceNode, entry: Entry, line_break: str) -> Iterator[Sequence[_Edit]]:
    every = [value for model in index.value if isinstance(model, MappingNode) for value in _values(model, _RESULTS)]
    lists = [value for value in every if isinstance(value, SequenceNode)]
    ours = [(of, item) for of in lists for item in of.value if _is_ours(_constructed(item), entry)]
    if ours:
        (holder, first), *others = ours
        gone = [_removed(text, of, item) for of, item in others]
        yield [_replaced(text, holder, first, entry, line_break), *gone]
        return
    if not lists:
        return
    results = lists[0]
    if results.flow_style:
        yield from _into_flow(results, _flow(entry.result))
        return
    column = results.start_mark.column
    rows = f"- {_block(entry.result, column + 2, line_break)}"
    end = _line_end(text, _end(results, text))
    yield [_Edit(start=end, end=end, text=f"{line_break}{' ' * column}{rows}")]
    start = results.start_mark.index
    yield [_Edit(start=start, end=start, text=f"{rows}{line_break}{' ' * column}")]


def _replaced(text: str, holder: SequenceNode, item: Node, entry: Entry, line_break: str) -> _Edit:
    start = item.start_mark.index
    if holder.flow_style or (isinstance(item, MappingNode) and item.flow_style):
        return _Edit(start=start, end=item.end_mark.index, text=_flow(entry.result))
    return _Edit(start=start, end=_end(item, text), text=_block(entry.result, item.start_mark.column, line_break))


def _removed(text: str, holder: SequenceNode, item: Node) -> _Edit:
    """One of several of ours: from its dash, or comma, to its end."""
    opening = text.rindex("," if holder.flow_style else "-", 0, item.start_mark.index)
    if holder.flow_style:
        return _Edit(start=opening, end=item.end_mark.index, text="")
    end = _line_end(text, _end(item, text))
    end += 2 if text[end : end + 2] == "\r\n" else 1
    return _Edit(start=_line_start(text, opening), end=end, text="")


def _into_flow(node: MappingNode | SequenceNode, said: str) -> Iterator[Sequence[_Edit]]:
    """Before the bracket that closes it, with a comma where there is none yet."""
    end = node.end_mark.index - 1
    for comma in (", " if node.value else "", " "):
        yield [_Edit(start=end, end=end, text=f"{comma}{said}")]


def _values(mapping: MappingNode, name: str) -> list[Node]:
    return [value for key, value in mapping.value if isinstance(key, ScalarNode) and key.value == name]


def _constructed(node: Node) -> Any:
    try:
        return yaml.SafeLoader("").construct_document(node)
    except yaml.YAMLError:
        return None


def _end(node: Node, text: str) -> int:
    """Where what it says ends; a mark of YAML's at the end of a block lies before the next token, behind comments."""
    if isinstance(node, ScalarNode):
        end = node.end_mark.index
        return len(text[:end].rstrip()) if node.style in ("|", ">") else end
    if not isinstance(node, CollectionNode) or node.flow_style or not node.value:
        return int(node.end_mark.index)
    last = node.value[-1]
    return max(_end(part, text) for part in (last if isinstance(last, tuple) else (last,)))


def _line_end(text: str, place: int) -> int:
    """Where the line ends that a place lies in, its break not counted."""
    ends = (found for found in (text.find(mark, place) for mark in "\r\n") if found >= 0)
    return min(ends, default=len(text))


def _line_start(text: str, place: int) -> int:
    return max(text.rfind(mark, 0, place) for mark in "\r\n") + 1


def _gap(text: str, line_break: str) -> str:
    return "" if not text or text.endswith(("\r", "\n")) else line_break


def _block(value: object, column: int, line_break: str) -> str:
    """Lines of YAML, all but the first of which are indented."""
    lines = yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=math.inf).rstrip("\n").split("\n")
    return f"{line_break}{' ' * column}".join(lines)


def _flow(value: object) -> str:
    """On one line, with brackets."""
    said = yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=math.inf, default_flow_style=True)
    return str(said).rstrip("\n")


def _applied(text: str, edits: Sequence[_Edit]) -> str:
    for edit in sorted(edits, key=lambda one: one.start, reverse=True):
        text = f"{text[: edit.start]}{edit.text}{text[edit.end :]}"
    return text
