"""Limits by layer, from both sides: a layer is held to its own figure, and a layer that is far below it, to that."""

from pathlib import Path

import pytest

from pytest_maxact.judge.limits.file import load_limits
from pytest_maxact.judge.limits.limit import CARRIER
from pytest_maxact.judge.limits.rules import Ruleset, select_rules
from pytest_maxact.judge.verdict.bound import holds
from pytest_maxact.judge.verdict.check import judge
from pytest_maxact.record.identity import Identity, identity_of
from pytest_maxact.record.metrics.metric import LEAST, MAX_ABS
from pytest_maxact.record.record import Record
from tests.support.limits import HEAD, QWEN3, bounds, limit_of, refusal, rules_of, written_at
from tests.support.published import SHAPES, as_published, kinds_of
from tests.support.records import record, site, sites

LAYERED = (
    HEAD
    + """\
margins:
  small: 0.1
  headroom: {hidden: 3.0}
  small_headroom: {hidden: 5.0}
  least: {embedding: 2, hidden: 4}
  least_median: {hidden: 8, final_norm: 2}
  envelope_least: {hidden: 10}
  envelope_most: {hidden: 6}
  envelope_least_median: {hidden: 100}
families:
  qwen3:
    model_types: [qwen3]
    shapes:
      - name: Tiny
        layers: 3
        hidden_size: 64
        limits: {embedding: 5, hidden: 100, attn_output: 20, final_norm: 9}
        by_layer:
          hidden: 0=8 1-2=100
          attn_output: 1=7
        medians: {hidden: 0-2=0.5, final_norm: 0.25}
      - {name: Other, layers: 4, hidden_size: 64, limits: {hidden: 50}, by_layer: {hidden: 0-3=50}}
    envelope: {headroom: 3.0}
"""
)
TINY = Identity(model_type="qwen3", layers=3, hidden_size=64)
KINDS = ("hidden", "attn_output")


def layered(folder: Path, text: str = LAYERED, identity: Identity = TINY) -> Ruleset:
    return rules_of(text, folder, identity, sites(identity.layers, KINDS))


def failing(one: Record) -> list[str]:
    """What the shipped limits do not let pass."""
    rules = select_rules(load_limits(), identity_of(one.provenance), [reading.site for reading in one.sites.values()])
    return [finding.limit.check for finding in judge(one, rules.limits) if not finding.passed]


def test_a_layer_is_held_to_its_own_figure_and_one_without_to_that_of_its_kind(tmp_path: Path) -> None:
    assert bounds(layered(tmp_path)) == {
        "embedding": 10,
        "layers.0.hidden": 40,
        "layers.0.attn_output": 40,
        "layers.1.hidden": 300,
        "layers.1.attn_output": 14,
        "layers.2.hidden": 300,
        "layers.2.attn_output": 40,
        "final_norm": 18,
    }
    limit = limit_of(layered(tmp_path), "layers.0.hidden::max_abs")
    assert (limit.figure, limit.headroom, limit.of_layer, limit.rule) == (8, 5.0, True, "shape Tiny")
    assert written_at(limit) == "hidden: 0=8 1-2=100"
    assert not limit_of(layered(tmp_path), "layers.0.attn_output::max_abs").of_layer


def test_from_below_a_site_is_held_to_a_share_of_its_figures(tmp_path: Path) -> None:
    rules = layered(tmp_path)
    assert bounds(rules, "max_abs.min") == {
        "embedding": 2.5, "layers.0.hidden": 2, "layers.1.hidden": 25, "layers.2.hidden": 25
    }  # fmt: skip
    assert bounds(rules, "quantile.0.5") == {**{f"layers.{i}.hidden": 0.0625 for i in range(3)}, "final_norm": 0.125}
    limit = limit_of(rules, "layers.1.hidden::max_abs.min")
    assert (limit.sense, limit.figure, limit.headroom) == ("min", 100, 4.0)
    assert written_at(limit_of(rules, "final_norm::quantile.0.5")) == "medians: {hidden: 0-2=0.5, final_norm: 0.25}"


def test_an_unpublished_shape_is_held_to_the_smallest_layer_of_its_family_from_below(tmp_path: Path) -> None:
    rules = layered(tmp_path, identity=Identity(model_type="qwen3", layers=2, hidden_size=64))
    assert bounds(rules, "max_abs.min") == {"layers.0.hidden": 0.6, "layers.1.hidden": 0.6}, "of 6 at most, not 8"
    assert bounds(rules, "quantile.0.5") == {"layers.0.hidden": 0.005, "layers.1.hidden": 0.005}
    limit = limit_of(rules, "layers.0.hidden::max_abs.min")
    assert limit.rule == "envelope of family qwen3: the median of all families"
    assert limit_of(rules, "layers.0.hidden::quantile.0.5").rule == "envelope of family qwen3: Tiny"


def test_the_most_that_an_envelope_asks_for_is_of_maxima_and_sites_without_layers_have_their_own(
    tmp_path: Path,
) -> None:
    text = LAYERED.replace("envelope_least: {hidden: 10}", "envelope_least: {hidden: 10, embedding: 2}")
    text = text.replace("envelope_most: {hidden: 6}", "envelope_most: {hidden: 0.25}")
    rules = layered(tmp_path, text, Identity(model_type="qwen3", layers=5, hidden_size=64))
    assert bounds(rules, "max_abs.min") == {"embedding": 2.5, **{f"layers.{i}.hidden": 0.025 for i in range(5)}}
    assert set(bounds(rules, "quantile.0.5").values()) == {0.005}, "half a unit by a hundred"
    for check in ("embedding::max_abs.min", "layers.0.hidden::quantile.0.5"):
        assert written_at(limit_of(rules, check)) == "envelope: {headroom: 3.0}"


def test_without_an_envelope_nothing_holds_from_below(tmp_path: Path) -> None:
    text = LAYERED.replace("    envelope: {headroom: 3.0}\n", "    limits: {hidden: 1}\n")
    rules = layered(tmp_path, text, Identity(model_type="qwen3", layers=2, hidden_size=64))
    assert {limit.sense for limit in rules.limits} == {"max"}


@pytest.mark.parametrize(
    ("stated", "headroom"),
    [
        ("        headroom: 1.5\n", 1.5),
        ("        headroom: {hidden: 1.75}\n", 1.75),
        ("        headroom: {attn_output: 1.75}\n", 5.0),
    ],
)
def test_a_headroom_that_is_stated_comes_before_the_margins(stated: str, headroom: float, tmp_path: Path) -> None:
    text = LAYERED.replace("        layers: 3\n", f"        layers: 3\n{stated}", 1)
    assert limit_of(layered(tmp_path, text), "layers.0.hidden::max_abs").headroom == headroom
    family = LAYERED.replace("    model_types: [qwen3]\n", "    model_types: [qwen3]\n    headroom: 1.25\n")
    assert limit_of(layered(tmp_path, family), "layers.0.hidden::max_abs").headroom == 1.25


def test_a_pattern_and_a_stated_bound_come_before_figures_of_layers(tmp_path: Path) -> None:
    text = LAYERED.replace(
        "        medians:",
        "        layer_limits: {'layers.1.*': {hidden: 1}}\n        min_max_abs: {hidden: 0.5}\n"
        "        min_median: {hidden: 0.25}\n        medians:",
        1,
    )
    rules = layered(tmp_path, text)
    assert bounds(rules)["layers.1.hidden"] == 2
    assert bounds(rules, "max_abs.min")["layers.1.hidden"] == 0.5
    assert bounds(rules, "quantile.0.5")["layers.1.hidden"] == 0.25


# Files of one's own over the shipped one


@pytest.mark.parametrize(
    "stated",
    [
        "    limits: {hidden: 500}\n",
        "    layers: {'layers.*.hidden': {hidden: 500}}\n",
        "    shapes: [{name: mine, layers: 36, hidden_size: 4096, limits: {hidden: 500}}]\n",
    ],
    ids=["family", "pattern", "shape"],
)
def test_what_a_file_of_ones_own_says_of_a_kind_holds_for_its_layers(stated: str, tmp_path: Path) -> None:
    text = f"version: 1\nextends: builtin\nheadroom: 1.0\nfamilies:\n  qwen3:\n{stated}"
    rules = rules_of(text, tmp_path, QWEN3)
    own = {name: bound for name, bound in bounds(rules).items() if name.endswith("hidden")}
    assert set(own.values()) == {500}
    assert bounds(rules)["layers.9.mlp_output"] == pytest.approx(15.25 * 4.3)
    least = bounds(rules, "max_abs.min")
    assert "layers.16.hidden" not in least, "778 at least and 500 at most would be a check that nothing passes"
    assert least["layers.1.hidden"] == pytest.approx(80.5 / 22.7)


def test_a_shape_of_ones_own_is_held_to_the_shipped_envelope_from_below(tmp_path: Path) -> None:
    text = (
        "version: 1\nextends: builtin\nfamilies:\n  qwen3:\n"
        "    shapes: [{name: mine, layers: 2, hidden_size: 64, limits: {hidden: 400}, min_max_abs: {gate: 0.125}}]\n"
    )
    least = bounds(rules_of(text, tmp_path), "max_abs.min")
    assert (least["layers.0.hidden"], least["layers.0.gate"]) == (17.5 / 28, 0.125)


def test_lower_bounds_of_ones_own_replace_the_shipped_ones(tmp_path: Path) -> None:
    rules = rules_of("version: 1\nextends: builtin\nfamilies: {qwen3: {min_max_abs: {hidden: 1}}}\n", tmp_path, QWEN3)
    least = bounds(rules, "max_abs.min")
    assert {bound for name, bound in least.items() if name.endswith("hidden")} == {1.0}
    assert least["layers.0.gate"] == pytest.approx(5.8125 / 6)


# What is refused


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("0=8 1-2=100", "0=8 1-3=100", "by_layer of hidden has layer 3, and the shape layers 0 to 2"),
        ("0-2=0.5", "0-3=0.5", "medians of hidden has layer 3, and the shape layers 0 to 2"),
        ("0=8 1-2=100", "0=8 0-2=100", "'0-2=100' is out of order; layers ascend, and each is given once"),
        ("0=8 1-2=100", "0=8 2-1=100", "'2-1=100' is out of order"),
        ("0=8 1-2=100", "0=8 1=0", "0 is no figure; write a finite number above zero"),
        ("0=8 1-2=100", "0=8 1=1e999", "1e999 is no figure"),
        ("0=8 1-2=100", "0=8, 1-2=100", "'0=8,' is no run of layers; write 0=27.1 for one layer, 2-15=17280 for"),
        ("0=8 1-2=100", "0=nan", "'0=nan' is no run of layers"),
        ("0=8 1-2=100", "8", "should be a valid string"),
        ("hidden: 0=8 1-2=100", "hiden: 0=8", "no site kind called 'hiden'; did you mean 'hidden'?"),
        ("least: {embedding: 2, hidden: 4}", "least: {hiden: 4}", "no site kind called 'hiden'"),
        ("least: {embedding: 2, hidden: 4}", "least: {hidden: 0.5}", "should be greater than or equal to 1, not 0.5"),
        ("small: 0.1", "smal: 0.1", "unknown key; did you mean 'small'?"),
        ("        by_layer:", "        by_layers:", "unknown key; did you mean 'by_layer'?"),
    ],
)  # fmt: skip
def test_faulty_figures_of_layers_are_refused_with_their_line(old: str, new: str, words: str, tmp_path: Path) -> None:
    text = LAYERED.replace(old, new, 1)
    message = refusal(text, tmp_path, identity=TINY)
    assert words in message
    line = int(message.removeprefix(f"{tmp_path / 'limits.yaml'}:").split(":")[0])
    named = text.splitlines()[line - 1]
    assert new.strip() in named or named.strip() == "- name: Tiny"


def test_figures_of_layers_that_the_model_lacks_are_refused(tmp_path: Path) -> None:
    text = LAYERED.replace("attn_output: 1=7", "gate: 1=7")
    message = refusal(text, tmp_path, identity=TINY, model=sites(3, KINDS))
    assert "by_layer of kind 'gate' matches no site of this model, so its limit would never be checked" in message
    apart = refusal(text, tmp_path, identity=TINY, model=[*sites(3, KINDS), site("layers.0.gate")])
    assert "by_layer of kind 'gate' matches no site" in apart


# The shipped figures


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_what_was_published_for_a_shape_keeps_its_limits(shape: tuple[str, int, int]) -> None:
    model_type, layers, hidden_size = shape
    identity = Identity(model_type=model_type, layers=layers, hidden_size=hidden_size)
    limits = select_rules(load_limits(), identity, sites(layers, kinds_of(model_type))).limits
    stated = [limit for limit in limits if limit.figure is not None and limit.site != CARRIER]
    assert len({limit.check for limit in stated}) == len(stated)
    assert all(holds(limit.figure, limit) for limit in stated if limit.figure)
    layered = {limit.site for limit in stated if limit.of_layer and limit.metric == MAX_ABS}
    limited = {limit.site for limit in stated if limit.site.startswith("layers.") and limit.metric == MAX_ABS}
    assert layered == limited
    assert {limit.site for limit in stated if limit.metric == LEAST} == limited | {"embedding", "final_norm"}


@pytest.mark.parametrize("shape", [("gpt_oss", 24, 2880), ("bailing_moe", 20, 2048)], ids=str)
def test_a_record_of_published_figures_passes(shape: tuple[str, int, int]) -> None:
    assert failing(as_published(*shape)) == []


@pytest.mark.parametrize(
    ("times", "checks"),
    [
        ({"layers.9.mlp_output": 5.0}, ["layers.9.mlp_output::max_abs"]),
        ({"layers.20.attn_output": 2.0}, ["layers.20.attn_output::max_abs"]),
        ({"layers.20.gate": 2.0}, ["layers.20.gate::max_abs"]),
        ({"layers.1.hidden": 3.0}, ["layers.1.hidden::max_abs"]),
        (
            {"layers.9.mlp_output": 0.01},
            ["layers.9.mlp_output::max_abs.min", "layers.9.mlp_output::quantile.0.5"],
        ),
        ({"final_norm": 0.1}, ["final_norm::max_abs.min", "final_norm::quantile.0.5"]),
    ],
)
def test_one_layer_that_is_off_is_found_in_a_published_shape(times: dict[str, float], checks: list[str]) -> None:
    """Each lies far within the limit of its kind."""
    assert failing(as_published("qwen3", 36, 4096, times)) == checks


def test_layers_all_but_dead_beside_their_outlier_are_found() -> None:
    """The maximum alone would pass: what the layer does to every other entry is gone."""
    one = as_published("qwen3", 36, 4096, only=[site("embedding"), site("final_norm"), site("layers.16.hidden")])
    values = {name: [[reading.max_abs, 0.0, 0.0]] for name, reading in one.sites.items()}
    flat = record(values, layers=36, hidden_size=4096)
    rules = select_rules(load_limits(), QWEN3, sites(36))
    limits = [limit_of(rules, f"layers.16.hidden::{metric}") for metric in ("max_abs", "max_abs.min", "quantile.0.5")]
    found = judge(flat, limits)
    assert [finding.passed for finding in found] == [True, True, False]
