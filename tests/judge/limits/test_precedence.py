"""The most specific rule wins: pattern, shape, family, envelope; the user's file before the shipped one."""

import math
from dataclasses import replace
from pathlib import Path

import pytest

from pytest_maxact.judge.limits.file import builtin_path, load_limits
from pytest_maxact.judge.limits.limit import CARRIER
from pytest_maxact.judge.limits.rules import select_rules
from pytest_maxact.record.identity import Identity
from tests.support.limits import HEAD, QWEN3, bounds, limit_of, refusal, rules_of, written_at
from tests.support.records import sites

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


@pytest.mark.parametrize(
    ("wins", "loses"),
    [
        ("layers.1.hidden", "layers.[1].hidden"),
        ("*1.hidden", "layers.????????"),
        ("*.hidden", "*[a-z]*[a-z]*"),
        ("layers.1.*", "layers.[0123456789].*"),
        ("layers.*", "*[!x][!x][!x]hidden"),
        ("layers.?.hidd*", "layers.***.hid*"),
    ],
)
@pytest.mark.parametrize("wins_first", [True, False])
def test_of_patterns_the_one_with_the_most_literal_characters_wins(
    wins: str, loses: str, wins_first: bool, tmp_path: Path
) -> None:
    """Wildcards and classes say nothing of a site, however long they are, nor does the order in the file."""
    bound = {wins: 3, loses: 50}
    order = (wins, loses) if wins_first else (loses, wins)
    layers = ", ".join(f"'{pattern}': {{hidden: {bound[pattern]}}}" for pattern in order)
    rules = rules_of(
        HEAD + f"families: {{qwen3: {{model_types: [qwen3], limits: {{hidden: 10}}, layers: {{{layers}}}}}}}\n",
        tmp_path,
    )
    limit = limit_of(rules, "layers.1.hidden::max_abs")
    assert (limit.rule, limit.bound) == (f"pattern {wins}", 6)


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


OWN_300 = {
    "limits: {hidden: 300}": 300,
    "layers: {'layers.*.hidden': {hidden: 300}}": 300,
    "shapes: [{name: T, layers: 2, hidden_size: 64, limits: {hidden: 300}}]": 300,
    "shapes: [{name: T, layers: 2, hidden_size: 64, limits: {hidden: 1}, by_layer: {hidden: 0-1=300}}]": 300,
    "shapes: [{name: T, layers: 2, hidden_size: 64, limits: {hidden: 300, gate: 9}, headroom: {gate: 2}}]": 300,
    "headroom: 1.0\n    limits: {hidden: 300}": 300,
    "headroom: 1.1\n    limits: {hidden: 300}": pytest.approx(330),
    "shapes: [{name: T, layers: 2, hidden_size: 64, headroom: 2, limits: {hidden: 300}}]": 600,
}


@pytest.mark.parametrize(("stated", "bound"), OWN_300.items())
def test_a_number_of_ones_own_is_the_limit_itself_unless_headroom_is_asked_for(
    stated: str, bound: float, tmp_path: Path
) -> None:
    text = f"version: 1\nextends: builtin\nfamilies:\n  qwen3:\n    {stated}\n"
    found = bounds(rules_of(text, tmp_path))
    assert (found["layers.0.hidden"], found["layers.1.hidden"]) == (bound, bound)


def test_the_headroom_of_the_file_multiplies_what_stands_in_it(tmp_path: Path) -> None:
    text = "version: 1\nheadroom: 1.25\nfamilies: {qwen3: {model_types: [qwen3], limits: {hidden: 300}}}\n"
    assert bounds(rules_of(text, tmp_path))["layers.0.hidden"] == 375


def test_figures_that_say_what_they_were_measured_on_have_headroom_though_none_is_stated(tmp_path: Path) -> None:
    on = "measured: {corpus: ours, sha256: 0123456789ab, tokens: 9, dtype: bfloat16}"
    int8 = "int8: {sqnr_db: 20}"
    text = (
        "version: 1\nextends: builtin\nfamilies:\n  qwen3:\n    shapes:\n"
        f"      - {{name: T, layers: 2, hidden_size: 64, {on}, limits: {{hidden: 300}}, {int8}}}\n"
    )
    rules = rules_of(text, tmp_path)
    assert bounds(rules)["layers.0.hidden"] == 375
    assert limit_of(rules, f"{CARRIER}::int8.max_abs.sqnr_db").bound == pytest.approx(20 - 20 * math.log10(1.25))
    plain = limit_of(rules_of(text.replace(f"{on}, ", ""), tmp_path), f"{CARRIER}::int8.max_abs.sqnr_db")
    assert (plain.bound, plain.figure) == (20, None)


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
        ("true", "families.qwen3.shapes.0.headroom: should be a valid number, not True"),
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
    assert (shipped.bound, shipped.file) == (28.5, str(builtin_path())), "with the headroom of its own file"
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


def test_a_shape_that_nobody_published_is_held_to_the_familys_lowest_int8_figures(tmp_path: Path) -> None:
    figures = {"A": 34.0, "B": 31.0, "C": 39.0}
    shapes = "".join(
        f"      - {{name: {name}, layers: {layers}, hidden_size: 64, limits: {{hidden: 9}}, int8: {{sqnr_db: {db}}}}}\n"
        for layers, (name, db) in enumerate(figures.items(), 5)
    )
    text = HEAD + "families:\n  qwen3:\n    model_types: [qwen3]\n    envelope: {headroom: 3.0}\n    shapes:\n"
    limit = limit_of(rules_of(text + shapes, tmp_path), f"{CARRIER}::int8.max_abs.sqnr_db")
    assert (limit.figure, limit.headroom, limit.envelope, limit.sense) == (31.0, 3.0, True, "min")
    assert limit.bound == pytest.approx(31.0 - 20 * math.log10(3.0))
    assert limit.rule == "envelope of family qwen3: B"
    assert written_at(limit) == "envelope: {headroom: 3.0}"
