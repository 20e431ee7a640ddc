"""Limits on what attention works with: one channel of keys against the others, a layer against the others, a head's
scores against the others. From the section `attention:` of the first file that says anything of them, else as they are
shipped. Sites in, limits out.

Guard: they hold for every family, and `null` is the only way not to ask, which is remarked.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from pytest_maxact.judge.limits.file import LimitsFile, builtin_path
from pytest_maxact.judge.limits.limit import Limit
from pytest_maxact.judge.limits.rules import Ruleset
from pytest_maxact.judge.limits.schema.sections import Attention
from pytest_maxact.numbers.sites import Site
from pytest_maxact.record.metrics.metric import CHANNEL_RATIO, LAYER_RATIO, LOGIT_RATIO, Metric

LOGIT = "attn_logit"
"""Stands in a limit for the scores of a layer: `layers.3.attn_logit`."""
_COMPARED = ("k", "kv_latent", "q")
"""Kinds that are as large in one layer as in the next; values grow with depth."""


def with_attention(rules: Ruleset, files: Sequence[LimitsFile], sites: Sequence[Site]) -> Ruleset:
    """The same with checks of attention, where it is observed."""
    found: list[Limit] = []
    off: list[str] = []
    if not any(site.is_of_attention for site in sites):
        return rules
    for metric, key, names in _checks(sites):
        stated = _stated(files, key)
        if stated.bound is None:
            off.append(f"nothing checks {metric} of attention: {stated.where} is null")
            continue
        found += [_limit(name, metric, stated) for name in names]
    depth = {site.name: place for place, site in enumerate(sites)}
    found.sort(key=lambda limit: depth.get(limit.site.replace(LOGIT, "q"), len(depth)))
    return replace(rules, limits=(*rules.limits, *found), remarks=(*rules.remarks, *off))


def layer_of_logits(site: str) -> int | None:
    """The layer whose scores a limit is on; None for anything else."""
    first, _, rest = site.partition(".")
    layer, _, kind = rest.partition(".")
    return int(layer) if first == "layers" and kind == LOGIT and layer.isdecimal() else None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stated:
    """What is asked for, None for nothing, and where that is said; `file` is None where it is left to the program."""

    bound: float | None
    key: str
    source: str = ""
    file: LimitsFile | None = None

    @property
    def where(self) -> str:
        return f"attention.{self.key}" + (f" ({self.file.where('attention', self.key)})" if self.file else "")


def _checks(sites: Sequence[Site]) -> Iterator[tuple[Metric, str, list[str]]]:
    """Every metric with its key, and the sites at which it is held."""
    yield CHANNEL_RATIO, "max_channel_ratio", [site.name for site in sites if site.is_cached]
    yield LAYER_RATIO, "max_layer_ratio", [site.name for site in sites if site.kind in _COMPARED]
    layers = [site.layer for site in sites if site.kind == "q"]
    yield LOGIT_RATIO, "max_logit_ratio", [f"layers.{layer}.{LOGIT}" for layer in layers]


def _stated(files: Sequence[LimitsFile], key: str) -> _Stated:
    """Of the first file that says anything of a key, else what it is without one."""
    for file in files:
        section = file.document.attention
        if section is not None and key in section.model_fields_set:
            return _Stated(bound=getattr(section, key), key=key, source=section.source or "", file=file)
    return _Stated(bound=Attention.model_fields[key].default, key=key)


def _limit(site: str, metric: Metric, stated: _Stated) -> Limit:
    return Limit(
        site=site,
        metric=metric,
        bound=float(stated.bound or 0.0),
        sense="max",
        rule="attention of every family",
        source=stated.source,
        file=str(stated.file.path if stated.file else builtin_path()),
        line=stated.file.line("attention", stated.key) if stated.file else 1,
    )
