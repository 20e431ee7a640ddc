"""A limit that matches nothing of the model, and would be checked by nobody, is refused."""

import re
from pathlib import Path

import pytest

from pytest_maxact.errors import InputError
from pytest_maxact.judge.limits.file import builtin_path, load_limits
from pytest_maxact.judge.limits.rules import select_rules
from pytest_maxact.record.identity import Identity
from tests.support.limits import FAMILY, HEAD, QWEN3, bounds, refusal, rules_of
from tests.support.records import site, sites


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
            "    int8:\n      - sqnr_db: 1\n        site: layers.9.hidden\n",
            10,
            "site 'layers.9.hidden' matches no site",
        ),
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
    assert bounds(rules) == {"layers.0.hidden": 8, "layers.1.hidden": 8}


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
