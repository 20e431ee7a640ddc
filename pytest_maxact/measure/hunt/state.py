"""What a search has found so far and where it stands, in memory and in a file from which it goes on.

Guard: a search goes on only where it is the same search: of the same weights, sites, seed, tokenizer and starts,
computed in the same dtype and arithmetic on the same kind of device.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pytest_maxact.errors import InputError, first_line
from pytest_maxact.record.output import Kind, unwritten, write_output

POOL = 12
"""So many of the worst inputs are kept of each site."""
_FORM = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Find:
    """An input and what it reaches at a site. `how`: first token, pair, corpus, or search."""

    ids: tuple[int, ...]
    value: float
    position: int
    channel: int
    how: str

    @property
    def order(self) -> tuple[float, int, tuple[int, ...]]:
        """The largest first; of equals the shortest."""
        return -self.value, len(self.ids), self.ids


@dataclass(slots=True, kw_only=True)
class State:
    """Where a search stands. `identity`: what it is a search of; `scanned`, `paired`, `started`: how much of first
    tokens, of pairs and of the starts was tried; `round`: steps of the guided search.
    """

    identity: Mapping[str, Any]
    pools: dict[str, list[Find]] = field(default_factory=dict)
    scanned: int = 0
    started: int = 0
    paired: int = 0
    round: int = 0
    evaluations: int = 0

    def add(self, site: str, find: Find) -> None:
        """Keep it if it is one of the worst."""
        pool = self.pools.setdefault(site, [])
        if len(pool) == POOL and find.order >= pool[-1].order:
            return
        if any(known.ids == find.ids for known in pool):
            return
        self.pools[site] = sorted([*pool, find], key=lambda one: one.order)[:POOL]

    def best(self, site: str) -> Find | None:
        pool = self.pools.get(site)
        return pool[0] if pool else None


def is_state(path: Path) -> bool:
    """Whether a file is the state of a search, of any version."""
    try:
        return bool({"form", "pools", "identity"} <= json.loads(path.read_bytes()).keys())
    except (OSError, ValueError, AttributeError, RecursionError):
        return False


STATE = Kind(called="the state of the search", is_one=is_state)


def write_state(state: State, path: Path) -> None:
    """Raises InputError where it cannot be written, or would destroy something."""
    document = {"form": _FORM, **asdict(state)}
    try:
        write_output(path, json.dumps(document).encode(), STATE)
    except OSError as error:
        raise InputError(f"cannot write the state of the search to {path}: {unwritten(error)}") from error


def read_state(path: Path, identity: Mapping[str, Any]) -> State | None:
    """Where it stood; None where there is no file. Raises InputError for the state of another search, or none."""
    if not path.is_file():
        return None
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        if document.pop("form") != _FORM:
            raise ValueError("of another version")
        pools = {site: [_find(find) for find in pool] for site, pool in document.pop("pools").items()}
        state = State(**document, pools=pools)
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise InputError(
            f"{path}: no state of a search ({first_line(error)})\n  remove it, or name another file"
        ) from error
    if differing := [name for name, value in identity.items() if state.identity.get(name) != _plain(value)]:
        raise InputError(
            f"{path}: the state of another search; they differ in {', '.join(differing)}\n"
            "  name another file, or remove this one to begin anew"
        )
    return state


def _find(document: Mapping[str, Any]) -> Find:
    ids: Sequence[int] = document["ids"]
    return Find(**{**document, "ids": tuple(map(int, ids))})


def _plain(value: Any) -> Any:
    return json.loads(json.dumps(value))
