"""What of YAML a limits file may use: the loader that every reader of one takes, whatever is in the text.

Numbers, booleans and dates are those of YAML 1.2 and no others: what YAML 1.1 would take for a number too (`3:20` for
200, `012` for 10, `1_000`), and `yes` or `off` for a boolean, is text, and text is no limit. Tags are refused, which
would bring the old meanings back.

Guard: what is read is bounded before it is built, in bytes, depth, nodes, length of a text, and in nodes that aliases
stand for.
"""

import re
from typing import Any

import yaml

from pytest_maxact.errors import cut

MOST_BYTES = 1 << 20
_DEEPEST = 32
_MOST_NODES = 50_000
_LONGEST = 20_000
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""What a terminal obeys: escape codes, and marks that turn the direction of text."""
_MOST_ALIASES = 200

_KINDS = (
    ("int", r"[-+]?(0|[1-9][0-9]{0,99})", "-+0123456789"),
    ("float", r"[-+]?(\.[0-9]+|(0|[1-9][0-9]*)(\.[0-9]*)?)([eE][-+]?[0-9]+)?", "-+0123456789."),
    ("float", r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)", "-+."),
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("null", r"~|null|Null|NULL|", ("~", "n", "N", "")),
    ("timestamp", r"[0-9]{4}-[0-9]{2}-[0-9]{2}", "0123456789"),
    ("merge", r"<<", "<"),
)
NUMBERS = tuple((f"tag:yaml.org,2002:{kind}", re.compile(f"^({form})$"), list(first)) for kind, form, first in _KINDS)
"""What is no text: its tag, its form, and the characters that it begins with, in the order in which they are tried."""


def _take_numbers(loader: Any) -> None:
    loader.yaml_implicit_resolvers = {}
    for tag, form, first in NUMBERS:
        loader.add_implicit_resolver(tag, form, first)


class Loader(yaml.SafeLoader):
    """Reads what a user, or somebody else, wrote. Raises YAMLError with the place of what is out of bounds."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = self._nodes = self._aliases = 0
        self._sizes: dict[int, int] = {}
        """How many nodes a finished node stands for, aliases written out."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.AliasEvent):
            return self._aliased(event, super().compose_node(parent, index))
        if event.tag is not None:
            raise _refused(event, f"the tag {cut(event.tag, 60)!r}; write the value alone")
        if isinstance(event, yaml.ScalarEvent) and len(event.value) > _LONGEST:
            raise _refused(event, f"a text of {len(event.value)} characters; {_LONGEST} are allowed")
        if isinstance(event, yaml.ScalarEvent) and (control := _CONTROL.search(event.value)):
            raise _refused(event, f"the control character {control[0]!r} in a text")
        self._nodes += 1
        if self._nodes > _MOST_NODES:
            raise _refused(event, f"more than {_MOST_NODES} entries")
        if self._depth >= _DEEPEST:
            raise _refused(event, f"more than {_DEEPEST} mappings and lists in each other")
        self._depth += 1
        node: Any = super().compose_node(parent, index)
        self._depth -= 1
        self._sizes[id(node)] = self._size(node, event)
        return node

    def _aliased(self, event: Any, node: Any) -> Any:
        self._aliases += 1
        if self._aliases > _MOST_ALIASES:
            raise _refused(event, f"more than {_MOST_ALIASES} aliases")
        if id(node) not in self._sizes:
            raise _refused(event, f"*{cut(event.anchor, 40)} inside of what it stands for")
        return node

    def _size(self, node: Any, event: Any) -> int:
        """Of a node whose members are finished."""
        members = [] if isinstance(node, yaml.ScalarNode) else node.value
        flat = [part for entry in members for part in (entry if isinstance(entry, tuple) else (entry,))]
        size = 1 + sum(self._sizes[id(part)] for part in flat)
        if size > _MOST_NODES:
            raise _refused(event, f"more than {_MOST_NODES} entries once its aliases are written out")
        return size


class _Fast(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """The same scalars by libyaml's parser, where it is installed."""


for _loader in (Loader, _Fast):
    _take_numbers(_loader)

FAST: Any = _Fast
"""Ten times as fast, without bounds, and not alike in everything that it lets pass. It reads the shipped limits, which
are known to read alike; what others wrote is read by `Loader`.
"""


def plain(text: str) -> Any:
    """A document as plain data. Raises YAMLError or ValueError."""
    reader: Any = Loader(text)
    try:
        return reader.get_single_data()
    finally:
        reader.dispose()


def _refused(event: Any, what: str) -> yaml.MarkedYAMLError:
    """Of what is at the place of an event."""
    return yaml.MarkedYAMLError(problem=what, problem_mark=event.start_mark)
