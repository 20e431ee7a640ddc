"""The shipped figures are the published ones, and hold for the shapes and families that they say."""

import math

import pytest

from pytest_maxact.judge.limits.deploy import stated_limits
from pytest_maxact.judge.limits.file import builtin_path, load_limits
from pytest_maxact.judge.limits.limit import CARRIER
from pytest_maxact.judge.limits.rules import GENERIC, select_rules
from pytest_maxact.judge.limits.schema.family import Shape
from pytest_maxact.judge.limits.source import source_limits
from pytest_maxact.judge.published import published
from pytest_maxact.numbers.schemes import SCHEMES
from pytest_maxact.numbers.sites import COUNTED_KINDS
from pytest_maxact.record.identity import Identity
from tests.support.limits import QWEN3, UNPUBLISHED, bounds, limit_of, written_at
from tests.support.records import sites


def shipped_shapes() -> list[tuple[str, list[str], Shape]]:
    (shipped,) = load_limits()
    return [
        (name, family.model_types, shape)
        for name, family in shipped.document.families.items()
        for shape in family.shapes
    ]


@pytest.mark.parametrize(
    ("family", "model_types", "shape"), shipped_shapes(), ids=lambda value: getattr(value, "name", None)
)
def test_a_shipped_shape_holds_the_published_maximum(family: str, model_types: list[str], shape: Shape) -> None:
    same = [
        p
        for p in published()
        if (p.layers, p.hidden_size) == (shape.layers, shape.hidden_size) and p.model_type in model_types
    ]
    assert sorted(p.model for p in same) == sorted(shape.checkpoints)
    assert max(figure for kind, figure in shape.limits.items() if kind in COUNTED_KINDS) == max(p.max_abs for p in same)
    (carrier,) = {p.carrier.rpartition(".")[2] for p in same if p.max_abs == max(p.max_abs for p in same)}
    assert shape.limits[carrier] == max(p.max_abs for p in same)  # type: ignore[index]


def test_every_published_checkpoint_finds_a_shape_that_its_own_maximum_keeps() -> None:
    assert len(published()) == 27
    for checkpoint in published():
        identity = Identity(
            model_type=checkpoint.model_type, layers=checkpoint.layers, hidden_size=checkpoint.hidden_size
        )
        kinds = ["hidden", "attn_output", "mlp_output", "gate", "router"]
        rules = select_rules(load_limits(), identity, sites(checkpoint.layers, kinds))
        assert rules.shape is not None
        limit = limit_of(rules, f"{checkpoint.carrier}::max_abs")
        assert limit.figure is not None
        assert limit.headroom is not None
        assert limit.bound == pytest.approx(limit.figure * limit.headroom, rel=1e-15)
        assert limit.headroom >= 1.25
        assert checkpoint.max_abs <= limit.figure
        assert not limit.envelope


def test_the_shipped_limits_of_a_published_shape() -> None:
    rules = select_rules(load_limits(), QWEN3, sites(36))
    assert (rules.family, rules.shape, rules.protocol) == ("qwen3", "Qwen3-8B", "paper")
    assert limit_of(rules, "layers.16.hidden::max_abs").bound == pytest.approx(17_664 * 2.2)
    assert bounds(rules)["layers.0.attn_output"] == pytest.approx(4.3125 * 1.7)
    assert bounds(rules)["layers.35.attn_output"] == pytest.approx(908 * 1.7)
    assert bounds(rules)["layers.6.mlp_output"] == pytest.approx(17_280 * 2.4)
    assert bounds(rules)["layers.9.mlp_output"] == pytest.approx(15.25 * 4.3), "small beside 17 280"
    assert bounds(rules)["layers.35.gate"] == pytest.approx(105.5 * 1.5)
    assert bounds(rules)["embedding"] == pytest.approx(1.22558625)
    assert bounds(rules)["final_norm"] == 262.5
    assert bounds(rules, "max_abs.min")["layers.16.hidden"] == pytest.approx(17_664 / 22.7)
    assert bounds(rules, "quantile.0.5").keys() == {s.name for s in sites(36) if s.kind != "gate"}
    count = 3 * (2 + 36 * 4) + (2 + 36 * 3) + 1 + 3
    assert len(rules.limits) == count, (
        "nonfinite, max_abs from both sides, medians but of gates, int8, three of weights"
    )


def test_a_shipped_limit_says_where_it_comes_from() -> None:
    limit = limit_of(select_rules(load_limits(), QWEN3, sites(36)), "layers.16.hidden::max_abs")
    assert (limit.figure, limit.headroom, limit.sense, limit.rule) == (17_664, 2.2, "max", "shape Qwen3-8B")
    assert limit.of_layer
    assert limit.source == "arXiv 2605.15572, published result files"
    assert limit.file == str(builtin_path())
    assert written_at(limit).startswith("hidden: 0=27.125 1=80.5 2=113")


def test_a_shipped_int8_figure_is_lowered_by_its_headroom_in_db() -> None:
    limit = limit_of(select_rules(load_limits(), QWEN3, sites(36)), f"{CARRIER}::int8.max_abs.sqnr_db")
    assert limit.bound == pytest.approx(12.64 - 20 * math.log10(1.25))
    assert (limit.sense, limit.figure, limit.headroom) == ("min", 12.64, 1.25)
    assert "sqnr_db: 12.64" in written_at(limit)


def test_an_unpublished_shape_is_judged_by_the_familys_largest_figures_and_marked() -> None:
    rules = select_rules(load_limits(), UNPUBLISHED, sites(2))
    assert rules.shape is None
    enveloped = {limit.site: limit for limit in rules.limits if limit.metric.name == "max_abs"}
    assert all(limit.envelope for limit in enveloped.values())
    assert enveloped["layers.1.hidden"].bound == 35_328 * 2
    assert enveloped["layers.1.hidden"].rule == "envelope of family qwen3: Qwen3-32B"
    assert "envelope: {headroom: 2.0}" in written_at(enveloped["layers.1.hidden"])
    int8 = limit_of(rules, f"{CARRIER}::int8.max_abs.sqnr_db")
    assert int8.envelope
    assert int8.bound == pytest.approx(10.0905 - 20 * math.log10(2)), "the lowest of the family"


def test_nothing_non_finite_is_allowed_at_any_site_of_any_family() -> None:
    for family in ("qwen3", GENERIC):
        rules = select_rules(load_limits(), QWEN3, sites(36), family)
        assert bounds(rules, "nonfinite") == {**{s.name: 0.0 for s in sites(36)}, "weights": 0.0}
        assert "nonfinite: 0" in written_at(limit_of(rules, "embedding::nonfinite"))


def test_generic_limits_are_the_range_of_float16_at_every_site() -> None:
    rules = select_rules(
        load_limits(),
        Identity(model_type="unheard_of", layers=2, hidden_size=8),
        sites(2, ["hidden", "gate", "router"]),
        GENERIC,
    )
    assert (rules.family, rules.shape, rules.protocol) == (GENERIC, None, None)
    assert bounds(rules) == dict.fromkeys([site.name for site in sites(2, ["hidden", "gate", "router"])], 65504.0)
    assert "max_abs: 65504" in written_at(limit_of(rules, "embedding::max_abs"))


def test_limits_come_in_depth_order() -> None:
    names = [
        limit.site for limit in select_rules(load_limits(), QWEN3, reversed(sites(36))).limits if limit.site != CARRIER
    ]
    assert list(dict.fromkeys(names)) == [*(s.name for s in sites(36)), "weights"]


def test_a_family_can_be_named_for_another_model_type() -> None:
    rules = select_rules(load_limits(), Identity(model_type="mine", layers=36, hidden_size=4096), sites(36), "qwen3")
    assert (rules.family, rules.shape) == ("qwen3", "Qwen3-8B")


@pytest.mark.parametrize("name", ["MXFP4", "MXFP8", "NVFP4", "W8A8", "FP8", "W4A8", "W4AFP8"])
def test_an_artifact_whose_inputs_are_quantized_may_depart_as_far_as_its_scheme_may(name: str) -> None:
    """So that what `--maxact-deploy` says of a source is what is said of the export that is made of it."""
    scheme = SCHEMES[name]
    assert scheme.weights is not None
    assert scheme.activations is not None
    form = f"compressed-tensors {scheme.weights.number} with {scheme.activations.number} inputs"
    artifact = {one.metric.name: one.bound for one in source_limits(load_limits(), form, predicted=True)}
    foreseen = [one.bound for one in stated_limits(load_limits(), name, sites(3), True) if "mean_kl" in one.name]
    assert foreseen == [artifact["source_mean_kl"]]
