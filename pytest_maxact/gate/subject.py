"""One checkpoint under test, and what is known of it before measuring."""

from dataclasses import dataclass
from pathlib import Path

from pytest_maxact.errors import name_in_id
from pytest_maxact.gate.sources import Source
from pytest_maxact.judge.limits.rules import Ruleset
from pytest_maxact.judge.series.order import short_name


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A checkpoint under test, what is known of it before measuring: its limits, a title, and the names of the
    baselines it is compared with.
    """

    source: Source
    title: str
    rules: Ruleset
    against: tuple[str, ...] = ()
    placed: str = ""
    """Where it will live and why; empty of a Record."""

    @property
    def name(self) -> str:
        return self.source.name

    @property
    def label(self) -> str:
        """What a waiver calls it: its name in a series, else that of its folder or file."""
        return self.name or short_name(Path(self.source.path))

    @property
    def node(self) -> str:
        """What its checks' ids begin with: `maxact`, or `maxact::checkpoint-500` in a series."""
        return f"maxact::{name_in_id(self.name)}" if self.name else "maxact"
