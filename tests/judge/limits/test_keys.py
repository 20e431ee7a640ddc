"""The table of a family's keys: what is not in it would be looked up and checked by nobody."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

from pytest_maxact.judge.limits.keys import KEYS, LimitKey, name_in
from pytest_maxact.judge.limits.schema.family import Family, Int8Rule, Shape
from tests.support.limits import HEAD, refusal, rules_of, written_at
from tests.support.records import site, sites

NO_LIMITS = {
    Family: {"model_types", "source", "headroom", "shapes", "envelope"},
    Shape: {"name", "checkpoints", "source", "measured", "layers", "hidden_size", "headroom", "by_layer", "medians"},
}
"""What of a family and of a shape states no limit by site kind: `shapes` and `envelope` hold or scale those of shapes,
and from `by_layer` and `medians` those of layers follow.
"""
OF_NO_SITE_KIND = {Family: {"int8", "min_margin"}, Shape: {"int8"}}
"""Limits of sites that a rule names, and of predictions."""
PLACES = [
    pytest.param(key, section, id=f"{section.__name__}.{name}")
    for key in KEYS
    for section, name in ((Family, key.family), (Shape, key.shape))
    if name
]


def stating(key: LimitKey, section: type[Family | Shape], bound: float) -> str:
    """A limits file with one family, which states a bound for routers under a key, beside limits of its own."""
    name = key.shape if section is Shape else key.family
    by_kind: Any = bound if key.only else {"router": bound}
    shape: dict[str, Any] = {"name": "T", "layers": 2, "hidden_size": 64, "limits": {}}
    family: dict[str, Any] = {"model_types": ["qwen3"], "limits": {"hidden": 1}, "shapes": [shape]}
    place = shape if section is Shape else family
    stated = {"layers.*": by_kind} if key.by_pattern else by_kind
    place[name] = {**place.get(name, {}), **stated} if isinstance(stated, dict) else stated
    return HEAD + yaml.safe_dump({"families": {"qwen3": family}}, default_flow_style=False)


@pytest.mark.parametrize("section", [Family, Shape])
def test_every_key_is_in_the_table_or_states_no_limit(section: type[Family | Shape]) -> None:
    listed = {key.shape if section is Shape else key.family for key in KEYS} - {""}
    assert not listed & NO_LIMITS[section]
    assert listed | NO_LIMITS[section] | OF_NO_SITE_KIND[section] == set(section.model_fields)


def test_every_key_of_an_int8_rule_is_a_bound_by_its_name() -> None:
    named = set(Int8Rule.model_fields) - {"site", "policy", "sqnr_db"}
    assert {name.partition("_")[0] for name in named} == {"min", "max"}


def test_no_two_keys_state_the_same_limit() -> None:
    """One of them would never be looked at."""
    for section in (Family.model_construct(), Shape.model_construct()):
        placed = Counter((key.metric, key.by_pattern) for key in KEYS if name_in(section, key))
        assert set(placed.values()) == {1}
    assert all(key.metric.is_of_a_site for key in KEYS)
    assert not any(key.is_figure and key.sense == "min" for key in KEYS), "headroom would loosen nothing"


@pytest.mark.parametrize(("key", "section"), PLACES)
def test_what_stands_under_a_key_limits_the_sites_it_names(
    key: LimitKey, section: type[Family | Shape], tmp_path: Path
) -> None:
    rules = rules_of(stating(key, section, 0.5), tmp_path, model=[*sites(2), site("layers.1.router")])
    (limit,) = (limit for limit in rules.limits if limit.site == "layers.1.router" and limit.metric == key.metric)
    assert (limit.bound, limit.sense) == (1.0 if key.is_figure else 0.5, key.sense)
    assert written_at(limit).endswith(": 0.5")


@pytest.mark.parametrize(("key", "section"), PLACES)
def test_what_stands_under_a_key_and_matches_nothing_is_refused(
    key: LimitKey, section: type[Family | Shape], tmp_path: Path
) -> None:
    message = refusal(stating(key, section, 0.5), tmp_path, model=sites(2))
    assert "matches no site of this model, so its limit would never be checked" in message
    line = int(message.removeprefix(f"{tmp_path / 'limits.yaml'}:").split(":")[0])
    assert (tmp_path / "limits.yaml").read_text(encoding="utf-8").splitlines()[line - 1].endswith(": 0.5")


@pytest.mark.parametrize(("key", "section"), PLACES)
def test_a_misspelt_site_kind_under_a_key_is_refused_with_the_right_one(
    key: LimitKey, section: type[Family | Shape], tmp_path: Path
) -> None:
    if key.only:
        assert "should be a valid number" in refusal(
            stating(key, section, 0.5).replace(": 0.5", ": {rooter: 0.5}"), tmp_path
        )
        return
    text = stating(key, section, 0.5).replace("router: 0.5", "rooter: 0.5")
    assert "no site kind called 'rooter'; did you mean 'router'?" in refusal(text, tmp_path)
