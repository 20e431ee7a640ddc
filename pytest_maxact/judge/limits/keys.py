"""The keys under which a family, and a shape in it, state limits: one table, by which limits are looked up, refused
where they match nothing of a model, and explained where a site kind in them is misspelt.

Guard: a key that stands here is looked up and checked alike, and no other key of a family states limits but `int8`,
whose rules name their own sites, and `min_margin`, which is of no site.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from pytest_maxact.judge.limits.schema.family import Family, Shape
from pytest_maxact.record.metrics.metric import LEAST, MAX_ABS, MEDIAN, UNREACHED, Metric


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitKey:
    """What stands under one key.

    - `family`, `shape`: the key's name there; "" where it cannot stand. One of a shape comes before the family's.
    - `metric`: what it limits, from above, or from below where the key begins with `min_`. A metric has at most one key
      by site kind, and one by pattern.
    - `by_pattern`: figures by site kind below patterns of site names, which come before those by site kind alone.
    - `only`: the one site kind that a bare number is of; "" for numbers by site kind.
    - `is_figure`: numbers were measured and get headroom, and an envelope is made of them; else they are bounds as they
      stand.
    """

    family: str = ""
    shape: str = ""
    metric: Metric
    by_pattern: bool = False
    only: str = ""
    is_figure: bool = False

    @property
    def sense(self) -> str:
        return "min" if (self.family or self.shape).startswith("min_") else "max"


KEYS = (
    LimitKey(family="layers", shape="layer_limits", metric=MAX_ABS, by_pattern=True, is_figure=True),
    LimitKey(family="max_unreached_experts", metric=UNREACHED, only="router"),
    LimitKey(family="limits", shape="limits", metric=MAX_ABS, is_figure=True),
    LimitKey(family="min_max_abs", shape="min_max_abs", metric=LEAST),
    LimitKey(family="min_median", shape="min_median", metric=MEDIAN),
)
METRICS = tuple(dict.fromkeys(key.metric for key in KEYS))
BY_KIND = frozenset(name for key in KEYS for name in (key.family, key.shape) if name and not key.only)
"""The names of those that hold numbers by site kind."""


def name_in(section: Family | Shape, key: LimitKey) -> str:
    """What the key is called in a family or in a shape."""
    return key.shape if isinstance(section, Shape) else key.family


def stated_in(section: Family | Shape, key: LimitKey) -> Mapping[str, Mapping[str, float]]:
    """What a family or shape states under a key: numbers by site kind, by pattern; the pattern is "" for a key that has
    none.
    """
    name = name_in(section, key)
    stated = getattr(section, name) if name else None
    if stated is None:
        return {}
    if key.only:
        return {"": {key.only: stated}}
    return stated if key.by_pattern else {"": stated}
