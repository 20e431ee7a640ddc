"""thresholds.yaml to limits: the figures are the published ones, the most specific rule wins, and every fault is named
with its line.
"""

import math
import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from pytest_maxact.errors import InputError
from pytest_maxact.judge.limits.file import builtin_path, load_limits
from pytest_maxact.judge.limits.limit import CARRIER, Limit
from pytest_maxact.judge.limits.rules import GENERIC, Ruleset, select_rules
from pytest_maxact.judge.limits.schema.family import Shape
from pytest_maxact.judge.published import published
from pytest_maxact.numbers.sites import COUNTED_KINDS, Site
from pytest_maxact.record.identity import Identity
from tests.support.records import site, sites

QWEN3 = Identity(model_type="qwen3", layers=36, hidden_size=4096)
UNPUBLISHED = Identity(model_type="qwen3", layers=2, hidden_size=64)
HEAD = "version: 1\nprotocol: paper\nheadroom: 2.0\n"


def rules_of(
    text: str,
    folder: Path,
    identity: Identity = UNPUBLISHED,
    model: Iterable[Site] | None = None,
    family: str | None = None,
) -> Ruleset:
    """The limits that a file with this text sets for a model, by the road the gate takes."""
    path = folder / "limits.yaml"
    path.write_text(text, encoding="utf-8")
    return select_rules(load_limits(path), identity, model or sites(identity.layers), family)


def limit_of(rules: Ruleset, check: str) -> Limit:
    (limit,) = (limit for limit in rules.limits if limit.check == check)
    return limit


def bounds(rules: Ruleset, metric: str = "max_abs") -> dict[str, float]:
    return {limit.site: limit.bound for limit in rules.limits if limit.metric.name == metric}


def written_at(limit: Limit) -> str:
    """The line of the file that a limit names."""
    return Path(limit.file).read_text(encoding="utf-8").splitlines()[limit.line - 1].strip()


def refusal(text: str, folder: Path, **options: object) -> str:
    with pytest.raises(InputError) as caught:
        rules_of(text, folder, **options)  # type: ignore[arg-type]
    return str(caught.value)


# The shipped figures


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
        assert limit.bound == pytest.approx(limit.figure * 1.25, rel=1e-15)
        assert checkpoint.max_abs <= limit.figure
        assert not limit.envelope


def test_the_shipped_limits_of_a_published_shape() -> None:
    rules = select_rules(load_limits(), QWEN3, sites(36))
    assert (rules.family, rules.shape, rules.protocol) == ("qwen3", "Qwen3-8B", "paper")
    assert limit_of(rules, "layers.16.hidden::max_abs").bound == 22_080
    assert bounds(rules)["layers.0.attn_output"] == 1135
    assert bounds(rules)["layers.35.mlp_output"] == 21_600
    assert bounds(rules)["layers.35.gate"] == 203.75
    assert bounds(rules)["embedding"] == pytest.approx(1.22558625)
    assert bounds(rules)["final_norm"] == 262.5
    assert len(rules.limits) == 2 * (2 + 36 * 4) + 1, "max_abs and nonfinite of every site, and one int8 check"


def test_a_shipped_limit_says_where_it_comes_from() -> None:
    limit = limit_of(select_rules(load_limits(), QWEN3, sites(36)), "layers.16.hidden::max_abs")
    assert (limit.figure, limit.headroom, limit.sense, limit.rule) == (17_664, 1.25, "max", "shape Qwen3-8B")
    assert limit.source == "arXiv 2605.15572, published result files"
    assert limit.file == str(builtin_path())
    assert "hidden: 17664" in written_at(limit)


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
        assert bounds(rules, "nonfinite") == {s.name: 0.0 for s in sites(36)}
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
    assert list(dict.fromkeys(names)) == [s.name for s in sites(36)]


def test_a_family_can_be_named_for_another_model_type() -> None:
    rules = select_rules(load_limits(), Identity(model_type="mine", layers=36, hidden_size=4096), sites(36), "qwen3")
    assert (rules.family, rules.shape) == ("qwen3", "Qwen3-8B")


# Which rule wins

LADDER = (
    HEAD
    + """
families:
  qwen3:
    model_types: [qwen3]
    shapes:
      - name: Tiny
        layers: 2
        hidden_size: 64
        limits: {hidden: 10, attn_output: 20}
        layer_limits: {"layers.1.hidden": {hidden: 5}}
      - {name: Other, layers: 4, hidden_size: 64, limits: {hidden: 50, gate: 60, mlp_output: 70}}
    limits: {hidden: 100, gate: 200}
    layers: {"layers.0.*": {attn_output: 7}, "layers.*.gate": {gate: 300}, "layers.0.gate": {gate: 400}}
    envelope: {headroom: 3.0}
"""
)


def test_a_pattern_wins_over_the_shape_and_the_shape_over_the_family(tmp_path: Path) -> None:
    rules = rules_of(LADDER, tmp_path)
    assert bounds(rules) == {
        "layers.0.hidden": 20,
        "layers.0.attn_output": 14,
        "layers.0.gate": 800,
        "layers.1.hidden": 10,
        "layers.1.attn_output": 40,
        "layers.1.gate": 600,
    }
    named = {limit.site: limit.rule for limit in rules.limits if limit.metric.name == "max_abs"}
    assert named["layers.0.gate"] == "pattern layers.0.gate", "more literal characters than layers.*.gate"
    assert named["layers.1.hidden"] == "pattern layers.1.hidden"
    assert named["layers.0.hidden"] == "shape Tiny"


def test_the_family_wins_over_the_envelope(tmp_path: Path) -> None:
    rules = rules_of(LADDER, tmp_path, Identity(model_type="qwen3", layers=3, hidden_size=64))
    by_site = {
        limit.site: (limit.bound, limit.envelope, limit.rule)
        for limit in rules.limits
        if limit.metric.name == "max_abs"
    }
    assert by_site["layers.2.hidden"] == (200, False, "family qwen3")
    assert by_site["layers.2.mlp_output"] == (210, True, "envelope of family qwen3: Other")
    assert by_site["layers.2.attn_output"] == (60, True, "envelope of family qwen3: Tiny")
    assert by_site["layers.0.attn_output"] == (14, False, "pattern layers.0.*")


def test_a_published_shape_takes_nothing_from_the_envelope(tmp_path: Path) -> None:
    assert "layers.0.mlp_output" not in bounds(rules_of(LADDER, tmp_path))


def test_depth_and_width_both_make_a_shape(tmp_path: Path) -> None:
    for identity in (
        Identity(model_type="qwen3", layers=2, hidden_size=65),
        Identity(model_type="qwen3", layers=3, hidden_size=64),
    ):
        assert rules_of(LADDER, tmp_path, identity).shape is None


def test_a_shape_pattern_replaces_the_same_pattern_of_the_family(tmp_path: Path) -> None:
    text = (
        HEAD
        + "families:\n  qwen3:\n    model_types: [qwen3]\n    layers: {'layers.0.*': {hidden: 1}}\n    shapes:\n      -"
        " {name: T, layers: 2, hidden_size: 64, limits: {hidden: 3}, layer_limits: {'layers.0.*': {hidden: 2}}}\n"
    )
    assert bounds(rules_of(text, tmp_path)) == {"layers.0.hidden": 4, "layers.1.hidden": 6}


def test_a_question_mark_is_one_digit(tmp_path: Path) -> None:
    text = (
        HEAD
        + "families: {qwen3: {model_types: [qwen3], limits: {hidden: 10}, layers: {'layers.?.hidden': {hidden: 1}}}}\n"
    )
    rules = bounds(rules_of(text, tmp_path, Identity(model_type="qwen3", layers=12, hidden_size=64)))
    assert (rules["layers.9.hidden"], rules["layers.10.hidden"]) == (2, 20)


def test_a_family_headroom_replaces_the_files(tmp_path: Path) -> None:
    text = (
        HEAD + "families: {qwen3: {model_types: [qwen3], headroom: 1.5, limits: {hidden: 10}, int8: {sqnr_db: 20}}}\n"
    )
    rules = rules_of(text, tmp_path)
    assert bounds(rules)["layers.0.hidden"] == 15
    assert limit_of(rules, f"{CARRIER}::int8.max_abs.sqnr_db").bound == pytest.approx(20 - 20 * math.log10(1.5))


def test_headroom_is_1_25_where_the_file_gives_none(tmp_path: Path) -> None:
    assert (
        bounds(rules_of("version: 1\nfamilies: {qwen3: {model_types: [qwen3], limits: {hidden: 4}}}\n", tmp_path))[
            "layers.0.hidden"
        ]
        == 5
    )


def test_bounds_of_int8_stand_as_they_are_written(tmp_path: Path) -> None:
    text = (
        HEAD + "families:\n  qwen3:\n    model_types: [qwen3]\n    limits: {hidden: 1}\n    int8:\n"
        "      - {min_sqnr_db: 9.0, max_rel_rmse: 0.4, max_rel_mae: 0.5}\n"
        "      - {site: 'layers.*.hidden', policy: clip_q0.999, max_clip_rate: 0.01, max_flush_to_zero: 0.2}\n"
    )
    found = {
        limit.check: (limit.bound, limit.sense, limit.figure)
        for limit in rules_of(text, tmp_path).limits
        if limit.metric.name.startswith("int8")
    }
    assert found == {
        "layers.0.hidden::int8.clip_q0.999.clip_rate": (0.01, "max", None),
        "layers.0.hidden::int8.clip_q0.999.flush_to_zero": (0.2, "max", None),
        "layers.1.hidden::int8.clip_q0.999.clip_rate": (0.01, "max", None),
        "layers.1.hidden::int8.clip_q0.999.flush_to_zero": (0.2, "max", None),
        "carrier::int8.max_abs.sqnr_db": (9.0, "min", None),
        "carrier::int8.max_abs.rel_rmse": (0.4, "max", None),
        "carrier::int8.max_abs.rel_mae": (0.5, "max", None),
    }


def test_int8_rules_of_the_shape_replace_those_of_the_family(tmp_path: Path) -> None:
    text = (
        HEAD + "families: {qwen3: {model_types: [qwen3], int8: {min_sqnr_db: 1}, limits: {hidden: 1},"
        " shapes: [{name: T, layers: 2, hidden_size: 64, limits: {}, int8: {min_sqnr_db: 2}}]}}\n"
    )
    assert bounds(rules_of(text, tmp_path), "int8.max_abs.sqnr_db") == {CARRIER: 2}
    assert bounds(
        rules_of(text, tmp_path, Identity(model_type="qwen3", layers=3, hidden_size=64)), "int8.max_abs.sqnr_db"
    ) == {CARRIER: 1}


def shape_with(headroom: str) -> str:
    return (
        HEAD + "families:\n  qwen3:\n    model_types: [qwen3]\n    limits: {gate: 10}\n    layers: {'layers.0.hidden':"
        " {hidden: 10}}\n"
        "    shapes:\n"
        f"      - {{name: T, layers: 2, hidden_size: 64, headroom: {headroom}, limits: {{hidden: 10, embedding: 10}}, "
        "int8: {sqnr_db: 20}}\n"
    )


@pytest.mark.parametrize(
    ("headroom", "hidden", "embedding", "int8"),
    [
        ("1.5", 15, 15, 1.5),
        ("{hidden: 1.5}", 15, 20, 1.5),
        ("{hidden: 1.5, embedding: 3}", 15, 30, 3),
        ("{hidden: 1.5, embedding: 3, int8: 1}", 15, 30, 1),
        ("{int8: 1.2}", 20, 20, 1.2),
    ],
)
def test_a_headroom_of_the_shape_holds_for_its_own_figures(
    headroom: str, hidden: float, embedding: float, int8: float, tmp_path: Path
) -> None:
    rules = rules_of(shape_with(headroom), tmp_path)
    found = bounds(rules)
    assert (found["layers.1.hidden"], found["embedding"]) == (hidden, embedding)
    assert (found["layers.0.hidden"], found["layers.0.gate"]) == (20, 20), "figures of the family keep the family's"
    assert limit_of(rules, f"{CARRIER}::int8.max_abs.sqnr_db").headroom == int8
    assert limit_of(rules, f"{CARRIER}::int8.max_abs.sqnr_db").bound == pytest.approx(20 - 20 * math.log10(int8))


def test_a_headroom_of_the_shape_holds_for_its_patterns(tmp_path: Path) -> None:
    text = shape_with("{hidden: 1.5}").replace(
        "limits: {hidden: 10,", "layer_limits: {'layers.0.hidden': {hidden: 4}}, limits: {hidden: 10,"
    )
    assert bounds(rules_of(text, tmp_path))["layers.0.hidden"] == 6


def test_a_source_of_the_shape_is_that_of_its_figures(tmp_path: Path) -> None:
    rules = rules_of(
        shape_with("1.5, source: 2 Records").replace("    limits: {gate", "    source: a paper\n    limits: {gate"),
        tmp_path,
    )
    named = {limit.check: limit.source for limit in rules.limits if limit.figure}
    assert named["layers.1.hidden::max_abs"] == named[f"{CARRIER}::int8.max_abs.sqnr_db"] == "2 Records"
    assert named["layers.0.hidden::max_abs"] == named["layers.0.gate::max_abs"] == "a paper"


@pytest.mark.parametrize(
    ("headroom", "message"),
    [
        ("0.9", "families.qwen3.shapes.0.headroom: should be greater than or equal to 1, not 0.9"),
        (".inf", "families.qwen3.shapes.0.headroom: inf is not a limit; write a finite number"),
        ("'2'", "families.qwen3.shapes.0.headroom: '2' is text, not a number"),
        ("{hidden: 0.9}", "families.qwen3.shapes.0.headroom.hidden: should be greater than or equal to 1, not 0.9"),
        ("{hidden: .nan}", "families.qwen3.shapes.0.headroom.hidden: nan is not a limit; write a finite number"),
        ("{hiden: 2}", "families.qwen3.shapes.0.headroom.hiden: no site kind called 'hiden'; did you mean 'hidden'?"),
        ("{zz: 2}", "families.qwen3.shapes.0.headroom.zz: no site kind called 'zz'; there are embedding, hidden, "),
        ("{int9: 2}", "no site kind called 'int9'; did you mean 'int8'?"),
        ("{}", "families.qwen3.shapes.0.headroom: Dictionary should have at least 1 item"),
        ("[2]", "families.qwen3.shapes.0.headroom: should be a valid number"),
        ("yes", "families.qwen3.shapes.0.headroom: should be a valid number, not True"),
    ],
)
def test_a_faulty_headroom_of_a_shape_is_refused_with_its_line(headroom: str, message: str, tmp_path: Path) -> None:
    text = refusal(shape_with(headroom), tmp_path)
    assert text.startswith(f"{tmp_path / 'limits.yaml'}:10: families.qwen3.shapes.0.headroom")
    assert message in text
    assert len(text.splitlines()) == 1


OWN_HIDDEN = "version: 1\nextends: builtin\nheadroom: 2.0\nfamilies:\n  qwen3:\n    limits:\n      hidden: 100\n"


def test_a_file_of_ones_own_wins_over_the_shipped_one_site_kind_by_site_kind(tmp_path: Path) -> None:
    rules = rules_of(OWN_HIDDEN, tmp_path, QWEN3)
    own, shipped = limit_of(rules, "layers.3.hidden::max_abs"), limit_of(rules, "layers.3.gate::max_abs")
    assert (own.bound, own.rule, own.file) == (200, "family qwen3", str(tmp_path / "limits.yaml"))
    assert written_at(own) == "hidden: 100"
    assert (shipped.bound, shipped.file) == (203.75, str(builtin_path())), "with the headroom of its own file"
    assert rules.shape == "Qwen3-8B"
    assert rules.files == [str(tmp_path / "limits.yaml"), str(builtin_path())]
    assert limit_of(rules, f"{CARRIER}::int8.max_abs.sqnr_db").figure == 12.64


@pytest.mark.parametrize("own", ["/0/limits.yaml", "/~/limits.yaml", "limits.yaml"])
def test_a_file_of_ones_own_is_named_before_the_shipped_one_wherever_they_lie(own: str, tmp_path: Path) -> None:
    rules = rules_of(OWN_HIDDEN, tmp_path, QWEN3)
    shipped = str(builtin_path())
    limits = tuple(replace(limit, file=shipped if limit.file == shipped else own) for limit in rules.limits)
    assert replace(rules, limits=limits).files == [own, shipped]


def test_int8_rules_of_ones_own_replace_the_shipped_ones(tmp_path: Path) -> None:
    rules = rules_of(OWN_HIDDEN + "    int8: {policy: clip_q0.999, min_sqnr_db: 30}\n", tmp_path, QWEN3)
    assert {limit.metric.name: limit.bound for limit in rules.limits if limit.metric.name.startswith("int8")} == {
        "int8.clip_q0.999.sqnr_db": 30
    }


def test_without_extends_the_shipped_limits_do_not_apply(tmp_path: Path) -> None:
    rules = rules_of(
        OWN_HIDDEN.replace("extends: builtin\n", "").replace("qwen3:", "qwen3:\n    model_types: [qwen3]"),
        tmp_path,
        QWEN3,
    )
    assert set(bounds(rules)) == {f"layers.{i}.hidden" for i in range(36)}


def test_a_new_family_beside_the_shipped_ones(tmp_path: Path) -> None:
    text = "version: 1\nextends: builtin\nfamilies: {mine: {model_types: [mine], limits: {hidden: 8}}}\n"
    assert rules_of(text, tmp_path, Identity(model_type="mine", layers=2, hidden_size=4)).family == "mine"
    assert rules_of(text, tmp_path, QWEN3).family == "qwen3"


def test_a_file_that_only_extends_changes_nothing(tmp_path: Path) -> None:
    assert (
        rules_of("version: 1\nextends: builtin\n", tmp_path, QWEN3).limits
        == select_rules(load_limits(), QWEN3, sites(36)).limits
    )


@pytest.mark.parametrize("style", ["block", "flow", "list"])
def test_every_limit_knows_the_line_that_it_is_written_on(style: str, tmp_path: Path) -> None:
    int8 = {
        "block": "    int8:\n      site: carrier\n      min_sqnr_db: 9.0\n",
        "flow": "    int8: {site: carrier, min_sqnr_db: 9.0}\n",
        "list": "    int8:\n      - site: carrier\n        min_sqnr_db: 9.0\n",
    }[style]
    text = HEAD + "families:\n  qwen3:\n    model_types: [qwen3]\n    limits:\n      gate: 2\n      hidden: 1\n" + int8
    rules = rules_of(text, tmp_path)
    assert written_at(limit_of(rules, "layers.1.hidden::max_abs")) == "hidden: 1"
    assert "min_sqnr_db: 9.0" in written_at(limit_of(rules, f"{CARRIER}::int8.max_abs.sqnr_db"))


# Faults of the file

FAMILY = "families:\n  qwen3:\n    model_types: [qwen3]\n"
FAULTS: dict[str, tuple[str, int, str]] = {
    "malformed": (HEAD + "families: {qwen3: [\n", 5, "malformed YAML"),
    "a tab": (HEAD + "families:\n\tqwen3: {}\n", 5, "malformed YAML"),
    "an unclosed quote": (HEAD + "source: 'paper\n", 5, "malformed YAML"),
    "a Python object": (
        HEAD + "source: !!python/object/apply:os.system [ls]\n",
        4,
        "malformed YAML: could not determine a constructor",
    ),
    "two documents": (HEAD + "---\nversion: 1\n", 4, "malformed YAML"),
    "a key given twice": (
        HEAD + FAMILY + "    limits:\n      hidden: 1\n      gate: 2\n      hidden: 3\n",
        10,
        "'hidden' is given twice, first on line 8",
    ),
    "a family given twice": (
        HEAD + "families:\n  a: {limits: {hidden: 1}}\n  a: {limits: {hidden: 9}}\n",
        6,
        "'a' is given twice, first on line 5",
    ),
    "an unknown top key": ("version: 1\nheadrom: 2.0\n" + FAMILY, 2, "headrom: unknown key; did you mean 'headroom'?"),
    "an unknown family key": (
        HEAD + FAMILY + "    limit: {hidden: 1}\n",
        7,
        "families.qwen3.limit: unknown key; did you mean 'limits'?",
    ),
    "an unknown shape key": (
        HEAD
        + FAMILY
        + "    shapes:\n      - name: A\n        layers: 1\n        hidden_siz: 2\n        hidden_size: 2\n       "
        " limits: {}\n",
        10,
        "families.qwen3.shapes.0.hidden_siz: unknown key; did you mean 'hidden_size'?",
    ),
    "an unknown int8 key": (
        HEAD + FAMILY + "    int8:\n      - sqnr_db: 1\n        polcy: max_abs\n",
        9,
        "families.qwen3.int8.0.polcy: unknown key; did you mean 'policy'?",
    ),
    "an unknown key of a lone int8 rule": (
        HEAD + FAMILY + "    int8:\n      sqnr_db: 1\n      polcy: max_abs\n",
        9,
        "unknown key; did you mean 'policy'?",
    ),
    "a key like no other": (
        HEAD + "zebra: 1\n" + FAMILY,
        4,
        "zebra: unknown key; there are version, extends, protocol",
    ),
    "an unknown kind": (
        HEAD + FAMILY + "    limits:\n      hiden: 1\n",
        8,
        "no site kind called 'hiden'; did you mean 'hidden'?",
    ),
    "an unknown kind of a pattern": (
        HEAD + FAMILY + "    layers:\n      'layers.0.*':\n        gat: 1\n",
        9,
        "no site kind called 'gat'; did you mean 'gate'?",
    ),
    "a negative figure": (
        HEAD + FAMILY + "    limits:\n      hidden: -1\n",
        8,
        "limits.hidden: should be greater than 0, not -1",
    ),
    "zero": (HEAD + FAMILY + "    limits:\n      hidden: 0\n", 8, "limits.hidden: should be greater than 0, not 0"),
    "NaN": (
        HEAD + FAMILY + "    limits:\n      hidden: .nan\n",
        8,
        "limits.hidden: nan is not a limit; write a finite number",
    ),
    "infinity": (
        HEAD + FAMILY + "    limits:\n      hidden: .inf\n",
        8,
        "limits.hidden: inf is not a limit; write a finite number",
    ),
    "negative infinity": (
        HEAD + FAMILY + "    limits:\n      hidden: -.inf\n",
        8,
        "limits.hidden: -inf is not a limit; write a finite number",
    ),
    "NaN in dB": (HEAD + FAMILY + "    int8:\n      - sqnr_db: .nan\n", 8, "nan is not a limit; write a finite number"),
    "NaN as headroom": (
        "version: 1\nheadroom: .nan\n" + FAMILY,
        2,
        "headroom: nan is not a limit; write a finite number",
    ),
    "a number that YAML reads as text": (
        HEAD + FAMILY + "    limits:\n      hidden: 1e5\n",
        8,
        "limits.hidden: '1e5' is text, not a number; YAML wants 1.0e+5 or 100000",
    ),
    "a quoted number": (HEAD + FAMILY + "    limits:\n      hidden: '100'\n", 8, "'100' is text, not a number"),
    "a boolean": (
        HEAD + FAMILY + "    limits:\n      hidden: yes\n",
        8,
        "limits.hidden: should be a valid number, not True",
    ),
    "a missing number": (
        HEAD + FAMILY + "    limits:\n      hidden:\n",
        8,
        "limits.hidden: should be a valid number, not None",
    ),
    "an impossible date": (HEAD + FAMILY + "    limits:\n      hidden: 2026-13-45\n", 8, ""),
    "headroom below 1": (
        "version: 1\nheadroom: 0.9\n" + FAMILY,
        2,
        "headroom: should be greater than or equal to 1, not 0.9",
    ),
    "headroom of an envelope below 1": (
        HEAD + FAMILY + "    envelope: {headroom: 0.5}\n",
        7,
        "envelope.headroom: should be greater than or equal to 1",
    ),
    "two bounds of int8": (
        HEAD + FAMILY + "    int8:\n      - {sqnr_db: 9, min_sqnr_db: 8}\n",
        8,
        "give sqnr_db (a figure, with headroom) or min_sqnr_db",
    ),
    "no bound of int8": (
        HEAD + FAMILY + "    int8:\n      - {site: carrier, policy: max_abs}\n",
        8,
        "an int8 rule needs a bound: sqnr_db, min_sqnr_db",
    ),
    "an unknown policy": (HEAD + FAMILY + "    int8:\n      - {policy: clip_q2, sqnr_db: 1}\n", 8, "int8.0.policy"),
    "a policy that clips everything": (
        HEAD + FAMILY + "    int8:\n      - {policy: clip_q0.0, sqnr_db: 1}\n",
        8,
        "int8.0.policy",
    ),
    "a share above 1": (
        HEAD + FAMILY + "    int8:\n      - {max_clip_rate: 1.5}\n",
        8,
        "max_clip_rate: should be less than or equal to 1, not 1.5",
    ),
    "an unknown version": ("version: 2\n" + FAMILY, 1, "version: should be 1, not 2"),
    "no version": ("headroom: 2.0\n" + FAMILY, 1, "version: Field required"),
    "an unknown protocol": (
        "version: 1\nprotocol: papr\n" + FAMILY,
        2,
        "protocol: should be 'paper' or 'deployed', not 'papr'",
    ),
    "a file to extend": (
        "version: 1\nextends: other.yaml\n" + FAMILY,
        2,
        "extends: should be 'builtin', not 'other.yaml'",
    ),
    "a shape without depth": (
        HEAD + FAMILY + "    shapes:\n      - {name: A, hidden_size: 2, limits: {}}\n",
        8,
        "shapes.0.layers: Field required",
    ),
    "half a layer": (
        HEAD + FAMILY + "    shapes:\n      - {name: A, layers: 1.5, hidden_size: 2, limits: {}}\n",
        8,
        "shapes.0.layers: should be a valid integer",
    ),
    "a list of limits": (HEAD + FAMILY + "    limits: [1, 2]\n", 7, "limits: should be a valid dictionary"),
    "tolerated non-finite entries": (
        HEAD + "generic: {nonfinite: 3}\n" + FAMILY,
        4,
        "generic.nonfinite: should be 0, not 3",
    ),
    "no families": (HEAD, 1, "no families, so no limits\n  add `families:`, or `extends: builtin`"),
    "an empty file": ("", 1, "a limits file is a mapping that begins with `version: 1`"),
    "a comment alone": ("# limits\n", 1, "a limits file is a mapping that begins with `version: 1`"),
    "a list": ("- version: 1\n", 1, "a limits file is a mapping that begins with `version: 1`"),
}


@pytest.mark.parametrize(("text", "line", "reason"), FAULTS.values(), ids=FAULTS)
def test_a_fault_is_refused_with_file_line_and_reason(text: str, line: int, reason: str, tmp_path: Path) -> None:
    message = refusal(text, tmp_path)
    assert message.startswith(f"{tmp_path / 'limits.yaml'}:{line}: "), message
    assert reason in message


def test_a_family_named_by_a_number_is_not_taken_for_a_site_kind(tmp_path: Path) -> None:
    message = refusal(HEAD + "families:\n  3: {limits: {hidden: 1}}\n", tmp_path)
    assert message.startswith(f"{tmp_path / 'limits.yaml'}:")
    assert "site kind" not in message


def test_a_control_character_is_refused_as_malformed(tmp_path: Path) -> None:
    assert "malformed YAML" in refusal(HEAD + "source: \x00\n", tmp_path)


def test_of_many_faults_the_first_three_are_shown(tmp_path: Path) -> None:
    text = HEAD + FAMILY + "    limits: {hidden: -1, gate: -1, router: -1, embedding: -1, final_norm: -1}\n"
    lines = refusal(text, tmp_path).splitlines()
    assert len(lines) == 4
    assert all(line.startswith(str(tmp_path)) for line in lines[:3])
    assert lines[3] == "  and 2 more"


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        InputError,
        match=f"no limits file at {re.escape(str(tmp_path / 'none.yaml'))}\n  `limits` takes a YAML file",
    ):
        load_limits(tmp_path / "none.yaml")


def test_a_folder_or_another_encoding_is_refused(tmp_path: Path) -> None:
    (tmp_path / "latin.yaml").write_bytes(HEAD.encode() + b"source: Gr\xfc\xdfe\n")
    for path in (tmp_path, tmp_path / "latin.yaml"):
        with pytest.raises(InputError, match=f"cannot read the limits file {re.escape(str(path))}: "):
            load_limits(path)


def test_extending_shipped_limits_under_another_protocol_is_refused(tmp_path: Path) -> None:
    message = refusal("version: 1\nextends: builtin\nprotocol: deployed\n", tmp_path)
    assert (
        f"{tmp_path / 'limits.yaml'}:3: protocol 'deployed' cannot extend the shipped limits, which hold for 'paper'"
        in message
    )


def test_limits_of_ones_own_may_hold_for_the_deployed_protocol(tmp_path: Path) -> None:
    text = "version: 1\nprotocol: deployed\nfamilies: {qwen3: {model_types: [qwen3], limits: {hidden: 1}}}\n"
    assert rules_of(text, tmp_path).protocol == "deployed"


# Limits that nobody would check


@pytest.mark.parametrize(
    ("rest", "line", "reason"),
    [
        (
            "    layers:\n      'layers.7.hidden':\n        hidden: 1\n",
            10,
            "pattern 'layers.7.hidden' with kind 'hidden' matches no site of this model",
        ),
        (
            "    layers:\n      'layers.*.gate':\n        hidden: 1\n",
            10,
            "pattern 'layers.*.gate' with kind 'hidden' matches no site",
        ),
        ("    layers:\n      'layer.0.*': {hidden: 1}\n", 9, "pattern 'layer.0.*' with kind 'hidden' matches no site"),
        (
            "    layers:\n      'layers.0.*': {hidden: 1, router: 2}\n",
            9,
            "pattern 'layers.0.*' with kind 'router' matches no site",
        ),
        ("    int8:\n      - {site: layers.9.hidden, sqnr_db: 1}\n", 9, "site 'layers.9.hidden' matches no site"),
        (
            "    shapes:\n      - {name: T, layers: 2, hidden_size: 64, limits: {router: 3}}\n",
            9,
            "kind 'router' matches no site of this model",
        ),
        (
            (
                "    shapes:\n"
                "      - {name: T, layers: 2, hidden_size: 64, limits: {}, int8: {site: 'layers.5.*', sqnr_db: "
                "3}}\n"
            ),
            9,
            "site 'layers.5.*' matches no site",
        ),
    ],
)
def test_a_limit_that_matches_nothing_is_refused_with_its_line(
    rest: str, line: int, reason: str, tmp_path: Path
) -> None:
    message = refusal(HEAD + FAMILY + "    limits: {hidden: 1}\n" + rest, tmp_path)
    assert message.startswith(f"{tmp_path / 'limits.yaml'}:{line}: {reason}"), message
    assert (
        "the model has layers 0 to 1 with kinds embedding, hidden, attn_output, mlp_output, gate, final_norm" in message
    )


def test_a_kind_that_the_model_lacks_is_refused_with_its_line(tmp_path: Path) -> None:
    message = refusal(HEAD + FAMILY + "    limits:\n      hidden: 1\n      router: 2\n", tmp_path)
    assert message.startswith(f"{tmp_path / 'limits.yaml'}:9: kind 'router' matches no site of this model")


def test_limits_of_other_shapes_need_not_match(tmp_path: Path) -> None:
    text = (
        HEAD
        + FAMILY
        + "    limits: {hidden: 1}\n    shapes:\n      - {name: T, layers: 9, hidden_size: 64, limits: {router: 3},"
        " layer_limits: {'layers.8.*': {hidden: 1}}, int8: {site: x, sqnr_db: 1}}\n"
    )
    assert rules_of(text, tmp_path).shape is None


def test_a_model_type_without_limits_is_refused_with_both_ways_out() -> None:
    with pytest.raises(InputError) as caught:
        select_rules(load_limits(), Identity(model_type="llama", layers=32, hidden_size=4096), sites(32))
    text = str(caught.value)
    assert f"no limits for model_type 'llama' (32 layers x 4096) in {builtin_path()}" in text
    assert "families: {llama: {model_types: [llama], limits: {hidden: ...}}}" in text
    assert "`family` generic" in text


def test_the_form_that_the_refusal_suggests_is_accepted(tmp_path: Path) -> None:
    llama = Identity(model_type="llama", layers=2, hidden_size=8)
    with pytest.raises(InputError) as caught:
        select_rules(load_limits(), llama, sites(2))
    suggested = re.findall(r"`([^`]+)`", str(caught.value))
    form, *head = suggested[:3]
    rules = rules_of("\n".join([*head, form.replace("...", "8")]), tmp_path, llama)
    assert bounds(rules) == {"layers.0.hidden": 10, "layers.1.hidden": 10}


@pytest.mark.parametrize(
    ("wanted", "hint"), [("qwen33", "did you mean 'qwen3'? "), ("genric", "did you mean 'generic'? "), ("zzz", "")]
)
def test_an_unknown_family_option_is_refused_with_the_families(wanted: str, hint: str) -> None:
    with pytest.raises(InputError) as caught:
        select_rules(load_limits(), QWEN3, sites(36), wanted)
    assert str(caught.value).startswith(
        f"`family` {wanted}: no such family in {builtin_path()}\n  {hint}there are qwen2, qwen2_5_vl, qwen3, "
    )
    assert str(caught.value).endswith("bailing_moe, generic")


def test_a_family_without_limits_for_the_shape_is_refused(tmp_path: Path) -> None:
    text = HEAD + FAMILY + "    shapes: [{name: T, layers: 9, hidden_size: 64, limits: {hidden: 3}}]\n"
    message = refusal(text, tmp_path)
    assert "family 'qwen3' has no limits for a model of 2 layers x 64, nor an envelope" in message
    assert f"families.qwen3 in {tmp_path / 'limits.yaml'}" in message


def test_limits_beside_the_maximum_alone_are_not_enough(tmp_path: Path) -> None:
    """Gates and routers do not count toward M: a family with only those would pass any M."""
    assert "has no limits for a model of 2 layers x 64" in refusal(HEAD + FAMILY + "    limits: {gate: 3}\n", tmp_path)


def test_limits_apply_to_sites_as_the_model_has_them(tmp_path: Path) -> None:
    text = HEAD + FAMILY + "    limits: {hidden: 1, gate: 2}\n"
    hybrid = [site("layers.0.hidden"), site("layers.1.hidden"), site("layers.1.gate")]
    assert bounds(rules_of(text, tmp_path, model=hybrid)) == {
        "layers.0.hidden": 2,
        "layers.1.hidden": 2,
        "layers.1.gate": 4,
    }


def test_an_exact_name_wins_over_a_class_of_characters(tmp_path: Path) -> None:
    text = (
        HEAD + "families:\n  q:\n    model_types: [qwen3]\n    limits: {hidden: 9}\n"
        '    layers: {"layers.[0-9].hidden": {hidden: 50}, "layers.1.hidden": {hidden: 2}}\n'
    )
    assert {name: bound for name, bound in bounds(rules_of(text, tmp_path)).items() if name.endswith("hidden")} == {
        "layers.0.hidden": 100.0,
        "layers.1.hidden": 4.0,
    }


@pytest.mark.parametrize(
    ("body", "what"),
    [
        (
            "shapes: [{name: a, layers: 2, hidden_size: 64, limits: {hidden: 5}},"
            " {name: b, layers: 2, hidden_size: 64, limits: {hidden: 1}}]",
            "a shape of 2 layers x 64 is given twice",
        ),
        (
            "limits: {hidden: 5}, int8: [{min_sqnr_db: 9}, {min_sqnr_db: 20}]",
            "site 'carrier' with policy 'max_abs' is given twice",
        ),
    ],
)
def test_what_is_given_twice_is_refused(body: str, what: str, tmp_path: Path) -> None:
    assert what in refusal(HEAD + f"families:\n  q: {{model_types: [qwen3], {body}}}\n", tmp_path)
