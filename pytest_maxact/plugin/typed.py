"""What the user typed on the command line, told apart from what stands in `addopts`, in an environment variable, or in
a conftest that changes options: only the user chooses which checks of a gate do not run.
"""

import argparse
import os
import shlex
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import asdict, dataclass
from typing import Any

import pytest

from pytest_maxact.plugin.fixtures import parser_key
from pytest_maxact.plugin.ids import own_id, selects
from pytest_maxact.settings.option import PREFIX
from pytest_maxact.settings.options import OPTIONS

_typed_key = pytest.StashKey["Typed"]()

LOOKS = {
    "help": "--help",
    "version": "--version",
    "markers": "--markers",
    "showfixtures": "--fixtures",
    "show_fixtures_per_test": "--fixtures-per-test",
    "collectonly": "--collect-only",
    "cacheshow": "--cache-show",
    "setupplan": "--setup-plan",
    "setuponly": "--setup-only",
}
"""Options of pytest with which nothing is to run, by their names in its configuration."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Typed:
    """Selections on the command line. `history`: by what earlier runs did (`--lf`, `--sw`); `looks`: nothing was to
    run; `places`: where tests are to be looked for, the gate's own aside; `asks`: something was set of the gate, here
    or in the environment.
    """

    keyword: str = ""
    marks: str = ""
    deselect: tuple[str, ...] = ()
    ids: tuple[str, ...] = ()
    history: bool = False
    looks: bool = False
    places: tuple[str, ...] = ()
    asks: bool = False

    def plain(self) -> dict[str, Any]:
        """As xdist takes it to a worker."""
        return asdict(self)

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> "Typed":
        lists = {name: tuple(plain[name]) for name in ("deselect", "ids", "places")}
        return cls(**{**plain, **lists})


def take_typed(config: pytest.Config, plain: Mapping[str, Any]) -> None:
    """In a worker, what was typed where the run was started."""
    config.stash[_typed_key] = Typed.of(plain)


def typed(config: pytest.Config) -> Typed:
    """What was typed; nothing where that cannot be told, so that nothing is taken for the user's choice."""
    if _typed_key not in config.stash:
        config.stash[_typed_key] = _typed(config)
    return config.stash[_typed_key]


def _typed(config: pytest.Config) -> Typed:
    parser = config.stash.get(parser_key, None)
    if parser is None:
        return Typed()
    given = parser.parse_known_args([str(argument) for argument in config.invocation_params.args])
    around = parser.parse_known_args(shlex.split(os.environ.get("PYTEST_ADDOPTS", "")))
    named_places = [str(place) for place in getattr(given, "file_or_dir", ())]
    own = {place: found for place in named_places if (found := own_id(config, place)) is not None}

    def has(name: str) -> bool:
        return bool(getattr(given, name, None))

    return Typed(
        keyword=str(getattr(given, "keyword", "") or "").strip(),
        marks=str(getattr(given, "markexpr", "") or "").strip(),
        deselect=tuple(own_id(config, one) or one for one in getattr(given, "deselect", None) or ()),
        ids=tuple(own.values()),
        history=any(map(has, ("lf", "stepwise", "stepwise_skip"))),
        looks=any(map(has, LOOKS)),
        places=tuple(place for place in named_places if place not in own),
        asks=any(map(_sets, (given, around))),
    )


def _sets(given: argparse.Namespace) -> bool:
    """Whether anything of the gate is set by options, `-o` included."""
    overridden = [str(entry) for entry in getattr(given, "override_ini", None) or ()]
    return any(getattr(given, option.ini, None) is not None for option in OPTIONS) or any(
        entry.startswith(f"{PREFIX}_") for entry in overridden
    )


def names_its_tests(config: pytest.Config) -> bool:
    """Whether tests were typed, files or ids of theirs, and nothing but these is to run: no folder, no check, no option
    of the gate.
    """
    asked = typed(config)
    here, packages = config.invocation_params.dir, config.getoption("pyargs", False)

    def is_named(place: str) -> bool:
        path = here / place.split("::")[0]
        return "::" in place or (path.is_file() if packages else not path.is_dir())

    return (
        bool(asked.places)
        and not asked.ids
        and not asked.asks
        and list(asked.places) == [str(argument) for argument in config.args]
        and all(map(is_named, asked.places))
    )


def refuse_looking_only(config: pytest.Config) -> None:
    """Raise UsageError where something else than the user asks for a run in which nothing runs."""
    if not typed(config).looks:
        for name, option in LOOKS.items():
            if getattr(config.option, name, None):
                raise pytest.UsageError(
                    f"a gate was asked for, and {option}, which was not typed, lets no check run\n"
                    "  take it out of addopts, PYTEST_ADDOPTS or the conftest, or type it"
                )


def left_out(asked: Typed, items: Sequence[pytest.Item], deselected: Set[str]) -> set[str]:
    """The ids of items that the user left out on the command line. `deselected`: those that pytest was told of as
    deselected, by whom is not known.
    """
    excused = {item.nodeid for item in items if item.nodeid in deselected} if asked.history else set()
    if asked.ids:
        excused |= {item.nodeid for item in items if not selects(asked.ids, item.nodeid)}
    if asked.deselect:
        excused |= {item.nodeid for item in items if item.nodeid.startswith(asked.deselect)}
    return excused | _not_matching(asked, items)


def _not_matching(asked: Typed, items: Iterable[pytest.Item]) -> set[str]:
    """By the rules of pytest's own `-k` and `-m`."""
    from _pytest.mark import KeywordMatcher, MarkMatcher
    from _pytest.mark.expression import Expression

    keyword, marks = (Expression.compile(text) if text else None for text in (asked.keyword, asked.marks))
    return {
        item.nodeid
        for item in items
        if (keyword and not keyword.evaluate(KeywordMatcher.from_item(item)))
        or (marks and not marks.evaluate(MarkMatcher.from_markers(item.iter_markers())))
    }
