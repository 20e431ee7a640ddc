"""Records that give just what was published for a shape, and variants of them."""

from collections.abc import Mapping, Sequence
from typing import Any

from pytest_maxact.judge.limits.file import load_limits
from pytest_maxact.judge.limits.rules import select_rules
from pytest_maxact.judge.published import published
from pytest_maxact.numbers.sites import Site
from pytest_maxact.record.identity import Identity
from pytest_maxact.record.metrics.metric import MAX_ABS, MEDIAN
from pytest_maxact.record.record import Record
from tests.support.records import bf16, record, sites

SHAPES = sorted({(one.model_type, one.layers, one.hidden_size) for one in published()})
DENSE = ("hidden", "attn_output", "mlp_output", "gate")


def kinds_of(model_type: str) -> tuple[str, ...]:
    """Kinds of sites of a layer that were published for a family."""
    return {"gpt_oss": (*DENSE[:3], "router"), "qwen3_moe": DENSE[:3], "qwen3_5_moe": DENSE[:3]}.get(model_type, DENSE)


def as_published(
    model_type: str,
    layers: int,
    hidden_size: int,
    times: Mapping[str, float] | None = None,
    only: Sequence[Site] | None = None,
    **changes: Any,
) -> Record:
    """A Record whose maxima and medians are the published ones; `times` multiplies every entry of a site, or of each
    site of a kind, `only` names the sites that it has.
    """
    identity = Identity(model_type=model_type, layers=layers, hidden_size=hidden_size)
    whole = sites(layers, kinds_of(model_type))
    figures = {
        (limit.site, limit.metric): limit.figure
        for limit in select_rules(load_limits(), identity, whole).limits
        if limit.figure is not None
    }
    values = {}
    for site in only or whole:
        factor = (times or {}).get(site.name, (times or {}).get(site.kind, 1.0))
        largest = figures.get((site.name, MAX_ABS), 1.0)
        typical = figures.get((site.name, MEDIAN), largest / 64)
        values[site.name] = bf16([[largest * factor, typical * factor, typical * factor]])
    return record(values, model_type=model_type, layers=layers, hidden_size=hidden_size, **changes)
