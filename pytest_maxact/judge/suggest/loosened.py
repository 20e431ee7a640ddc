"""What of one shape a limits file would let pass that it does not let pass now: its limits before and after in, the
kinds that are loosened out, in words.

Guard: limits are compared as they hold at every site, whatever states them.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pytest_maxact.judge.limits.limit import Limit
from pytest_maxact.judge.limits.schema.terms import INT8
from pytest_maxact.judge.verdict.bound import is_looser
from pytest_maxact.numbers.sites import Site
from pytest_maxact.record.metrics.metric import MAX_ABS


@dataclass(frozen=True, slots=True, kw_only=True)
class Loosened:
    """A limit that would be looser at `sites` of a kind, or on INT-8 error: its bound as it is and as it would be."""

    key: str
    before: float
    after: float
    sites: tuple[str, ...]

    @property
    def words(self) -> str:
        """`hidden 375 -> 610 (24 sites, the first layers.0.hidden)`."""
        if self.key == INT8:
            return f"INT-8 SQNR {self.before:.4g} -> {self.after:.4g} dB ({self.sites[0]})"
        where = self.sites[0] if len(self.sites) == 1 else f"{len(self.sites)} sites, the first {self.sites[0]}"
        return f"{self.key} {self.before:.6g} -> {self.after:.6g} ({where})"


def loosened(before: Mapping[str, Limit], after: Mapping[str, Limit], sites: Iterable[Site]) -> list[Loosened]:
    """By kind and bounds, in the order of `before`; both by check, of the same shape."""
    kinds = {site.name: site.kind for site in sites}
    groups: dict[tuple[str, float, float], list[str]] = {}
    for check, limit in before.items():
        if check in after and is_looser(after[check], limit):
            kind = kinds[limit.site] if limit.metric == MAX_ABS else INT8
            groups.setdefault((kind, limit.bound, after[check].bound), []).append(limit.site)
    return [Loosened(key=key, before=old, after=new, sites=tuple(names)) for (key, old, new), names in groups.items()]
