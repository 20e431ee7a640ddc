"""Relative limits from YAML: what is stated most specifically holds, with its line, and what would never be checked is
refused.
"""

from pathlib import Path

import pytest

from pytest_maxact.errors import InputError
from pytest_maxact.judge.limits.file import builtin_path, load_limits
from pytest_maxact.judge.limits.limit import Limit
from pytest_maxact.judge.limits.regression import relative_limits
from pytest_maxact.numbers.sites import LINEAR_KINDS, Site
from tests.support.records import sites

HEAD = "version: 1\n"
OWN = "generic: {}\n"
HIDDEN = "layers.1.hidden"


def limits_of(text: str, folder: Path, model: list[Site] | None = None, schemes: tuple[str, ...] = ()) -> list[Limit]:
    path = folder / "limits.yaml"
    path.write_text(HEAD + text, encoding="utf-8")
    return relative_limits(load_limits(path), model or sites(2), schemes, "v1")


def one(limits: list[Limit], site: str, metric: str) -> Limit:
    (found,) = (limit for limit in limits if (limit.site, limit.metric.name) == (site, metric))
    return found


def bounds(limits: list[Limit], metric: str) -> dict[str, float]:
    return {limit.site: limit.bound for limit in limits if limit.metric.name == metric}


def refusal(text: str, folder: Path) -> str:
    with pytest.raises(InputError) as caught:
        limits_of(text, folder)
    message = str(caught.value)
    assert len(message.splitlines()) <= 3
    return message


def written_at(limit: Limit) -> str:
    return Path(limit.file).read_text(encoding="utf-8").splitlines()[limit.line - 1].strip()


def test_every_site_and_the_whole_model_get_the_shipped_limits() -> None:
    model = sites(2)
    limits = relative_limits(load_limits(), model, (), "v1")
    names = {site.name for site in model}
    for metric in ("growth", "shrink", "int8.max_abs.sqnr_db.drop"):
        assert set(bounds(limits, metric)) == names
    assert set(bounds(limits, "new_massive_layers")) == set(bounds(limits, "jump_shift")) == {"model"}
    assert {limit.metric.name for limit in limits if limit.site != "model"} == {
        "growth",
        "shrink",
        "shift",
        "turn",
        "int8.max_abs.sqnr_db.drop",
    }
    assert set(bounds(limits, "turn")) == {site.name for site in model if site.kind in ("attn_output", "mlp_output")}
    assert {(limit.against, limit.sense, limit.rule) for limit in limits} == {("v1", "max", "regression against v1")}
    assert {limit.file for limit in limits} == {str(builtin_path())}
    assert "max_growth: 2" in written_at(one(limits, HIDDEN, "growth"))
    assert "max_new_massive_layers: 0" in written_at(one(limits, "model", "new_massive_layers"))


def test_a_check_is_called_by_its_metric_and_its_baseline(tmp_path: Path) -> None:
    limit = one(limits_of(OWN + "regression: {max_growth: 3}", tmp_path), HIDDEN, "growth")
    assert limit.check == "layers.1.hidden::growth[v1]"


def test_only_what_is_stated_is_checked(tmp_path: Path) -> None:
    limits = limits_of(OWN + "regression: {max_shift: 0.25, source: a study}", tmp_path)
    assert {limit.metric.name for limit in limits} == {"shift"}
    assert {limit.source for limit in limits} == {"a study"}
    assert {limit.bound for limit in limits} == {0.25}


@pytest.mark.parametrize(
    ("stated", "site", "metric", "floor"),
    [
        ("max_growth: 3, growth_floor: 0.5", HIDDEN, "growth", 0.5),
        ("max_shrink: 3, growth_floor: 0.5", HIDDEN, "shrink", 0.5),
        ("max_growth: 3", HIDDEN, "growth", None),
        ("max_growth: 3, growth_floor: 0", HIDDEN, "growth", 0.0),
        ("max_sqnr_drop_db: 3, sqnr_floor_db: 25", HIDDEN, "int8.max_abs.sqnr_db.drop", 25.0),
        ("max_sqnr_drop_db: 3, growth_floor: 25", HIDDEN, "int8.max_abs.sqnr_db.drop", None),
        ("max_shift: 0.5, growth_floor: 1, sqnr_floor_db: 1", HIDDEN, "shift", None),
        ("max_new_massive_layers: 1, massive_floor: 7", "model", "new_massive_layers", 7.0),
        ("max_jump_shift: 1, jump_floor: 12.5", "model", "jump_shift", 12.5),
        ("max_jump_shift: 1, massive_floor: 9", "model", "jump_shift", None),
    ],
)
def test_a_floor_goes_with_the_bounds_it_is_for(
    stated: str, site: str, metric: str, floor: float | None, tmp_path: Path
) -> None:
    assert one(limits_of(f"{OWN}regression: {{{stated}}}", tmp_path), site, metric).floor == floor


def test_a_bound_of_nothing_is_a_bound(tmp_path: Path) -> None:
    limits = limits_of(
        OWN + "regression: {max_sqnr_drop_db: 0, max_jump_shift: 0, max_new_massive_layers: 0, max_shift: 0}", tmp_path
    )
    assert {limit.bound for limit in limits} == {0.0}
    assert {limit.metric.name for limit in limits} == {
        "shift",
        "int8.max_abs.sqnr_db.drop",
        "jump_shift",
        "new_massive_layers",
    }


PATTERNS = """\
regression:
  max_growth: 2
  growth_floor: 0.5
  sites:
    "layers.*": {max_growth: 3}
    "layers.*.hidden":
      max_growth: 4
    layers.1.hidden: {max_growth: 5}
    "*norm": {growth_floor: 9}
"""


def test_the_most_specific_pattern_wins_whatever_its_place(tmp_path: Path) -> None:
    limits = limits_of(OWN + PATTERNS, tmp_path)
    growth = bounds(limits, "growth")
    assert {name: growth[name] for name in ("embedding", "layers.0.gate", "layers.0.hidden", HIDDEN, "final_norm")} == {
        "embedding": 2.0, "layers.0.gate": 3.0, "layers.0.hidden": 4.0, HIDDEN: 5.0, "final_norm": 2.0,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("key", "metric", "all_sites", "own"),
    [("max_growth", "growth", 4, 2), ("max_shrink", "shrink", 4, 2), ("max_shift", "shift", 0.5, 0.25),
     ("max_turn", "turn", 0.5, 0.25), ("max_sqnr_drop_db", "int8.max_abs.sqnr_db.drop", 3, 1)],
)  # fmt: skip
def test_every_bound_and_its_floor_may_be_of_some_sites(
    key: str, metric: str, all_sites: float, own: float, tmp_path: Path
) -> None:
    floors = {"max_growth": "growth_floor", "max_shrink": "growth_floor", "max_sqnr_drop_db": "sqnr_floor_db"}
    floor = f", {floors[key]}: 7" if key in floors else ""
    text = f'regression:\n  {key}: {all_sites}\n  sites: {{"layers.1.*": {{{key}: {own}{floor}}}}}\n'
    limits = limits_of(OWN + text, tmp_path)
    for layer, bound in ((0, all_sites), (1, own)):
        found = one(limits, f"layers.{layer}.attn_output", metric)
        assert (found.bound, found.floor) == (bound, 7 if floor and layer else None)
        assert found.source == ""


@pytest.mark.parametrize(
    ("wins", "loses"),
    [(HIDDEN, f"{HIDDEN}*"), ("layers.1.*", "layers.[0123456789].*"), ("*.hidden", "*[a-z]*[a-z]*")],
)
@pytest.mark.parametrize("wins_first", [True, False])
def test_wildcards_and_classes_say_nothing_however_long(
    wins: str, loses: str, wins_first: bool, tmp_path: Path
) -> None:
    stated = {wins: 3, loses: 9} if wins_first else {loses: 9, wins: 3}
    sites_of = ", ".join(f'"{pattern}": {{max_growth: {bound}}}' for pattern, bound in stated.items())
    limits = limits_of(f"{OWN}regression: {{sites: {{{sites_of}}}}}\n", tmp_path)
    assert one(limits, HIDDEN, "growth").bound == 3


def test_without_distributions_a_shift_is_compared_where_ones_own_file_asks_for_it(tmp_path: Path) -> None:
    def shifts(text: str, slim: bool) -> set[str]:
        path = tmp_path / "limits.yaml"
        path.write_text(HEAD + text, encoding="utf-8")
        limits = relative_limits(load_limits(path), sites(1), (), "v1", slim=slim)
        return {Path(limit.file).name for limit in limits if limit.metric.name == "shift"}

    assert shifts("extends: builtin\n", slim=False) == {"thresholds.yaml"}
    assert shifts("extends: builtin\n", slim=True) == set()
    assert shifts("extends: builtin\nregression: {max_shift: 0.5}\n", slim=True) == {"limits.yaml"}


def test_a_floor_of_a_pattern_joins_the_bound_of_all(tmp_path: Path) -> None:
    limits = limits_of(OWN + PATTERNS, tmp_path)
    assert one(limits, "final_norm", "growth").floor == 9.0
    assert one(limits, HIDDEN, "growth").floor == 0.5


def test_limits_know_the_line_they_are_written_on(tmp_path: Path) -> None:
    limits = limits_of(OWN + PATTERNS, tmp_path)
    assert written_at(one(limits, "embedding", "growth")) == "max_growth: 2"
    assert written_at(one(limits, "layers.0.gate", "growth")) == '"layers.*": {max_growth: 3}'
    assert written_at(one(limits, "layers.0.hidden", "growth")) == "max_growth: 4"
    assert written_at(one(limits, HIDDEN, "growth")) == "layers.1.hidden: {max_growth: 5}"


def test_the_users_general_bound_wins_over_a_shipped_one_and_leaves_the_others(tmp_path: Path) -> None:
    limits = limits_of("extends: builtin\nregression: {max_growth: 9}", tmp_path)
    growth, shrink = one(limits, HIDDEN, "growth"), one(limits, HIDDEN, "shrink")
    assert (growth.bound, Path(growth.file).name) == (9.0, "limits.yaml")
    assert shrink.file == str(builtin_path())
    assert growth.floor == shrink.floor == 0.5


def test_the_users_floor_joins_the_shipped_bound(tmp_path: Path) -> None:
    limits = limits_of("extends: builtin\nregression: {growth_floor: 0.125}", tmp_path)
    assert one(limits, HIDDEN, "growth").floor == 0.125
    assert one(limits, HIDDEN, "growth").file == str(builtin_path())


def test_a_section_without_extends_stands_alone(tmp_path: Path) -> None:
    assert {limit.metric.name for limit in limits_of(OWN + "regression: {max_growth: 9}", tmp_path)} == {"growth"}


def test_schemes_are_bounded_at_the_inputs_of_linear_layers(tmp_path: Path) -> None:
    model = sites(1, ("hidden", *LINEAR_KINDS))
    limits = limits_of(
        OWN + "regression: {max_sqnr_drop_db: 3, sqnr_floor_db: 20}",
        tmp_path,
        model,
        ("W8A8", "NVFP4", "W4A16", "FP16"),
    )
    linear = {f"layers.0.{kind}" for kind in LINEAR_KINDS}
    assert set(bounds(limits, "W8A8.sqnr_db.drop")) == set(bounds(limits, "NVFP4.sqnr_db.drop")) == linear
    assert not bounds(limits, "W4A16.sqnr_db.drop"), "it quantizes no activation"
    assert set(bounds(limits, "int8.max_abs.sqnr_db.drop")) == {site.name for site in model}
    assert one(limits, "layers.0.o_in", "W8A8.sqnr_db.drop").floor == 20.0


def test_limits_come_in_depth_order_and_those_of_the_model_last(tmp_path: Path) -> None:
    limits = limits_of("extends: builtin", tmp_path)
    order = list(dict.fromkeys(limit.site for limit in limits))
    assert order == [*(site.name for site in sites(2)), "model"]


# What is refused


@pytest.mark.parametrize("text", ["", "regression: {}", "regression: {growth_floor: 1, sqnr_floor_db: 20}"])
def test_a_comparison_that_nobody_makes_is_refused(text: str, tmp_path: Path) -> None:
    message = refusal(OWN + text, tmp_path)
    assert "sets no relative limit, so nothing would be compared with v1" in message
    assert "extends: builtin" in message


@pytest.mark.parametrize("pattern", ["layers.9.hidden", "layers.*.hiden", "Layers.*", "hidden", "carrier", "model"])
def test_a_pattern_that_matches_nothing_is_refused_with_its_line(pattern: str, tmp_path: Path) -> None:
    message = refusal(f'extends: builtin\nregression:\n  sites:\n    "{pattern}": {{max_growth: 3}}\n', tmp_path)
    assert f"limits.yaml:5: pattern '{pattern}' matches no site of this model" in message


@pytest.mark.parametrize("value", [".nan", ".inf", "-1", "0", "1", "1.0", "'2'", "true", "[2]"])
@pytest.mark.parametrize("key", ["max_growth", "max_shrink"])
def test_a_factor_is_a_finite_number_above_one(key: str, value: str, tmp_path: Path) -> None:
    assert refusal(f"{OWN}regression:\n  {key}: {value}\n", tmp_path).startswith(
        f"{tmp_path / 'limits.yaml'}:4: regression.{key}: "
    )


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *[("max_shift", value) for value in (".nan", "-0.1", "1.5", ".inf")],
        *[("max_sqnr_drop_db", value) for value in (".nan", "-3", ".inf")],
        *[("growth_floor", value) for value in (".nan", "-1", ".inf")],
        *[("sqnr_floor_db", value) for value in (".nan", "-.inf")],
        *[
            (key, value)
            for key in ("max_new_massive_layers", "massive_floor", "max_jump_shift")
            for value in ("-1", "0.5", ".nan", "true")
        ],
        *[("jump_floor", value) for value in (".nan", "-1")],
    ],
)
def test_bounds_and_floors_are_numbers_of_their_kind(key: str, value: str, tmp_path: Path) -> None:
    assert refusal(f"{OWN}regression:\n  max_growth: 2\n  {key}: {value}\n", tmp_path).startswith(
        f"{tmp_path / 'limits.yaml'}:5: regression.{key}: "
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("regression:\n  max_grow: 2\n", ":4: regression.max_grow: unknown key; did you mean 'max_growth'?"),
        (
            "regression:\n  sites:\n    '*':\n      max_grows: 2\n",
            ":6: regression.sites.*.max_grows: unknown key; did you mean 'max_growth'?",
        ),
        ("regression:\n  sites:\n    '*': {max_jump_shift: 2}\n", ":5: regression.sites.*.max_jump_shift: unknown key"),
        ("regresion: {max_growth: 2}\n", ":3: regresion: unknown key; did you mean 'regression'?"),
        ("regression: {max_growth: 2, max_growth: 3}\n", ":3: 'max_growth' is given twice"),
        ("regression:\n  sites:\n    '*': {max_growth: 2}\n    '*': {max_growth: 9}\n", ":6: '*' is given twice"),
    ],
)
def test_unknown_and_repeated_keys_are_refused_with_their_line(text: str, said: str, tmp_path: Path) -> None:
    assert said in refusal(OWN + text, tmp_path)
